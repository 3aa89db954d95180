"""The families of synthetic noise, by the names and numbers that noise recipes use.

A family adds its noise and does not clip or round: `recipe.add_noise` does so once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator, Tensor

from masked_denoiser.noise.synthetic.jpeg import jpeg
from masked_denoiser.noise.synthetic.neighbouring import bayer, blurred, correlated, stripes
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
    """A number of a family.

    Attributes:
        name: as it is written in a recipe.
        default: taken where a recipe leaves it out.
        smallest, largest: allowed values.
        text: what it is, with its unit.
        usual: the range that a slider offers, if that is smaller than what is allowed.
    """

    name: str
    default: float
    smallest: float
    largest: float
    text: str
    usual: tuple[float, float] | None = None


@dataclass(frozen=True)
class Family:
    """A kind of noise.

    Attributes:
        name: in recipes.
        text: what it is.
        parameters: its numbers.
        add: the function that adds it.
        counts: whether it depends on the number of distinct values in the whole image; `add` then takes `distinct`.
    """

    name: str
    text: str
    parameters: tuple[Parameter, ...]
    add: Callable[..., Tensor]
    counts: bool = False


def mixture(images: Tensor, generator: Generator, *, level: Amount, distinct: int | None = None) -> Tensor:
    """Add everything at once, growing with the level; our own definition, as the paper publishes none.

    poisson(alpha=0.25 level), then speckle(variance=0.0025 level), gaussian(sigma=2.5 level),
    correlated(sigma=5 level), salt_and_pepper(density=0.001 level).
    """
    out = poisson(images, generator, alpha=0.25 * level, distinct=distinct)
    out = speckle(out, generator, variance=0.0025 * level)
    out = gaussian(out, generator, sigma=2.5 * level)
    out = correlated(out, generator, sigma=5 * level)
    return salt_and_pepper(out, generator, density=0.001 * level)


_SIGMA = Parameter("sigma", 15.0, 0.0, 255.0, "standard deviation in grey levels of 255", (0.0, 75.0))

#: Every family by the name that recipes use.
FAMILIES = {
    family.name: family
    for family in (
        Family("gaussian", "white noise of equal strength everywhere", (_SIGMA,), gaussian),
        Family(
            "poisson",
            "photon noise, scaled",
            (Parameter("alpha", 2.0, 0.0, 100.0, "how many times the noise of an 8-bit photon count", (0.0, 4.0)),),
            poisson,
            counts=True,
        ),
        Family(
            "poisson_gaussian",
            "photon and read noise of a camera",
            (
                Parameter("gain", 2.0, 1e-3, 255.0, "grey levels for each photon", (0.1, 20.0)),
                Parameter("offset", 0.0, -255.0, 255.0, "grey levels that are added", (0.0, 50.0)),
                Parameter("read", 2.0, 0.0, 1e4, "read noise in photons", (0.0, 20.0)),
            ),
            poisson_gaussian,
        ),
        Family(
            "speckle",
            "noise in proportion to the light",
            (Parameter("variance", 0.02, 0.0, 10.0, "variance of the factor", (0.0, 0.1)),),
            speckle,
        ),
        Family(
            "salt_and_pepper",
            "dead and hot pixels",
            (Parameter("density", 0.02, 0.0, 1.0, "share of the samples that are lost", (0.0, 0.1)),),
            salt_and_pepper,
        ),
        Family(
            "correlated",
            "noise that neighbours share, as after a camera's own smoothing",
            (Parameter("sigma", 40.0, 0.0, 765.0, "grey levels of 255 before the 3 x 3 mean", (0.0, 100.0)),),
            correlated,
        ),
        Family(
            "blurred",
            "noise after a Gaussian blur, as smoothing in a camera or in software leaves it",
            (
                Parameter("sigma", 15.0, 0.0, 255.0, "standard deviation after the blur, in grey levels", (0.0, 50.0)),
                Parameter("gain", 0.0, 0.0, 255.0, "growth of the variance with the light, in grey levels", (0.0, 6.0)),
                Parameter("width", 0.7, 0.1, 3.0, "standard deviation of the blur in pixels", (0.3, 1.5)),
            ),
            blurred,
        ),
        Family(
            "bayer",
            "noise of a colour sensor, interpolated between its red, green and blue pixels",
            (
                _SIGMA,
                Parameter("gain", 0.0, 0.0, 255.0, "growth of the variance with the light, in grey levels", (0.0, 6.0)),
            ),
            bayer,
        ),
        Family("rician", "noise of magnitude images of MRI; it raises the background", (_SIGMA,), rician),
        Family(
            "stripes",
            "whole lines too bright or too dark",
            (
                Parameter("sigma", 10.0, 0.0, 255.0, "standard deviation in grey levels of 255", (0.0, 50.0)),
                Parameter("vertical", 0.0, 0.0, 1.0, "probability of columns instead of rows"),
            ),
            stripes,
        ),
        Family(
            "jpeg",
            "blocks and ringing of compression",
            (Parameter("quality", 30.0, 1.0, 100.0, "JPEG quality"),),
            jpeg,
        ),
        Family(
            "mixture",
            "photon, speckle, white, correlated and impulse noise at once",
            (Parameter("level", 2.0, 0.0, 100.0, "how strong", (0.0, 4.0)),),
            mixture,
            counts=True,
        ),
        Family("none", "no noise: the network learns to leave clean images alone", (), none),
    )
}
