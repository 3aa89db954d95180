"""Description of a model in the terms of bioimage.io (model description 0.5)."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from masked_denoiser.errors import ModelError
from masked_denoiser.models.card import Card
from masked_denoiser.models.export.onnx_file import OPSET
from masked_denoiser.models.file import Model
from masked_denoiser.models.package_import import ATTACHED_MODEL
from masked_denoiser.network.build import NetworkConfig
from masked_denoiser.version import DISTRIBUTION

#: Context around a tile in pixels, rounded up to the grid of the network: the default of `masked-denoiser denoise`.
_HALO = 32

_PAPER = (
    "Chen, H., Gu, J., Liu, Y., Magid, S. A., Dong, C., Wang, Q., Pfister, H., Zhu, L.: Masked Image Training for "
    "Generalizable Deep Image Denoising. CVPR 2023"
)
_AUTHORS = f"{DISTRIBUTION} contributors"


def describe(model: Model, folder: Path, percentiles: tuple[float, float]) -> Any:
    """Return the description of a package as a `bioimageio.spec` model.

    Args:
        model: the model.
        folder: with the files of the package.
        percentiles: of a gray image that the model sees as 0 and 1.
    """
    v0_5: Any = import_module("bioimageio.spec.model.v0_5")
    card = model.card
    return v0_5.ModelDescr(
        name=_valid_name(card.name),
        description=card.description[:1000] or f"Denoiser {card.name}",
        authors=[v0_5.Author(name=_AUTHORS)],
        # With an address instead of a DOI, bioimageio.spec would connect to it, here and in every later test.
        cite=[v0_5.CiteEntry(text=_PAPER, doi=v0_5.Doi("10.48550/arXiv.2303.13132"))],
        license=_spdx(v0_5, card.licence),
        covers=[v0_5.FileDescr(source=folder / "cover.png")],
        documentation=v0_5.FileDescr(source=folder / "README.md"),
        attachments=[v0_5.FileDescr(source=folder / ATTACHED_MODEL)],
        tags=_tags(card),
        version=_version(card),
        inputs=[_input(v0_5, card.architecture, folder, percentiles)],
        outputs=[_output(v0_5, card.architecture, folder)],
        weights=_weights(v0_5, folder),
    )


def _input(v0_5: Any, config: NetworkConfig, folder: Path, percentiles: tuple[float, float]) -> Any:
    is_rgb = config.channels == 3
    as_float = v0_5.EnsureDtypeDescr(kwargs=v0_5.EnsureDtypeKwargs(dtype="float32"))
    if is_rgb:
        scale = v0_5.ScaleLinearDescr(kwargs=v0_5.ScaleLinearKwargs(gain=1 / 255, offset=0))
    else:
        kwargs = v0_5.ScaleRangeKwargs(
            axes=["channel", "y", "x"], min_percentile=percentiles[0], max_percentile=percentiles[1]
        )
        scale = v0_5.ScaleRangeDescr(kwargs=kwargs)
    size = v0_5.ParameterizedSize(min=_smallest_size(config), step=config.grid)
    return v0_5.InputTensorDescr(
        id="image",
        description="RGB image of 8 bits" if is_rgb else "one channel of any depth",
        axes=[*_first_axes(v0_5, config), *(v0_5.SpaceInputAxis(id=axis, size=size) for axis in "yx")],
        data=v0_5.IntervalOrRatioDataDescr(
            type="uint8" if is_rgb else "float32", range=(0, 255) if is_rgb else (None, None)
        ),
        preprocessing=[as_float, scale, as_float],  # without the last, it is converted to the type of `data`
        test_tensor=v0_5.FileDescr(source=folder / "test_input.npy"),
        sample_tensor=v0_5.FileDescr(source=folder / "sample_input.tif"),
    )


def _output(v0_5: Any, config: NetworkConfig, folder: Path) -> Any:
    is_rgb = config.channels == 3
    scale = v0_5.ScaleLinearDescr(kwargs=v0_5.ScaleLinearKwargs(gain=255.0, offset=0))
    clip = v0_5.ClipDescr(kwargs=v0_5.ClipKwargs(min=0.0, max=255.0))
    sides = [
        v0_5.SpaceOutputAxisWithHalo(
            id=axis, halo=halo(config), size=v0_5.SizeReference(tensor_id="image", axis_id=axis)
        )
        for axis in "yx"
    ]
    return v0_5.OutputTensorDescr(
        id="denoised",
        description="RGB image, 0 to 255" if is_rgb else "in the units of the percentiles of the input",
        axes=[*_first_axes(v0_5, config), *sides],
        data=v0_5.IntervalOrRatioDataDescr(type="float32", range=(0, 255) if is_rgb else (None, None)),
        postprocessing=[scale, clip] if is_rgb else [],
        test_tensor=v0_5.FileDescr(source=folder / "test_output.npy"),
        sample_tensor=v0_5.FileDescr(source=folder / "sample_output.tif"),
    )


def _first_axes(v0_5: Any, config: NetworkConfig) -> list[Any]:
    names = ["red", "green", "blue"] if config.channels == 3 else ["intensity"]
    return [v0_5.BatchAxis(), v0_5.ChannelAxis(channel_names=names)]


def _weights(v0_5: Any, folder: Path) -> Any:
    return v0_5.WeightsDescr(
        torchscript=v0_5.TorchscriptWeightsDescr(
            source=folder / "model.pt", pytorch_version=torch.__version__.partition("+")[0]
        ),
        onnx=v0_5.OnnxWeightsDescr(source=folder / "model.onnx", opset_version=OPSET),
    )


def halo(config: NetworkConfig) -> int:
    """Return the context around a tile, in pixels."""
    return -(-_HALO // config.grid) * config.grid


def _smallest_size(config: NetworkConfig) -> int:
    """Return the smallest valid side of a tile in pixels."""
    return 2 * halo(config) + config.grid


def valid_size(config: NetworkConfig, limit: int) -> int:
    """Return the largest valid side of a tile up to a limit, in pixels.

    Raises:
        ModelError: if the network needs larger tiles.
    """
    smallest = _smallest_size(config)
    if smallest > limit:
        raise ModelError(
            f"the network needs tiles of {smallest} pixels, and the sample of a package has {limit}; export to onnx or "
            "torchscript"
        )
    return smallest + (limit - smallest) // config.grid * config.grid


def _tags(card: Card) -> list[str]:
    kind = ["rgb", "brightfield", "histology"] if card.architecture.channels == 3 else ["grayscale", "fluorescence"]
    return ["denoising", "image-restoration", "2d", "pytorch", "transformer", DISTRIBUTION, *kind]


def _valid_name(name: str) -> str:
    """Return a name of a model with the characters and the length that bioimage.io accepts."""
    return re.sub(r"[^A-Za-z0-9_+\- ()]", "-", f"{name} denoiser")[:128]


def _version(card: Card) -> str | None:
    """Return the version of the weights if it is a number or numbers with dots."""
    return card.version if re.fullmatch(r"[0-9]+(\.[0-9]+)*", card.version) else None


def _spdx(v0_5: Any, licence: str) -> Any:
    """Return an SPDX identifier; None for other texts, which README.md states."""
    try:
        return v0_5.LicenseId(licence)
    except ValueError:
        return None
