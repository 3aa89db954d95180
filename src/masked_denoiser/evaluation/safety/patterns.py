"""Synthetic images with patterns, marks and unequal noise, which measurements of noise tend to misjudge."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter

from masked_denoiser.evaluation.safety.scenes import SIDE, Scene, fluorescence, photograph, tissue
from masked_denoiser.evaluation.safety.values import Maker, Pair, draw_noise, to_integers


def fractal(exponent: float, rng: np.random.Generator) -> Scene:
    """Return texture whose power falls with this exponent of the frequency, as haze or rough surfaces, [H, W].

    Its mean is 0, its standard deviation 1.
    """
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(rng.normal(size=(SIDE, SIDE))) * frequency ** (-exponent / 2)
    texture = np.fft.ifft2(spectrum).real
    return np.asarray((texture - texture.mean()) / texture.std(), np.float64)


def _lines(period: int, sigma: float, rng: np.random.Generator) -> Pair:
    """Make an 8-bit image of upright lines, as of lithography, with white noise."""
    profile = np.where(np.arange(SIDE) // (period // 2) % 2, 180.0, 60.0)
    truth = np.repeat(gaussian_filter(profile, 0.7)[None], SIDE, axis=0)
    return to_integers(truth + draw_noise(truth.shape, sigma, rng), "u1"), truth


def _barcode(_: np.random.Generator) -> Pair:
    """Make an 8-bit image of random upright bars."""
    bars = np.where(np.random.default_rng(3).random(SIDE) > 0.5, 200.0, 60.0)
    truth = np.repeat(bars[None], SIDE, axis=0)
    return to_integers(truth, "u1"), truth


def _interlaced(rng: np.random.Generator) -> Pair:
    """Make an 8-bit image in which every second row is brighter by 20, with white noise."""
    truth = fluorescence(rng) * 180 + 20
    truth[::2] += 20
    return to_integers(truth + draw_noise(truth.shape, 5.0, rng), "u1"), truth


def _random_rows(rng: np.random.Generator) -> Pair:
    """Make an 8-bit image whose rows have random offsets, with white noise."""
    truth = photograph(rng)
    rows = rng.normal(0.0, 6.0, (SIDE, 1))
    return to_integers(truth + rows + draw_noise(truth.shape, 8.0, rng), "u1"), truth


def _checkerboard(_: np.random.Generator) -> Pair:
    """Make an 8-bit image of alternating pixels."""
    truth = np.asarray(np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 255, np.float64)
    return to_integers(truth, "u1"), truth


def _fractal(exponent: float, sigma: float, rng: np.random.Generator) -> Pair:
    """Make a 16-bit image of fractal texture with white noise."""
    truth = 2000 + 400 * fractal(exponent, rng)
    if not sigma:
        return to_integers(truth, "u2"), np.rint(truth)
    return to_integers(truth + draw_noise(truth.shape, sigma, rng), "u2"), truth


def _text(sigma: float, rng: np.random.Generator) -> Pair:
    """Make an 8-bit image into which a text in white is burned, with white noise elsewhere."""
    from skimage.data import text

    letters = text()[:100, :SIDE] < 90
    truth = fluorescence(rng) * 180 + 30
    noisy = to_integers(truth + draw_noise(truth.shape, sigma, rng), "u1") if sigma else to_integers(truth, "u1")
    truth = truth if sigma else noisy.astype(np.float64)
    for pixels in (noisy, truth):
        pixels[20:120][letters] = 255
    return noisy, truth


def _one_noisy_colour(rng: np.random.Generator) -> Pair:
    """Make an RGB image [H, W, 3] of tissue whose blue channel alone is noisy."""
    truth = tissue(rng)
    sigmas = np.array([1.0, 1.0, 12.0])
    return to_integers(truth + draw_noise(truth.shape, 1.0, rng) * sigmas, "u1"), truth


def _saturated(rng: np.random.Generator) -> Pair:
    """Make a 12-bit image, stored in 16 bits, of which a part is saturated."""
    truth = np.minimum(fluorescence(rng) * 6000 + 100, 4095)
    return np.minimum(to_integers(rng.poisson(truth / 4) * 4, "u2"), 4095).astype("u2"), truth


def _inverted_photons(rng: np.random.Generator) -> Pair:
    """Make an 8-bit image of inverted photon counts, as of blots and films: the background is bright and quiet."""
    truth = fluorescence(rng) * 100 + 2
    return to_integers(255 - 1.9 * rng.poisson(truth), "u1"), 255 - 1.9 * truth


def _photons_of_size(side: int, rng: np.random.Generator) -> Pair:
    """Make photon counts of side x side pixels, most of which are background."""
    truth = (fluorescence(rng) * 3000 + 100)[:side, :side]
    return to_integers(rng.poisson(truth / 10) * 10, "u2"), truth


#: Name, axes and maker of each image.
PATTERN_CASES: tuple[tuple[str, str, Maker], ...] = (
    ("lines of period 6 px, clean", "YX", partial(_lines, 6, 0.0)),
    ("lines of period 6 px, noise 8", "YX", partial(_lines, 6, 8.0)),
    ("barcode, clean", "YX", _barcode),
    ("interlaced rows, noise 5", "YX", _interlaced),
    ("photograph, random rows", "YX", _random_rows),
    ("checkerboard of pixels, clean", "YX", _checkerboard),
    ("fractal texture 2, clean", "YX", partial(_fractal, 2.0, 0.0)),
    ("fractal texture 2.5, noise 40", "YX", partial(_fractal, 2.5, 40.0)),
    ("fractal texture 3, clean", "YX", partial(_fractal, 3.0, 0.0)),
    ("burned-in text, clean", "YX", partial(_text, 0.0)),
    ("burned-in text, noise 10", "YX", partial(_text, 10.0)),
    ("tissue, noise in blue", "YXS", _one_noisy_colour),
    ("12 bits, saturated", "YX", _saturated),
    ("inverted photon counts", "YX", _inverted_photons),
    ("photon counts, 104 x 104 pixels", "YX", partial(_photons_of_size, 104)),
)
