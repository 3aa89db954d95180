"""Noise that is independent from pixel to pixel.

Every function takes

    images: [B, C, H, W] float32 in [0, 1], on the generator's device
    generator: seeded, on the same device

and the numbers of its family, each a float or, for a number per image, a tensor [B, 1, 1, 1]. It returns a tensor of
the shape of `images`, neither clipped nor rounded. Samples of different channels are drawn independently. One grey
level is 1/255, whatever the dtype that the image came from.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Generator, Tensor

#: One grey level of an 8-bit image, in units of images in [0, 1].
GREY = 1.0 / 255.0
#: A number of a family: one for all images, or one for each [B, 1, 1, 1].
Amount = float | Tensor


def gaussian(images: Tensor, generator: Generator, *, sigma: Amount) -> Tensor:
    """Add white noise N(0, sigma grey levels)."""
    return images + normal(images, generator) * (sigma * GREY)


def poisson(images: Tensor, generator: Generator, *, alpha: Amount, distinct: int | None = None) -> Tensor:
    """Add scaled Poisson noise: x + alpha (Poisson(x v) / v - x), x rounded to 8 bit.

    v is the next power of two above the number of distinct values in the image, as in
    `skimage.util.random_noise`; each image of the batch has its own. Patches of an image are given its number,
    `distinct`: a flat patch has few values, and by itself would get the noise of a few photons.
    """
    x = (images.clamp(0, 1) * 255).round() * GREY
    counts = [2.0 ** math.ceil(math.log2(distinct or len(image.unique()))) for image in x]
    v: Amount = counts[0]
    if len(set(counts)) > 1:
        v = torch.tensor(counts, dtype=x.dtype, device=x.device).view(-1, 1, 1, 1)
    counted = photons(x * v, generator)
    return x + alpha * (counted / v - x)


def poisson_gaussian(images: Tensor, generator: Generator, *, gain: Amount, offset: Amount, read: Amount) -> Tensor:
    """Count photons: gain (Poisson(x / gain) + N(0, read)) + offset.

    The camera model of EMVA 1288 with `gain` and `offset` in grey levels (per photon, and added) and
    `read` in photons: x = 1 is an expectation of 255 / gain photons. Foi et al., IEEE TIP 2008.
    """
    step = gain * GREY
    counted = photons(images.clamp(0, 1) / step, generator)
    return (counted + normal(images, generator) * read) * step + offset * GREY


def rician(images: Tensor, generator: Generator, *, sigma: Amount) -> Tensor:
    """Take the magnitude of a complex signal with N(0, sigma grey levels) in both parts.

    The noise of magnitude images of MRI: it raises the background. Gudbjartsson and Patz, MRM 1995.
    """
    real = images + normal(images, generator) * (sigma * GREY)
    imaginary = normal(images, generator) * (sigma * GREY)
    return torch.hypot(real, imaginary)


def speckle(images: Tensor, generator: Generator, *, variance: Amount) -> Tensor:
    """Multiply: x + x n, n uniform with zero mean and this variance."""
    half_width = (3.0 * variance) ** 0.5
    return images + images * (2 * uniform(images, generator) - 1) * half_width


def salt_and_pepper(images: Tensor, generator: Generator, *, density: Amount) -> Tensor:
    """Set each sample to 0 with probability density / 2, and to 1 with the same."""
    drawn = uniform(images, generator)
    return images.masked_fill(drawn < density / 2, 0.0).masked_fill(drawn >= 1 - density / 2, 1.0)


def none(images: Tensor, generator: Generator) -> Tensor:
    """Return the images as they are."""
    return images


def normal(like: Tensor, generator: Generator) -> Tensor:
    """Draw standard normal numbers of the shape of a tensor."""
    return torch.randn(like.shape, generator=generator, device=like.device)


def uniform(like: Tensor, generator: Generator) -> Tensor:
    """Draw numbers of [0, 1) of the shape of a tensor."""
    return torch.rand(like.shape, generator=generator, device=like.device)


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)  # constants that inference made serve training, too
def constant(values: tuple[tuple[float, ...], ...], device: torch.device) -> Tensor:
    """Return numbers as a tensor, which is made once for each device: copying them to a GPU waits for it."""
    return torch.tensor(values, dtype=torch.float32, device=device)


def photons(expected: Tensor, generator: Generator) -> Tensor:
    """Draw Poisson counts of these expectations; on the CPU for Apple's GPU, which has no such kernel."""
    if expected.device.type != "mps":
        return torch.poisson(expected, generator=generator)
    seed = int(torch.randint(2**31, (), generator=generator, device=expected.device))
    return torch.poisson(expected.cpu(), generator=torch.Generator().manual_seed(seed)).to(expected)
