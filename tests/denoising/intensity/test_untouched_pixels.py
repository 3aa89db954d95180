"""Pixels that a job leaves alone come out bit-identical, in every dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.jobs.api import denoise

DTYPES = ("uint8", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")


@given(st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, (1, 3, 4))), st.data())
def test_pixels_without_correction_are_unchanged(pixels: np.ndarray[Any, Any], data: st.DataObject) -> None:
    untouched = data.draw(hnp.arrays(np.bool_, pixels.shape))
    correction = np.where(untouched, 0.0, 0.1).astype("float32")
    intensity_range = IntensityRange(0.0, 1000.0, 1.0, has_nonfinite=True)
    with np.errstate(invalid="ignore", over="ignore"):
        out = intensity_range.subtract(pixels, correction, pixels.dtype)
    assert out.dtype == pixels.dtype
    assert out[untouched].tobytes() == pixels[untouched].tobytes()


@pytest.mark.parametrize("dtype", ["uint32", "int64", "float64"])
def test_clean_image_is_unchanged(dtype: str) -> None:
    """Values beyond the precision of float32 and, for int64, of float64."""
    pixels = (np.arange(64 * 64).reshape(64, 64) // 512 * 7).astype(dtype)
    pixels += np.dtype(dtype).type(2**31 if dtype == "uint32" else 2**53 + 1)
    with pytest.warns(UserWarning, match="left alone"):
        np.testing.assert_array_equal(denoise(pixels, axes="YX", device="cpu"), pixels)
