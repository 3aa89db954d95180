"""Intensity ranges follow the bulk of an image and are invertible for every value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from masked_denoiser.denoising.intensity.ranges import IntensityRange, common_range, measure_ranges
from masked_denoiser.denoising.intensity.recipe_ranges import measure_recipe_ranges
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.jobs.api import denoise

integers = st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])


def ranges(array, axes, measure=measure_ranges):
    source = open_image(array, axes=axes)
    return measure(source, list_planes(source.axes, source.sizes, source.rgb))


def normal(mean=1000.0, sigma=50.0, side=128):
    return np.random.default_rng(0).normal(mean, sigma, (side, side))


@given(integers.flatmap(lambda dtype: hnp.arrays(dtype, (1, 4, 5))), st.integers(-1000, 1000), st.integers(1, 70000))
def test_integers_round_trip_through_any_range(pixels, low, width):
    """The error is within a few millionths of the distance from the range, the precision of float32."""
    scale = IntensityRange(float(low), float(low + width))
    unit = scale.to_unit(pixels)
    assert unit.dtype == np.float32
    back = scale.from_unit(unit, pixels)
    assert back.dtype == pixels.dtype
    reach = max(width, np.abs(pixels.astype(float) - low).max())
    assert np.abs(back.astype(float) - pixels.astype(float)).max() <= 0.51 + 1e-6 * reach


@given(integers.flatmap(lambda dtype: hnp.arrays(dtype, (1, 4, 5))), hnp.arrays(bool, (1, 4, 5)))
def test_pixels_without_correction_are_exact(pixels, corrected):
    """This includes 64-bit integers that no float can represent."""
    out = IntensityRange(3.0, 1003.0, non_negative=True).subtract(pixels, 0.25 * corrected, pixels.dtype)
    assert out.dtype == pixels.dtype
    np.testing.assert_array_equal(out[~corrected], pixels[~corrected])


def test_correction_is_in_units_of_the_range():
    pixels = np.array([[[10.0, 100.0]]], np.float32)
    scale = IntensityRange(0.0, 50.0)
    np.testing.assert_allclose(scale.subtract(pixels, np.array([[[0.1, -0.2]]]), pixels.dtype), [[[5.0, 110.0]]])


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_results_are_negative_only_where_intensities_are(dtype):
    pixels = np.array([[[1, 5, -3]]], dtype)
    removed = np.array([[[4.0, 1.0, 1.0]]])
    assert IntensityRange(0.0, 1.0, non_negative=True).subtract(pixels, removed, pixels.dtype).tolist() == [
        [[0, 4, -4]]
    ]
    assert IntensityRange(0.0, 1.0).subtract(pixels, removed, pixels.dtype).tolist() == [[[-3, 4, -4]]]


def test_missing_pixels_are_kept_and_filled_for_the_network():
    pixels = np.full((1, 64, 64), 3.0, np.float32)
    pixels[0, :40, :40] = -9999
    pixels[0, 50, 50], pixels[0, 60, 60] = np.nan, np.inf
    scale = IntensityRange(0.0, 4.0, typical=2.0, fill_values=(-9999.0,))
    unit = scale.to_unit(pixels)
    assert unit[0, 50, 50] == unit[0, 60, 60] == unit[0, 38, 38] == 0.75
    assert unit[0, 0, 0] == 0.5  # far from all valid pixels
    missing = scale.missing_mask(pixels)
    assert missing.sum() == 40 * 40 + 2
    for out in (scale.from_unit(unit, pixels), scale.subtract(pixels, np.full(pixels.shape, 0.1), pixels.dtype)):
        np.testing.assert_array_equal(out[missing], pixels[missing])
    assert scale.missing_mask(np.ones((1, 2, 2), np.float32)) is None


def test_each_channel_has_one_range_over_depth_and_time():
    rng = np.random.default_rng(0)
    stack = rng.normal(1000, 50, (2, 3, 2, 64, 64))  # TZCYX
    stack[:, :, 1] += 5000
    found = ranges(stack.astype(np.uint16), "TZCYX")
    assert sorted(found) == [0, 1]
    assert 700 < found[0].low < 900 < 1100 < found[0].high < 1300
    assert 5700 < found[1].low < 5900 < 6100 < found[1].high < 6300


@pytest.mark.parametrize("value", [0, 65535])
def test_outliers_do_not_compress_the_range(value):
    image = normal(1000, 20, 512).astype(np.uint16)
    before = ranges(image, "YX")[0]
    image[5, 5:10] = value
    after = ranges(image, "YX")[0]
    assert (after.low, after.high) == pytest.approx((before.low, before.high), abs=1)


def test_range_is_independent_of_dtype():
    image = normal(120, 20)
    found = [ranges(image.round().astype(dtype), "YX")[0] for dtype in (np.uint8, np.uint16, np.int32, np.float32)]
    assert all(one == found[0] for one in found)
    assert 0 < found[0].low < 80 < 160 < found[0].high < 255


@pytest.mark.parametrize(("factor", "shift"), [(1e-6, 0.0), (1e7, 0.0), (1.0, -4000.0)])
def test_ranges_follow_scale_and_shift(factor, shift):
    image = normal()
    one, other = (ranges(array, "YX")[0] for array in (image, image * factor + shift))
    assert (other.low, other.high) == pytest.approx((one.low * factor + shift, one.high * factor + shift), rel=1e-9)


def test_range_of_a_clipped_image_ends_at_the_clipping_value():
    """The range does not extend beyond the clipping value."""
    found = ranges(np.clip(normal(128, 60), 0, 255).astype(np.uint8), "YX")[0]
    assert (found.low, found.high) == (0, 255)


def test_fill_values_are_excluded_from_the_range():
    image = normal()
    expected = ranges(image.astype(np.float32), "YX")[0]
    image[:40] = -9999
    found = ranges(image.astype(np.float32), "YX")[0]
    assert found.fill_values == (-9999.0,)
    assert found.non_negative
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.05 * expected.span)


@pytest.mark.parametrize(
    ("array", "low", "high"),
    [
        (np.full((9, 9), 7, np.uint8), 7.0, 8.0),
        (np.full((9, 9), 300, np.uint16), 300.0, 301.0),
        (np.full((9, 9), np.nan, np.float32), 0.0, 1.0),
    ],
)
def test_range_of_images_without_contrast(array, low, high):
    found = ranges(array, "YX")[0]
    assert (found.low, found.high) == (low, high)


@pytest.mark.parametrize(
    ("array", "low", "high"),
    [
        (np.full((9, 9), 7, np.uint8), 0.0, 255.0),
        (np.linspace(0, 0.9, 81, dtype=np.float32).reshape(9, 9), 0.0, 1.0),
        (np.full((9, 9), 300, np.uint16), 300.0, 301.0),
        (np.full((9, 9), np.nan, np.float32), 0.0, 1.0),
    ],
)
def test_recipe_ranges_follow_conventions(array, low, high):
    """Ranges are conventional, so that sigma=15 means 15 grey levels."""
    found = ranges(array, "YX", measure_recipe_ranges)[0]
    assert (found.low, found.high) == (low, high)


@pytest.mark.parametrize("value", [1e-6, 3.5, 65504.0, -3.4028235e38])
def test_finite_values_stay_finite(value):
    image = np.full((64, 64), 0.5, np.float32)
    image[3, 5] = value
    for pixels in (image, np.full((64, 64), value, np.float32)):
        (found,) = ranges(pixels, "YX").values()
        unit = found.to_unit(pixels[None])
        back = found.from_unit(unit, pixels[None])[0]
        assert np.isfinite(unit).all()
        np.testing.assert_allclose(back, pixels, rtol=1e-5, atol=1e-6 * float(np.abs(pixels).max()))
        np.testing.assert_array_equal(found.subtract(pixels[None], np.zeros((1, 64, 64)), pixels.dtype)[0], pixels)


def test_sparse_spots_set_the_range():
    image = np.zeros((256, 256), np.float32)
    image[100, 100] = 1e-4
    (found,) = ranges(image, "YX").values()
    assert (found.low, found.high) == (0.0, pytest.approx(1e-4))


def test_common_range_has_what_any_epoch_has():
    plain, negative = IntensityRange(0, 1, non_negative=True), IntensityRange(-1, 2, has_nonfinite=True)
    for epochs in ((plain, negative), (negative, plain)):
        common = common_range(epochs)
        assert (common.low, common.high, common.has_nonfinite, common.non_negative) == (-1, 2, True, False)


def test_unchanged_pixels_beyond_float32_become_its_largest_number():
    pixels = np.array([[[1e300, -1e300, 7.0]]])
    out = IntensityRange(0.0, 1.0).subtract(pixels, np.zeros(pixels.shape), np.dtype(np.float32))
    largest = np.finfo(np.float32).max
    assert out.ravel().tolist() == [largest, -largest, 7.0]


@pytest.mark.parametrize(("corner", "outside"), [((100, 100), 0), ((2666, 2666), 0), ((2666, 2666), np.nan)])
def test_small_object_on_a_masked_background_sets_the_range(corner, outside):
    class Masked:
        shape, dtype = (8000, 8000), np.dtype(np.float32)

        def __getitem__(self, key):
            rows, columns = (np.arange(side)[k] for side, k in zip(self.shape, key, strict=True))
            inside = [(at >= start) & (at < start + 900) for at, start in zip((rows, columns), corner, strict=True)]
            textured = 1000 + np.add.outer(rows * 37 % 501, columns * 53 % 499)
            return np.where(np.logical_and.outer(*inside), textured, outside).astype(np.float32)

    found = ranges(Masked(), "YX")[0]
    assert 1500 < found.high < 2600


@pytest.mark.parametrize("value", [1e12, -1e30, 1e45])
def test_absurd_values_do_not_affect_their_surroundings(value):
    """They are kept as they are, like missing pixels; before, they spoiled the means around them."""
    pixels = np.random.default_rng(0).poisson(100.0, (128, 128)).astype(np.float64)
    damaged = pixels.copy()
    damaged[60:65, 40:46] = value
    how = {"noise": "gain=1", "intensity": (0.0, 200.0), "device": "cpu", "axes": "YX"}
    expected, result = denoise(pixels, **how), denoise(damaged, **how)
    assert (result[60:65, 40:46] == value).all()
    difference = np.abs(result - expected)
    difference[60:65, 40:46] = 0
    assert difference.max() < 10  # one standard deviation of the noise
    assert np.std(result[:50]) < 3
