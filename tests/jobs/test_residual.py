"""Residual files: the difference of image and result, whatever the formats do to axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.jobs.api import denoise_file
from masked_denoiser.jobs.residual import check_residual, write_residual
from tests.jobs.test_lazy import HOW, image


@pytest.mark.parametrize(
    ("shape", "axes"), [((70, 90), "YX"), ((70, 90, 3), "YXS"), ((2, 3, 40, 50), "ZCYX"), ((70, 90, 4), "YXS")]
)
@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
@pytest.mark.parametrize("result_suffix", [".ome.zarr", ".ome.tif"])
def test_residual_is_the_difference(
    tmp_path: Path, shape: tuple[int, ...], axes: str, suffix: str, result_suffix: str
) -> None:
    pixels, output, path = image(shape), tmp_path / f"out{result_suffix}", tmp_path / f"removed{suffix}"
    denoise_file(open_image(pixels, axes=axes), output, **HOW)
    with open_image(pixels, axes=axes) as source, open_image(output) as result:
        check_residual(path, source, [output])
        write_residual(path, source, result)
        with open_image(path) as removed:
            assert removed.dtype == np.float32
            for plane in list_planes(source.axes, source.sizes, False):
                before, after = planes_of(source, plane.index), planes_of(result, plane.index)
                np.testing.assert_array_equal(planes_of(removed, plane.index), before.astype(float) - after)
            for low, high in removed.windows:
                assert low == -high < 0


def planes_of(source: Any, index: tuple[tuple[str, int], ...]) -> Any:
    """Return a YX plane of a source, whose channels may be C or S."""
    at = dict(index)
    channel = at.get("C", at.get("S", 0))
    key = tuple(
        slice(None) if letter in "YX" else channel if letter in "CS" else at.get(letter, 0) for letter in source.axes
    )
    return np.asarray(source.data[key])


def test_residual_never_replaces_image_or_result(tmp_path: Path) -> None:
    denoise_file(open_image(image((40, 40)), axes="YX"), tmp_path / "out.ome.zarr", **HOW)
    with open_image(tmp_path / "out.ome.zarr") as source, pytest.raises(ImageError, match="lies in the input"):
        check_residual(tmp_path / "out.ome.zarr", source, [tmp_path / "other.ome.zarr"])
    source = open_image(image((40, 40)), axes="YX")
    with pytest.raises(ImageError, match="lies in the result"):
        check_residual(tmp_path / "out.ome.zarr", source, [tmp_path / "out.ome.zarr"])
