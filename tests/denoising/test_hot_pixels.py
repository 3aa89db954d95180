"""Hot pixels: fixed over all planes without affecting their neighbours, unlike static beads."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import erf

import masked_denoiser as md
from masked_denoiser.denoising.hot_pixels import find_hot_pixels
from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.noise.variance_model import NoiseVariance

SIDE, SIGMA = 96, 5.0
SCALE = IntensityRange(0.0, 255.0)


def scenes(planes, *, still):
    """Return smooth images [planes, H, W], all equal if `still`."""
    rng = np.random.default_rng(0)
    images = gaussian_filter(rng.normal(size=(1 if still else planes, SIDE, SIDE)), (0, 8, 8))
    return np.broadcast_to(60 + 40 * images / images.std(), (planes, SIDE, SIDE))


def bead(y, x, width):
    """Return an undersampled Gaussian point [H, W], integrated over each pixel."""

    def profile(centre):
        edges = (np.arange(SIDE + 1) - 0.5 - centre) / (np.sqrt(2) * width)
        return np.diff(erf(edges)) / 2

    return np.outer(profile(y), profile(x))


def spots(count, seed):
    rng = np.random.default_rng(seed)
    grid = rng.permutation((SIDE // 8 - 1) ** 2)[:count]
    return np.stack([8 * (grid // (SIDE // 8 - 1)) + 8, 8 * (grid % (SIDE // 8 - 1)) + 8], axis=1)


def stack(planes=8, *, still=True, hot=(), beads=(), width=0.4):
    rng = np.random.default_rng(1)
    image = scenes(planes, still=still) + rng.normal(0, SIGMA, (planes, SIDE, SIDE))
    for y, x in hot:
        image[:, y, x] += 80
    for y, x in beads:
        image += 120 * bead(y + 0.2, x - 0.1, width)
    return image.astype(np.float32)


def find_in(image):
    with open_image(image, axes="ZYX") as source:
        planes = list(list_planes(source.axes, source.sizes, source.rgb))
        return find_hot_pixels(source, planes, {0: SCALE}, {0: NoiseVariance(0.0, (SIGMA / 255) ** 2)}).get(0, ())


@pytest.mark.parametrize("still", [True, False])
def test_hot_pixels_are_found_but_not_beads(still):
    positions = spots(40, 0)
    hot, beads = positions[:20], positions[20:]
    assert set(find_in(stack(still=still, hot=hot, beads=beads))) == {(int(y), int(x)) for y, x in hot}


def test_dead_pixels_are_found():
    image = stack()
    image[:, 40, 50] = 0
    assert find_in(image) == ((40, 50),)


def test_points_in_some_planes_only_are_kept():
    image = stack()
    image[:5, 30, 30] += 100
    assert find_in(image) == ()


def test_fewer_than_four_planes_give_no_hot_pixels():
    assert find_in(stack(3, hot=spots(20, 0))) == ()


def test_noise_alone_has_no_hot_pixels():
    assert find_in(stack()) == ()


def test_hot_pixel_repair_is_independent_of_tiling():
    hot = spots(12, 3)
    image = np.rint(stack(hot=hot)).clip(0, 255).astype(np.uint8)
    whole, tiled = (md.denoise(image, axes="ZYX", model="general-gray", tile=tile) for tile in (128, 64))
    np.testing.assert_allclose(whole.astype(int), tiled, atol=1)
    truth = scenes(8, still=True)
    errors = np.abs(whole[:, hot[:, 0], hot[:, 1]] - truth[:, hot[:, 0], hot[:, 1]])
    assert np.median(errors) < SIGMA
