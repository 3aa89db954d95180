"""Noise families, each exactly as its definition says, on images in [0, 1].

A family adds its noise and does not clip or round: `recipe.add_noise` does so once, at the end. One
grey level is 1/255, whatever the dtype that the image came from. Every function takes

    images: [B, C, H, W] float32 in [0, 1], on the generator's device
    generator: seeded, on the same device

and returns a tensor of the same shape. Samples of different channels are drawn apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import imagecodecs
import numpy as np
import torch
from torch import Generator, Tensor

_GREY = 1.0 / 255.0


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


def gaussian(images: Tensor, generator: Generator, *, sigma: float) -> Tensor:
    """Adds white noise N(0, sigma grey levels)."""
    return images + _normal(images, generator) * (sigma * _GREY)


def poisson(images: Tensor, generator: Generator, *, alpha: float, distinct: int | None = None) -> Tensor:
    """Scales Poisson noise: x + alpha (Poisson(x v) / v - x), x rounded to 8 bit.

    v is the next power of two above the number of distinct values in the image, as in
    `skimage.util.random_noise`; each image of the batch has its own. Patches of an image are given its number,
    `distinct`: a flat patch has few values, and by itself would get the noise of a few photons.
    """
    x = (images.clamp(0, 1) * 255).round() * _GREY
    counts = [2.0 ** np.ceil(np.log2(distinct or len(image.unique()))) for image in x]
    v = torch.tensor(counts, dtype=x.dtype, device=x.device).view(-1, 1, 1, 1)
    counted: Tensor = torch.poisson(x * v, generator=generator)
    return x + alpha * (counted / v - x)


def speckle(images: Tensor, generator: Generator, *, variance: float) -> Tensor:
    """Multiplies: x + x n, n uniform with zero mean and this variance."""
    half_width = float(np.sqrt(3.0 * variance))
    return images + images * (2 * _uniform(images, generator) - 1) * half_width


def salt_and_pepper(images: Tensor, generator: Generator, *, density: float) -> Tensor:
    """Sets each sample to 0 with probability density / 2, and to 1 with the same."""
    drawn = _uniform(images, generator)
    return images.masked_fill(drawn < density / 2, 0.0).masked_fill(drawn >= 1 - density / 2, 1.0)


def correlated(images: Tensor, generator: Generator, *, sigma: float) -> Tensor:
    """Adds the 3 x 3 box mean of white noise N(0, sigma grey levels); its own deviation is sigma / 3."""
    batch, channels, height, width = images.shape
    white = torch.randn(batch, channels, height + 2, width + 2, generator=generator, device=images.device)
    mean: Tensor = torch.nn.functional.avg_pool2d(white, 3, stride=1)
    return images + mean * (sigma * _GREY)


def mixture(images: Tensor, generator: Generator, *, level: float, distinct: int | None = None) -> Tensor:
    """Adds everything at once, growing with the level; our own definition, as the paper publishes none.

    poisson(alpha=0.25 level), then speckle(variance=0.0025 level), gaussian(sigma=2.5 level),
    correlated(sigma=5 level), salt_and_pepper(density=0.001 level).
    """
    out = poisson(images, generator, alpha=0.25 * level, distinct=distinct)
    out = speckle(out, generator, variance=0.0025 * level)
    out = gaussian(out, generator, sigma=2.5 * level)
    out = correlated(out, generator, sigma=5 * level)
    return salt_and_pepper(out, generator, density=0.001 * level)


def poisson_gaussian(images: Tensor, generator: Generator, *, gain: float, offset: float, read: float) -> Tensor:
    """Counts photons: gain (Poisson(x / gain) + N(0, read)) + offset.

    The camera model of EMVA 1288 with `gain` and `offset` in grey levels (per photon, and added) and
    `read` in photons: x = 1 is an expectation of 255 / gain photons. Foi et al., IEEE TIP 2008.
    """
    step = gain * _GREY
    photons = torch.poisson(images.clamp(0, 1) / step, generator=generator)
    return (photons + _normal(images, generator) * read) * step + offset * _GREY


def jpeg(images: Tensor, generator: Generator, *, quality: float) -> Tensor:
    """Stores as JPEG (ITU-T T.81, colour at half resolution) and reads it back; on the CPU, nothing is drawn."""
    pixels = (images.clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
    out = np.stack([_jpeg_image(image, round(quality)) for image in pixels])
    return torch.from_numpy(out).permute(0, 3, 1, 2).to(images) * _GREY


def _jpeg_image(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], quality: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """One image [H, W, C]; JPEG knows one or three channels, others go one by one."""
    if pixels.shape[-1] == 3:
        code = imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=quality, subsampling="420")
        return np.asarray(imagecodecs.jpeg8_decode(code))
    planes = [np.ascontiguousarray(pixels[..., i]) for i in range(pixels.shape[-1])]
    return np.stack([imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(p, level=quality)) for p in planes], axis=-1)


def stripes(images: Tensor, generator: Generator, *, sigma: float, vertical: float) -> Tensor:
    """Adds N(0, sigma grey levels) to whole lines: rows, or columns with probability `vertical` for each image."""
    batch, channels, height, width = images.shape
    rows = torch.randn(batch, channels, height, 1, generator=generator, device=images.device)
    columns = torch.randn(batch, channels, 1, width, generator=generator, device=images.device)
    turned = torch.rand(batch, 1, 1, 1, generator=generator, device=images.device) < vertical
    return images + torch.where(turned, columns, rows) * (sigma * _GREY)


def none(images: Tensor, generator: Generator) -> Tensor:
    """Leaves the images as they are."""
    return images


def _normal(like: Tensor, generator: Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device)


def _uniform(like: Tensor, generator: Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator, device=like.device)


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
