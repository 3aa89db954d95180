"""Python interface: sources that the caller keeps, and messages in its terms."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from masked_denoiser.errors import AlreadyCompleteError, ImageError, JobError, NoiseError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.jobs.api import denoise, denoise_file, estimate_noise
from masked_denoiser.jobs.spec.options import Options

HOW: dict[str, Any] = {"model": tiny_model(), "noise": "none", "tile": 32, "halo": 8, "device": "cpu"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 200, (70, 90), dtype=np.uint8))
    return path


def test_a_given_source_stays_open_and_a_closed_one_says_so(path: Path, tmp_path: Path) -> None:
    source = open_image(path)
    measured = estimate_noise(source)
    for name in ("1.ome.tif", "2.ome.tif"):  # each call would have closed the source of the next one
        denoise_file(source, tmp_path / name, **HOW)
    assert estimate_noise(source, axes="YX").channels == measured.channels
    pixels = source.read(next(list_planes("YX", source.sizes, False)), slice(0, 70), slice(0, 90))
    np.testing.assert_array_equal(pixels[0], tifffile.imread(path))
    source.close()
    with pytest.raises(ImageError, match=r"in\.tif: was closed"):
        estimate_noise(source)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "exists; write elsewhere, or replace it with overwrite=True"),
        ({"resume": True}, "is complete; use overwrite=True to start again"),
        ({"resume": True, "overwrite": True}, "resume=True continues a job and overwrite=True restarts it"),
        ({"workers": 0}, "workers is 0; give 1 or more"),
    ],
)
def test_errors_of_python_name_its_parameters(path: Path, tmp_path: Path, more: dict[str, Any], words: str) -> None:
    denoise_file(path, tmp_path / "out.ome.tif", **HOW)
    with pytest.raises(JobError, match=words) as raised:
        denoise_file(path, tmp_path / "out.ome.tif", **HOW, **more)
    assert "--" not in str(raised.value)
    assert isinstance(raised.value, AlreadyCompleteError) == (more == {"resume": True})


@pytest.mark.parametrize("modality", ["MRI", "foo", ""])
def test_unknown_modality_is_refused(modality: str) -> None:
    with pytest.raises(NoiseError, match=f"modality is {modality!r}; choose one of auto, "):
        estimate_noise(np.zeros((64, 64), np.uint8), axes="YX", modality=modality)  # type: ignore[arg-type]


def test_negative_seed_is_refused() -> None:
    with pytest.raises(NoiseError, match="seed is -1; give 0 or more"):
        estimate_noise(np.zeros((64, 64), np.uint8), axes="YX", seed=-1)


def test_guessed_axes_of_a_measurement_are_a_warning() -> None:
    with pytest.warns(UserWarning, match="axes guessed as ZYX .* set axes to correct") as caught:
        estimate_noise(np.zeros((6, 64, 64), np.uint8))
    assert caught[0].filename == __file__


def test_misspelt_option_is_named() -> None:
    with pytest.raises(JobError, match=r"there is no option nose; did you mean noise\?"):
        denoise(np.zeros((64, 64), np.uint8), nose="none")


def test_options_of_a_file_can_be_given_together(tmp_path: Path) -> None:
    options = Options(noise="none", tile=np.int64(64), seed=np.int64(3), strength=np.float32(1), intensity=[0, 255])
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    denoise_file(pixels, tmp_path / "a.ome.tif", axes="YX", model=tiny_model(), options=options, seed=4)
    with open_image(tmp_path / "a.ome.tif") as written:
        whole = denoise(pixels, axes="YX", model=tiny_model(), options=options, seed=4)
        np.testing.assert_array_equal(written.data[...], whole)


def test_warnings_name_parameters_and_the_line_of_the_caller() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        denoise(np.zeros((2, 40, 40), np.float32), **HOW)
    (warning,) = (each for each in caught if "axes guessed as" in str(each.message))
    assert "set axes to correct" in str(warning.message)
    assert warning.filename == __file__


def test_denoise_refuses_a_standard_deviation_that_it_cannot_return() -> None:
    with pytest.raises(JobError, match="denoise returns no standard deviation; set std to False"):
        denoise(np.zeros((40, 40), np.uint8), axes="YX", **HOW, std=True, passes=2)


def test_integers_of_64_bits_in_a_tiff_become_zarr(tmp_path: Path) -> None:
    """tifffile names their type in another way than zarr does."""
    pixels = np.random.default_rng(0).integers(0, 200, (40, 40)).astype(np.uint64)
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    denoise_file(tmp_path / "in.tif", tmp_path / "out.ome.zarr", **HOW)
    with open_image(tmp_path / "out.ome.zarr") as result:
        assert result.dtype == np.uint64


def test_guess_that_a_fourth_sample_is_transparency_is_a_warning() -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (40, 40, 4), dtype=np.uint16)
    with pytest.warns(UserWarning, match="axes guessed as YXS"):
        denoise(pixels, **HOW)
    with pytest.raises(ImageError, match="axes are 7; give one letter"):
        denoise(pixels, axes=7, **HOW)


def test_denoising_an_array_imports_no_file_libraries_and_no_compiler() -> None:
    """Each of them adds a tenth or more to the time to the first result."""
    code = (
        "import sys, numpy, masked_denoiser; image = numpy.random.default_rng(0).normal(100, 9, (96, 96));"
        "assert masked_denoiser.denoise(image.astype('uint8')).std() < 5;"
        "print([m for m in ('zarr', 'dask', 'sympy', 'torch._dynamo', 'napari') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
