"""Fill values are distinguished from repeated intensities."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from masked_denoiser.denoising.intensity.fill_values import find_fill_values


def scene(low, high, sigma=4.0, seed=0, side=160):
    """Return a smooth image with noise."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(side, side)), 12)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return low + (high - low) * smooth + rng.normal(0, sigma, smooth.shape)


def disk(side=160):
    y, x = np.mgrid[:side, :side] - side / 2
    return np.hypot(y, x) < 0.48 * side


ROWS = scene(500, 3000).round().astype(np.uint16)
ROWS[20:30] = 0
CORNERS = scene(100, 200).astype(np.float32)
CORNERS[:20, :20], CORNERS[-30:, -30:] = -9999, 2.0**60


@pytest.mark.parametrize(
    ("image", "values"),
    [
        (np.where(np.arange(160) < 40, -9999, scene(0, 50, 0.5)).astype(np.float32), (-9999.0,)),
        (np.where(disk(), scene(-1000, 400, 20).round(), -2000).astype(np.int16), (-2000.0,)),
        (np.where(disk(), scene(-1, 1, 0.1), 0).astype(np.float32), (0.0,)),  # within the intensities
        (ROWS, (0.0,)),
        (CORNERS, (-9999.0, 2.0**60)),
    ],
    ids=["no data", "CT padding", "masked floats", "rows of zeros", "two values"],
)
def test_fill_values_are_found(image, values):
    assert sorted(find_fill_values([image])) == sorted(values)


def photons(mean):
    return np.random.default_rng(0).poisson(scene(0, mean, 0).clip(0)).astype(np.float32)


@pytest.mark.parametrize(
    "image",
    [
        photons(0.3),
        photons(3),
        photons(30).astype(np.uint16),
        np.clip(scene(0, 400, 10), 0, 255).round().astype(np.uint8),
        np.clip(scene(-100, 300, 10), 0, 255).astype(np.float32),
        np.clip(scene(-600, 300, 4), 0, None).astype(np.float32),
        np.clip(scene(0, 3, 0.02), 0, 1).astype(np.float32),
        scene(0, 1).astype(np.float32),
        np.full((64, 64), 7, np.uint8),
        np.zeros((160, 160), np.float32),
        np.kron(np.indices((20, 20)).sum(0) % 2, np.ones((8, 8))).astype(np.uint8),
    ],
    ids=[
        "few photons",
        "photons",
        "counts",
        "saturated",
        "clipped",
        "without background",
        "bright",
        "unique",
        "constant",
        "black",
        "two values",
    ],
)
def test_intensities_are_not_fill_values(image):
    assert find_fill_values([image]) == ()


def test_nan_and_infinities_are_not_fill_values():
    image = scene(0, 50).astype(np.float32)
    image[:40], image[60:80] = np.nan, np.inf
    assert find_fill_values([image]) == ()
    image[100:120] = -9999
    assert find_fill_values([image]) == (-9999.0,)


def test_fill_values_are_detected_over_all_tiles():
    """Padding fills one tile completely and is absent from the others."""
    tiles = [scene(500, 900, seed=seed).astype(np.float32) for seed in range(3)]
    assert find_fill_values([*tiles, np.full((160, 160), -1, np.float32)]) == (-1.0,)


def test_declared_fill_values_are_accepted():
    image = scene(0, 200).round().clip(0, 255).astype(np.uint8)
    assert find_fill_values([image]) == ()
    assert find_fill_values([image], (128.0,)) == (128.0,)


def test_far_negative_fill_values_are_found_anywhere():
    image = scene(500, 3000).astype(np.float32)
    scattered = np.random.default_rng(0).random(image.shape) < 0.02
    assert find_fill_values([np.where(scattered, np.float32(-9999), image)]) == (-9999.0,)
    image[40:48, 40:48] = -32768
    assert find_fill_values([image.round().astype(np.int32)]) == (-32768.0,)


def test_single_extreme_float_is_not_a_fill_value():
    image = scene(0, 1, 0.05).astype(np.float32)
    image[3, 4], image[70, 80] = 9.97e36, -1e22
    assert sorted(find_fill_values([image])) == [pytest.approx(-1e22), pytest.approx(9.97e36)]
    assert find_fill_values([scene(0, 1, 0.05).astype(np.float32) + 30 * (np.arange(160) == 7)]) == ()
