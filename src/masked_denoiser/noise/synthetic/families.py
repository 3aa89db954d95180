"""Families of synthetic noise and their parameters, as used in noise recipes.

Families neither clip nor round; `recipe.add_noise` does so once, after all families.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator, Tensor

from masked_denoiser.noise.synthetic.jpeg import jpeg
from masked_denoiser.noise.synthetic.neighbouring import bayer, blurred, correlated, reconstruction, stripes
from masked_denoiser.noise.synthetic.pixelwise import (
    Amount,
    gaussian,
    none,
    poisson,
    poisson_gaussian,
    rician,
    salt_and_pepper,
    speckle,
)


@dataclass(frozen=True)
class Parameter:
    """Parameter of a family.

    Attributes:
        name: name in recipes.
        default: value if a recipe does not give it.
        minimum, maximum: limits of its value.
        description: meaning and unit.
        slider_range: range of a slider, if it is smaller than that of allowed values.
    """

    name: str
    default: float
    minimum: float
    maximum: float
    description: str
    slider_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Family:
    """Family of synthetic noise.

    Attributes:
        name: name in recipes.
        description: description in one line.
        parameters: parameters in recipes.
        add: function that adds the noise.
        needs_distinct: whether `add` takes `distinct`, the number of distinct values in the whole image.
        has_grid: whether `add` takes `phase`, where the grid of the noise begins.
    """

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    add: Callable[..., Tensor]
    needs_distinct: bool = False
    has_grid: bool = False


def mixture(images: Tensor, generator: Generator, *, level: Amount, distinct: int | None = None) -> Tensor:
    """Add five kinds of noise that grow with the level; our own definition, as the paper publishes none.

    poisson(alpha=0.25 level), then speckle(variance=0.0025 level), gaussian(sigma=2.5 level),
    correlated(sigma=5 level), salt_and_pepper(density=0.001 level).
    """
    out = poisson(images, generator, alpha=0.25 * level, distinct=distinct)
    out = speckle(out, generator, variance=0.0025 * level)
    out = gaussian(out, generator, sigma=2.5 * level)
    out = correlated(out, generator, sigma=5 * level)
    return salt_and_pepper(out, generator, density=0.001 * level)


_SIGMA = Parameter("sigma", 15.0, 0.0, 255.0, "standard deviation in grey levels of 255", (0.0, 75.0))

#: All families by their name in recipes.
FAMILIES = {
    family.name: family
    for family in (
        Family("gaussian", "white noise, independent of intensity", (_SIGMA,), gaussian),
        Family(
            "poisson",
            "scaled photon noise",
            (Parameter("alpha", 2.0, 0.0, 100.0, "multiple of the noise of an 8-bit photon count", (0.0, 4.0)),),
            poisson,
            needs_distinct=True,
        ),
        Family(
            "poisson_gaussian",
            "photon and read noise of a camera",
            (
                Parameter("gain", 2.0, 1e-3, 255.0, "grey levels per photon", (0.1, 20.0)),
                Parameter("offset", 0.0, -255.0, 255.0, "added grey levels", (0.0, 50.0)),
                Parameter("read", 2.0, 0.0, 1e4, "read noise in photons", (0.0, 20.0)),
            ),
            poisson_gaussian,
        ),
        Family(
            "speckle",
            "noise proportional to intensity",
            (Parameter("variance", 0.02, 0.0, 10.0, "variance of the factor", (0.0, 0.1)),),
            speckle,
        ),
        Family(
            "salt_and_pepper",
            "dead and hot pixels",
            (Parameter("density", 0.02, 0.0, 1.0, "share of lost samples", (0.0, 0.1)),),
            salt_and_pepper,
        ),
        Family(
            "correlated",
            "noise correlated between neighbours, as after smoothing in a camera",
            (Parameter("sigma", 40.0, 0.0, 765.0, "grey levels of 255 before the 3 x 3 mean", (0.0, 100.0)),),
            correlated,
        ),
        Family(
            "blurred",
            "noise after a Gaussian blur, as from smoothing in a camera or in software",
            (
                Parameter("sigma", 15.0, 0.0, 255.0, "standard deviation after the blur, in grey levels", (0.0, 50.0)),
                Parameter("gain", 0.0, 0.0, 255.0, "growth of the variance with intensity, in grey levels", (0.0, 6.0)),
                Parameter("width", 0.7, 0.1, 3.0, "standard deviation of the blur in pixels", (0.3, 1.5)),
            ),
            blurred,
        ),
        Family(
            "bayer",
            "noise of a colour sensor after interpolation of its red, green and blue pixels",
            (
                _SIGMA,
                Parameter("gain", 0.0, 0.0, 255.0, "growth of the variance with intensity, in grey levels", (0.0, 6.0)),
            ),
            bayer,
            has_grid=True,
        ),
        Family(
            "reconstruction",
            "noise of filtered back-projection in computed tomography",
            (
                _SIGMA,
                Parameter("cutoff", 1.0, 0.2, 3.0, "end of the Hann window in units of the Nyquist frequency"),
                Parameter("streaks", 0.0, 0.0, 20.0, "excess of the amplitude across streaks", (0.0, 4.0)),
            ),
            reconstruction,
        ),
        Family("rician", "noise of magnitude images in MRI, which raises the background", (_SIGMA,), rician),
        Family(
            "stripes",
            "rows or columns that are too bright or too dark",
            (
                Parameter("sigma", 10.0, 0.0, 255.0, "standard deviation in grey levels of 255", (0.0, 50.0)),
                Parameter("vertical", 0.0, 0.0, 1.0, "probability of columns instead of rows"),
            ),
            stripes,
        ),
        Family(
            "jpeg",
            "blocks and ringing of JPEG compression",
            (Parameter("quality", 30.0, 1.0, 100.0, "JPEG quality"),),
            jpeg,
            has_grid=True,
        ),
        Family(
            "mixture",
            "photon, speckle, white, correlated and impulse noise together",
            (Parameter("level", 2.0, 0.0, 100.0, "strength", (0.0, 4.0)),),
            mixture,
            needs_distinct=True,
        ),
        Family("none", "no noise, for learning to preserve clean images", (), none),
    )
}
