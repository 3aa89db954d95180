import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from masked_denoiser.denoising.intensity import IntensityRange, measure_ranges
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes

integers = st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])


@given(integers.flatmap(lambda dtype: hnp.arrays(dtype, (1, 4, 5))), st.integers(-1000, 1000), st.integers(1, 70000))
def test_integers_come_back_wherever_the_range_lies(pixels, low, width):
    """Within a few millionths of the larger of range and excess: what float32 holds."""
    scale = IntensityRange(float(low), float(low + width))
    unit, excess = scale.to_unit(pixels)
    assert (unit.dtype, excess.dtype) == (np.float32, np.float64)
    assert unit.min() >= 0.0
    assert unit.max() <= 1.0
    back = scale.from_unit(unit + excess, pixels)
    assert back.dtype == pixels.dtype
    reach = max(width, np.abs(pixels.astype(float) - low).max())
    assert np.abs(back.astype(float) - pixels.astype(float)).max() <= 0.51 + 1e-6 * reach


def test_broken_values_stay_and_do_not_reach_the_network():
    pixels = np.array([[[1.0, np.nan], [np.inf, 3.0]]], np.float32)
    scale = IntensityRange(0.0, 4.0, fill=2.0)
    unit, excess = scale.to_unit(pixels)
    assert np.isfinite(unit).all()
    assert unit[0, 0, 1] == 0.5
    np.testing.assert_array_equal(scale.from_unit(unit + excess, pixels), pixels)


def ranges(array, axes):
    source = open_image(array, axes=axes)
    return measure_ranges(source, list_planes(source.axes, source.sizes, source.rgb))


def test_each_channel_has_one_range_over_depth_and_time():
    rng = np.random.default_rng(0)
    stack = rng.normal(1000, 50, (2, 3, 2, 64, 64))  # TZCYX
    stack[:, :, 1] += 5000
    found = ranges(stack.astype(np.uint16), "TZCYX")
    assert sorted(found) == [0, 1]
    assert 700 < found[0].low < 900 < 1100 < found[0].high < 1300
    assert 5700 < found[1].low < 5900 < 6100 < found[1].high < 6300


def test_a_few_hot_pixels_do_not_squeeze_the_rest():
    image = np.random.default_rng(0).integers(100, 200, (512, 512)).astype(np.uint16)
    image[5, 5:10] = 65535
    assert ranges(image, "YX")[0].high < 210


@pytest.mark.parametrize(
    ("array", "low", "high"),
    [
        (np.full((9, 9), 7, np.uint8), 0.0, 255.0),
        (np.linspace(0, 0.9, 81, dtype=np.float32).reshape(9, 9), 0.0, 1.0),
        (np.full((9, 9), 300, np.uint16), 300.0, 301.0),
        (np.full((9, 9), np.nan, np.float32), 0.0, 1.0),
    ],
)
def test_conventions(array, low, high):
    found = ranges(array, "YX")[0]
    assert (found.low, found.high) == (low, high)


@pytest.mark.parametrize("value", [1e-6, 3.5, 65504.0, -3.4028235e38])
def test_finite_values_stay_finite(value):
    image = np.full((64, 64), 0.5, np.float32)
    image[3, 5] = value
    for pixels in (image, np.full((64, 64), value, np.float32)):
        source = open_image(pixels, axes="YX")
        (found,) = measure_ranges(source, list_planes("YX", source.sizes, False)).values()
        unit, excess = found.to_unit(pixels)
        back = found.from_unit(unit + excess, pixels)
        assert np.isfinite(unit).all()
        assert 0 <= unit.min() <= unit.max() <= 1
        np.testing.assert_allclose(back, pixels, rtol=1e-5, atol=1e-6 * abs(value))


def test_sparse_spots_set_the_range():
    image = np.zeros((256, 256), np.float32)
    image[100, 100] = 1e-4
    source = open_image(image, axes="YX")
    (found,) = measure_ranges(source, list_planes("YX", source.sizes, False)).values()
    assert (found.low, found.high) == (0.0, pytest.approx(1e-4))
