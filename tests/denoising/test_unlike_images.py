"""Heterogeneous images (planes, sizes, bright objects, marks), end to end with the bundled models."""

import warnings

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, gaussian_filter
from skimage import data

import masked_denoiser
from masked_denoiser.denoising.noise_measurement import measure_noise
from masked_denoiser.images.open import open_image

Y, X = np.mgrid[:112, :112]
SCENE = 0.5 + 0.5 * np.sin(X / 9) * np.sin(Y / 11)


def denoise(array, axes, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of noise that is left alone
        return masked_denoiser.denoise(array, axes=axes, device="cpu", **options)


def error(result, truth):
    return float(np.sqrt(np.mean((np.asarray(result, np.float64) - truth) ** 2)))


def noise(sigma, shape, seed=0):
    return np.random.default_rng(seed).normal(0, sigma, shape)


def test_last_plane_of_a_decaying_stack_is_denoised():
    truth = np.stack([4000 * 0.5**z * SCENE + 100 for z in range(8)])
    noisy = (truth + noise(8, truth.shape)).round().astype(np.uint16)
    result = denoise(noisy, "ZYX")
    assert error(result[7], truth[7]) < 0.4 * 8
    assert error(result[0], truth[0]) <= 1.05 * error(noisy[0], truth[0])


def test_hot_pixels_do_not_hide_the_noise_of_a_decaying_stack():
    truth = np.stack([2000 * 0.35**t * SCENE + 100 for t in range(4)])
    noisy = (truth + noise(12, truth.shape)).round().clip(0)
    hot = np.random.default_rng(1).random(truth.shape) < 0.003
    noisy[hot] = 65535
    result = denoise(noisy.astype(np.uint16), "TYX")
    assert all(error(result[frame], truth[frame]) < 0.5 * 12 for frame in (1, 2, 3))


def test_saturated_colour_does_not_prevent_the_others_from_being_denoised():
    truth = np.clip(np.stack([60 * SCENE + 260, 120 * SCENE + 40, 90 * SCENE + 70], axis=2), 0, 255)
    noisy = np.clip(np.rint(truth + noise(12, truth.shape)), 0, 255).astype(np.uint8)
    result = denoise(noisy, "YXS")
    assert error(result[..., 0], truth[..., 0]) <= error(noisy[..., 0], truth[..., 0])
    assert error(result[..., 1:], truth[..., 1:]) < 0.5 * 12


def test_flash_does_not_affect_other_frames():
    truth = np.stack([400 * SCENE + 100] * 40)
    truth[15] *= 20
    noisy = (truth + noise(20, truth.shape)).round().astype(np.uint16)
    result = denoise(noisy, "TYX")
    assert max(error(result[frame], truth[frame]) for frame in (3, 14, 16)) < 0.4 * 20


@pytest.mark.parametrize("blank", [0.0, 100.0])
def test_blank_frame_is_unchanged(blank):
    noisy = (200 * SCENE + noise(10, SCENE.shape)).astype(np.float32)
    series = np.stack([noisy, np.full_like(noisy, blank), noisy])
    result = denoise(series, "TYX")
    np.testing.assert_array_equal(result[1], series[1])
    assert error(result[0], 200 * SCENE) < 4


@pytest.mark.parametrize("side", [48, 64, 80])
def test_small_images_are_denoised(side):
    truth = 200 * SCENE[:side, :side] + 20
    assert error(denoise((truth + noise(10, truth.shape)).astype(np.float32), "YX"), truth) < 5


def test_image_too_small_to_measure_is_unchanged():
    tiny = (200 * SCENE[:24, :24] + noise(10, (24, 24))).astype(np.float32)
    with pytest.warns(UserWarning, match="too little to measure"):
        result = masked_denoiser.denoise(tiny, axes="YX", device="cpu")
    np.testing.assert_array_equal(result, tiny)


@pytest.mark.parametrize("area", [0.03, 0.1])
def test_weak_noise_beside_a_bright_object_is_removed(area):
    truth = 2000 * SCENE + 500
    side = round(112 * area**0.5)
    truth[:side, :side] += 60000
    result = denoise((truth + noise(60, truth.shape)).astype(np.float32), "YX")
    away = np.s_[side + 16 :, side + 16 :]
    assert error(result[away], truth[away]) < 0.5 * 60


@pytest.mark.parametrize("kind", ["mark", "jitter"])
def test_nearly_gray_rgb_is_treated_as_gray(kind):
    truth = np.repeat((200 * SCENE + 20)[..., None], 3, axis=2)
    noisy = (truth + noise(12, SCENE.shape)[..., None]).round().clip(0, 255)
    if kind == "mark":
        noisy[4:7, 4:40] = 255, 0, 0
    else:
        noisy = (noisy + np.random.default_rng(1).integers(-1, 2, noisy.shape)).clip(0, 255)
    result = denoise(noisy.astype(np.uint8), "YXS")
    assert error(result[16:], truth[16:]) < 5


def test_tile_is_independent_of_its_batch():
    light = np.where(np.arange(512) < 256, 500, 40000) * np.ones((64, 1))
    counts = (np.random.default_rng(0).poisson(light / 10) * 10).astype(np.uint16)
    single, batched = (denoise(counts, "YX", tile=64, batch=batch).astype(int) for batch in (1, 4))
    assert np.abs(single - batched).max() <= 1


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("side", [192, 320])
def test_single_tissue_channel_is_nearly_unchanged(side, corner):
    gray = (data.immunohistochemistry() @ [0.299, 0.587, 0.114]).round().astype(np.uint8)
    y, x = (at * (512 - side) for at in corner)
    crop = gray[y : y + side, x : x + side]
    assert error(denoise(crop, "YX"), crop.astype(float)) < 255 * 10 ** (-42 / 20)


def test_integers_beyond_float64_are_accepted():
    counts = np.random.default_rng(0).poisson(30, (64, 64)) + 2**60
    assert denoise(counts, "YX").dtype == np.int64


def camera(photons, seed=0):
    """Return an image of a camera with a gain of 4, an offset of 100 and a read noise of 5, and its truth."""
    rng = np.random.default_rng(seed)
    values = 4 * rng.poisson(photons) + 100 + rng.normal(0, 5, photons.shape)
    return values.round().clip(0).astype(np.uint16), 4 * photons + 100


def cells(count, side, seed=0):
    """Return round cells without texture on a dark field, in photons, and a mask of them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    centres = rng.integers(40, side - 40, (count, 2))
    inside = np.any([np.hypot(y - row, x - column) < 20 for row, column in centres], axis=0)
    return 2 + 50 * gaussian_filter(inside.astype(float), 1.5), inside


@pytest.mark.parametrize("count", [4, 8])
def test_few_cells_on_a_dark_field_are_denoised(count):
    """The noise of their light cannot be seen in the background, which is nearly the whole image."""
    photons, inside = cells(count, 768)
    noisy, truth = camera(photons)
    assert error(denoise(noisy, "YX")[inside], truth[inside]) < 0.4 * error(noisy[inside], truth[inside])


@pytest.mark.parametrize("seed", [0, 1])
def test_only_plane_with_cells_is_denoised(seed):
    photons, inside = cells(6, 160, seed)
    stack = np.stack([photons if z == 6 else np.full_like(photons, 2) for z in range(12)])
    noisy, truth = camera(stack, seed)
    result = denoise(noisy, "ZYX")
    assert error(result[6][inside], truth[6][inside]) < 0.45 * error(noisy[6][inside], truth[6][inside])


@pytest.mark.parametrize("fill", [100, 120, 150])
def test_noise_is_not_measured_on_a_filled_background(fill):
    photons, inside = cells(12, 320)
    noisy, truth = camera(photons)
    noisy[~binary_dilation(inside, iterations=12)] = fill
    measured = measure_noise(open_image(noisy, axes="YX"))
    scale = measured.samples[0].intensity_range
    for intensity in (150, 300):
        unit = (intensity - scale.low) / scale.span
        sigma = float(measured.estimate.channels[0].variance.sigma(unit)) * scale.span
        assert sigma == pytest.approx(np.sqrt(4 * (intensity - 100) + 25), rel=0.15)
    assert error(denoise(noisy, "YX")[inside], truth[inside]) < 0.7 * error(noisy[inside], truth[inside])
