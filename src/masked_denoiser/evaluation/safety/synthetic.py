"""Synthetic images with known truth for the safety report: content and noise that are hard to distinguish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from zlib import crc32

import numpy as np

from masked_denoiser.evaluation.safety.patterns import PATTERN_CASES
from masked_denoiser.evaluation.safety.report import SafetyCase
from masked_denoiser.evaluation.safety.scenes import (
    SIDE,
    Scene,
    beads,
    ct,
    field_of_view,
    filaments,
    fluorescence,
    grating,
    mri,
    photograph,
    tissue,
)
from masked_denoiser.evaluation.safety.values import Maker, Pair, draw_noise, to_integers

#: Widths in pixels of the blur of correlated noise; 0 for white noise.
_BLURS = (0.0, 0.3, 0.5, 0.7, 1.0, 1.5)

#: Mean photons of flat fields.
_PHOTONS = (0.05, 0.2, 1.0, 5.0, 30.0, 200.0, 1000.0)

#: Periods of gratings in pixels.
_PERIODS = (3.0, 4.0, 6.0, 8.0)

#: Standard deviations in gray levels of the noise of gratings, filaments and beads.
_SIGMAS = (0.0, 3.0, 12.0)

#: Contents with correlated noise: scene, factor, standard deviation of the noise after the factor, and dtype.
_CONTENTS: dict[str, tuple[Callable[[np.random.Generator], Scene], float, float, str]] = {
    "photograph": (photograph, 1.0, 12.0, "u1"),
    "tissue": (tissue, 1.0, 10.0, "u1"),
    "fluorescence": (fluorescence, 3000.0, 120.0, "u2"),
    "MRI": (mri, 800.0, 30.0, "u2"),
    "CT": (ct, 1.0, 25.0, "i2"),
}


def synthetic_cases(seed: int = 0) -> Iterator[SafetyCase]:
    """Yield images of 192 x 192 pixels or less with their truth; the same seed gives the same images.

    Args:
        seed: seed of scenes and noises, which differ between images.
    """
    for name, axes, make in _list_makers():
        noisy, truth = make(np.random.default_rng([seed, crc32(name.encode())]))
        yield SafetyCase(name, noisy, axes, truth)


def _list_makers() -> Iterator[tuple[str, str, Maker]]:
    """Yield the name, axes and maker of each image."""
    for content in _CONTENTS:
        axes = "YXS" if content == "tissue" else "YX"
        yield f"{content}, clean", axes, partial(_content_with_noise, content, None)
        for blur in _BLURS:
            name = f"{content}, noise blurred by {blur:g} px" if blur else f"{content}, white noise"
            yield name, axes, partial(_content_with_noise, content, blur)
    for sigma in _SIGMAS:
        noise = f"noise {sigma:g}" if sigma else "clean"
        for period in _PERIODS:
            yield f"grating of period {period:g} px, {noise}", "YX", partial(_gray, partial(grating, period), sigma)
        yield f"filaments, {noise}", "YX", partial(_gray, filaments, sigma)
        yield f"beads, {noise}", "YX", partial(_gray, beads, sigma)
    for photons in _PHOTONS:
        yield f"flat field, {photons:g} photons", "YX", partial(_flat_field, photons)
    yield from _SPECIAL_CASES
    yield from PATTERN_CASES


def _content_with_noise(content: str, blur: float | None, rng: np.random.Generator) -> Pair:
    """Make an image of a content with Gaussian noise of this blur in pixels; None for no noise."""
    make_scene, factor, sigma, dtype = _CONTENTS[content]
    truth = make_scene(rng) * factor
    if blur is None:
        return to_integers(truth, dtype), truth
    return to_integers(truth + draw_noise(truth.shape, sigma, rng, blur), dtype), truth


def _gray(make: Callable[[np.random.Generator], Scene], sigma: float, rng: np.random.Generator) -> Pair:
    """Make an 8-bit image of a scene in [0, 1] with white noise in gray levels."""
    truth = make(rng) * 235 + 10
    return to_integers(truth + draw_noise(truth.shape, sigma, rng), "u1"), truth


def _flat_field(photons: float, rng: np.random.Generator) -> Pair:
    """Make photon counts of a uniform field."""
    truth = np.full((SIDE, SIDE), photons)
    return to_integers(rng.poisson(truth), "u2"), truth


def _dim_counts(rng: np.random.Generator) -> Pair:
    """Make an 8-bit image of 0.3 to 6.3 photons."""
    truth = fluorescence(rng) * 6 + 0.3
    return to_integers(rng.poisson(truth), "u1"), truth


def _camera(rng: np.random.Generator) -> Pair:
    """Make a 12-bit camera image with 20 counts per photon and an offset of 200."""
    truth = fluorescence(rng) * 3000 + 200
    return np.minimum(to_integers(rng.poisson(truth / 20) * 20, "u2"), 4095).astype("u2"), truth


def _camera_with_fill_value(value: float, dtype: str, rng: np.random.Generator) -> Pair:
    """Make a camera image with fill values outside a circular field of view."""
    noisy, truth = _camera(rng)
    outside = ~field_of_view()
    noisy = noisy.astype(dtype)
    noisy[outside] = value
    return noisy, np.where(outside, value, truth)


def _camera_with_hot_pixels(share: float, rng: np.random.Generator) -> Pair:
    """Make a camera image with a share of pixels at the 16-bit maximum; the truth has none."""
    noisy, truth = _camera(rng)
    noisy[rng.random(noisy.shape) < share] = 65535
    return noisy, truth


def _camera_with_debris(rng: np.random.Generator) -> Pair:
    """Make a camera image with three specks 15 times as bright as the rest."""
    truth = fluorescence(rng) * 2000 + 200
    for row, column in rng.integers(12, SIDE - 12, (3, 2)):
        truth[row - 4 : row + 5, column - 3 : column + 4] = 30000.0
    return to_integers(rng.poisson(truth / 20) * 20, "u2"), truth


def _underexposed(rng: np.random.Generator) -> Pair:
    """Make an underexposed 8-bit image of 5 to 30 gray levels."""
    truth = fluorescence(rng) * 25 + 5
    return to_integers(truth + draw_noise(truth.shape, 1.5, rng), "u1"), truth


def _small_floats(rng: np.random.Generator) -> Pair:
    """Make an image of floats from 0 to 0.055."""
    truth = fluorescence(rng) * 0.055
    return (truth + draw_noise(truth.shape, 0.004, rng)).astype("f4"), truth


def _ct(padding: bool, metal: bool, rng: np.random.Generator) -> Pair:
    """Make a CT slice with padding of -2000 around the field of view, and a piece of metal."""
    truth = ct(rng)
    if metal:
        truth[90:98, 60:68] = 3071.0
    noisy = truth + draw_noise(truth.shape, 25.0, rng)
    noisy[truth == 3071.0] = 3071.0
    if padding:
        truth[~field_of_view()] = noisy[~field_of_view()] = -2000.0
    return to_integers(noisy, "i2"), truth


def _bleaching_series(rng: np.random.Generator) -> Pair:
    """Make a series [6, H, W] that loses 40 % of its light per frame, with photon noise, offset and read noise."""
    scene = fluorescence(rng)
    light = np.stack([scene * 4000 * 0.6**frame for frame in range(6)])
    return to_integers(rng.poisson(light) + 100 + draw_noise(light.shape, 5.0, rng), "u2"), light + 100


def _decaying_stack(rng: np.random.Generator) -> Pair:
    """Make a stack [8, H, W] whose intensity halves from plane to plane, with constant noise."""
    truth = np.stack([fluorescence(rng) * 4000 * 0.5**plane for plane in range(8)]) + 100
    return to_integers(truth + draw_noise(truth.shape, 8.0, rng), "u2"), truth


def _series_with_flash(rng: np.random.Generator) -> Pair:
    """Make a series [10, H, W] with one frame that is 20 times as bright."""
    truth = np.repeat((fluorescence(rng) * 400 + 100)[None], 10, axis=0)
    truth[4] *= 20
    return to_integers(truth + draw_noise(truth.shape, 20.0, rng), "u2"), truth


def _bright_object(rng: np.random.Generator) -> Pair:
    """Make an image with an object on 3 % of its area that is 15 times as bright as the rest."""
    truth = fluorescence(rng) * 2000 + 500
    truth[20:54, 30:62] += 30000
    return to_integers(truth + draw_noise(truth.shape, 60.0, rng), "u2"), truth


def _cropped(side: int, rng: np.random.Generator) -> Pair:
    """Make an 8-bit image of side x side pixels."""
    truth = fluorescence(rng)[60 : 60 + side, 60 : 60 + side] * 200 + 20
    return to_integers(truth + draw_noise(truth.shape, 12.0, rng), "u1"), truth


def _gray_tissue(rng: np.random.Generator) -> Pair:
    """Make a clean gray image of tissue."""
    truth = tissue(rng).mean(axis=-1)
    return to_integers(truth, "u1"), truth


def _gray_with_scale_bar(rng: np.random.Generator) -> Pair:
    """Make a gray image with a red scale bar, saved as RGB, [H, W, 3]."""
    noisy, truth = _gray_as_rgb(rng)
    noisy[-12:-8, -60:-10] = truth[-12:-8, -60:-10] = 255, 0, 0
    return noisy, truth


def _red_only(rng: np.random.Generator) -> Pair:
    """Make an RGB image [H, W, 3] whose green and blue channels are empty."""
    truth = np.zeros((SIDE, SIDE, 3))
    truth[..., 0] = fluorescence(rng) * 200
    noisy = np.zeros(truth.shape, "u1")
    noisy[..., 0] = to_integers(rng.poisson(truth[..., 0] / 4) * 4, "u1")
    return noisy, truth


def _merged_fluorescence(rng: np.random.Generator) -> Pair:
    """Make an 8-bit RGB image of three fluorophores, with photon noise, [H, W, 3]."""
    truth = np.stack([scene(rng) for scene in (filaments, fluorescence, filaments)], axis=-1) * 200 + 10
    return to_integers(rng.poisson(truth / 4) * 4, "u1"), truth


def _gray_as_rgb(rng: np.random.Generator) -> Pair:
    """Make a gray image saved as RGB, [H, W, 3]."""
    noisy, truth = _gray(fluorescence, 12.0, rng)
    return np.repeat(noisy[..., None], 3, axis=2), np.repeat(truth[..., None], 3, axis=2)


_SPECIAL_CASES: tuple[tuple[str, str, Maker], ...] = (
    ("camera, photon noise", "YX", _camera),
    ("camera, fill value 0", "YX", partial(_camera_with_fill_value, 0, "u2")),
    ("camera, fill value 65535", "YX", partial(_camera_with_fill_value, 65535, "u2")),
    ("camera, NaN outside", "YX", partial(_camera_with_fill_value, np.nan, "f4")),
    ("camera, hot pixels 0.02%", "YX", partial(_camera_with_hot_pixels, 2e-4)),
    ("camera, hot pixels 0.1%", "YX", partial(_camera_with_hot_pixels, 1e-3)),
    ("camera, bright debris", "YX", _camera_with_debris),
    ("dim 8-bit photon counts", "YX", _dim_counts),
    ("dim 8-bit, underexposed", "YX", _underexposed),
    ("floats below 0.06", "YX", _small_floats),
    ("CT, padding", "YX", partial(_ct, True, False)),
    ("CT, metal", "YX", partial(_ct, False, True)),
    ("CT, padding and metal", "YX", partial(_ct, True, True)),
    ("bleaching series of 6 frames", "TYX", _bleaching_series),
    ("RGB with empty green and blue", "YXS", _red_only),
    ("merged fluorescence as RGB", "YXS", _merged_fluorescence),
    ("gray saved as RGB", "YXS", _gray_as_rgb),
    ("gray saved as RGB, scale bar", "YXS", _gray_with_scale_bar),
    ("tissue, one channel, clean", "YX", _gray_tissue),
    ("decaying stack of 8 planes", "ZYX", _decaying_stack),
    ("series of 10 frames with a flash", "TYX", _series_with_flash),
    ("bright object on 3 % of the area", "YX", _bright_object),
    ("64 x 64 pixels", "YX", partial(_cropped, 64)),
    ("48 x 48 pixels", "YX", partial(_cropped, 48)),
)
