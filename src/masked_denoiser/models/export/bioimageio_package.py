"""Packages of bioimage.io: a zip with the model in several formats, its description, samples and tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from masked_denoiser.errors import ModelError
from masked_denoiser.models.export.bioimageio_description import describe, valid_size
from masked_denoiser.models.export.check import Batch, reference
from masked_denoiser.models.export.onnx_file import write_onnx
from masked_denoiser.models.export.packages import optional_package
from masked_denoiser.models.export.readme import readme
from masked_denoiser.models.export.torchscript import torchscript_accepted, write_torchscript
from masked_denoiser.models.file import Model
from masked_denoiser.models.package_import import ATTACHED_MODEL
from masked_denoiser.samples import sample_path

#: Largest height and width of the sample, which the sample images have.
_LARGEST_SAMPLE = (320, 256)

#: Percentiles of a gray image that a model sees as 0 and 1.
PERCENTILES = (0.1, 99.9)

_PURPOSE = "exporting to bioimage.io"


@dataclass(frozen=True, eq=False)
class _Sample:
    """Sample image of a package, [1, C, H, W].

    Attributes:
        raw: as users have it: uint8 for RGB, float32 for gray images.
        unit: as the model sees it.
        result: of the model.
    """

    raw: NDArray[Any]
    unit: Batch
    result: Batch


def write_package(model: Model, path: Path) -> float:
    """Write a package of bioimage.io, and return the largest difference of its weights from the network.

    Raises:
        ModelError: if a package is missing, if the results of the weights differ from those of the network, or if the
            test of `bioimageio.core` fails.
    """
    spec, core = (optional_package(name, _PURPOSE) for name in ("bioimageio.spec", "bioimageio.core"))
    sample = _make_sample(model)
    with TemporaryDirectory() as folder:
        difference = _write_files(model, sample, Path(folder))
        with spec.ValidationContext(root=Path(folder), perform_io_checks=True):
            description = describe(model, Path(folder), PERCENTILES)
        spec.save_bioimageio_package(description, output_path=path)
    with torchscript_accepted():
        summary = core.test_model(path)
    if summary.status != "passed":
        raise ModelError(
            f"the export of {model.card.name} was removed: the test of bioimageio.core says {_errors(summary)}"
        )
    return difference


def _write_files(model: Model, sample: _Sample, folder: Path) -> float:
    """Write the files of a package, and return the largest difference of the weights from the network."""
    difference = max(
        write_onnx(model, folder / "model.onnx", noise_input=False), write_torchscript(model, folder / "model.pt")
    )
    model.save(folder / ATTACHED_MODEL)
    is_rgb = model.card.architecture.channels == 3
    result = sample.result * 255 if is_rgb else sample.result
    if is_rgb:
        result = result.clip(0, 255)
    np.save(folder / "test_input.npy", sample.raw)
    np.save(folder / "test_output.npy", result.astype(np.float32))
    for name, image in (("sample_input.tif", sample.raw), ("sample_output.tif", result.astype(np.float32))):
        tifffile.imwrite(folder / name, image, photometric="minisblack", metadata={"axes": "TCYX"}, imagej=True)
    _cover(sample).save(folder / "cover.png")
    (folder / "README.md").write_text(readme(model, PERCENTILES), encoding="utf-8")
    return difference


def _make_sample(model: Model) -> _Sample:
    """Return the sample slide, or four planes of the sample stack, and what the model makes of it."""
    height, width = (valid_size(model.card.architecture, side) for side in _LARGEST_SAMPLE)
    if model.card.architecture.channels == 3:
        raw = tifffile.imread(sample_path("slide"))[None, :height, :width].transpose(0, 3, 1, 2)
        unit = raw.astype(np.float32) / np.float32(255)
    else:
        planes = tifffile.imread(sample_path("fluorescence")).reshape(2, -1, 160, 160)[:, 3:5]
        image = np.concatenate(np.concatenate(planes.transpose(1, 0, 2, 3), axis=1), axis=1)
        raw = image[None, None, :height, :width].astype(np.float32)
        low, high = np.percentile(raw, PERCENTILES)
        unit = ((raw - low) / (high - low + 1e-6)).astype(np.float32)
    return _Sample(np.ascontiguousarray(raw), unit, reference(model, unit))


def _cover(sample: _Sample) -> Image.Image:
    """Return the sample before and after, side by side."""
    side = min(sample.unit.shape[2:])
    pictures = [image[0, :, :side, :side].clip(0, 1) * 255 for image in (sample.unit, sample.result)]
    both = np.rint(np.concatenate(pictures, axis=2)).astype(np.uint8).transpose(1, 2, 0)
    return Image.fromarray(both[..., 0] if both.shape[2] == 1 else both)


def _errors(summary: Any) -> str:
    """Return the first errors of a test."""
    found = [f"{detail.name}: {error.msg}" for detail in summary.details for error in detail.errors]
    return " ".join("; ".join(found[:3]).split())[:600] or summary.status
