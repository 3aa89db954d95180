"""Noise that is independent between pixels.

Every function takes

    images: [B, C, H, W] float32 in [0, 1], on the device of the generator
    generator: seeded generator

and the parameters of its family, each a float or, with a value per image, a tensor [B, 1, 1, 1]. It returns a tensor of
the shape of `images`, neither clipped nor rounded. Samples of different channels are drawn independently. One grey
level is 1/255, whatever the dtype of the original image.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Generator, Tensor

#: One grey level of an 8-bit image, in units of images in [0, 1].
GREY_LEVEL = 1.0 / 255.0

#: Value of a parameter: one for all images, or one for each [B, 1, 1, 1].
Amount = float | Tensor


def gaussian(images: Tensor, generator: Generator, *, sigma: Amount) -> Tensor:
    """Add white noise N(0, sigma grey levels)."""
    return images + normal(images, generator) * (sigma * GREY_LEVEL)


def poisson(images: Tensor, generator: Generator, *, alpha: Amount, distinct: int | None = None) -> Tensor:
    """Add scaled Poisson noise: alpha (Poisson(x v) / v - x), with x the image rounded to 8 bit.

    v is the number of distinct values in each image, rounded up to a power of two, as in
    `skimage.util.random_noise`. For patches, `distinct` gives the number of the whole image, as a flat patch
    has few values and would get the noise of few photons.
    """
    x = (images.clamp(0, 1) * 255).round() * GREY_LEVEL
    counts = [2.0 ** math.ceil(math.log2(distinct or len(image.unique()))) for image in x]
    v: Amount = counts[0]
    if len(set(counts)) > 1:
        v = torch.tensor(counts, dtype=x.dtype, device=x.device).view(-1, 1, 1, 1)
    drawn_counts = poisson_counts(x * v, generator)
    return images + alpha * (drawn_counts / v - x)


def poisson_gaussian(images: Tensor, generator: Generator, *, gain: Amount, offset: Amount, read: Amount) -> Tensor:
    """Return photon counts of a camera: gain (Poisson(x / gain) + N(0, read)) + offset.

    The camera model of EMVA 1288 with `gain` in grey levels per photon, `offset` in grey levels and `read` in
    photons: x = 1 is an expectation of 255 / gain photons. Foi et al., IEEE TIP 2008.
    """
    step = gain * GREY_LEVEL
    drawn_counts = poisson_counts(images.clamp(0, 1) / step, generator)
    return (drawn_counts + normal(images, generator) * read) * step + offset * GREY_LEVEL


def rician(images: Tensor, generator: Generator, *, sigma: Amount) -> Tensor:
    """Return the magnitude of a complex signal with noise N(0, sigma grey levels) in both parts.

    This is the noise of magnitude images in MRI, which raises the background. Gudbjartsson and Patz, MRM 1995.
    """
    real = images + normal(images, generator) * (sigma * GREY_LEVEL)
    imaginary = normal(images, generator) * (sigma * GREY_LEVEL)
    return torch.hypot(real, imaginary)


def speckle(images: Tensor, generator: Generator, *, variance: Amount) -> Tensor:
    """Add multiplicative noise: x + x n, with n uniform of zero mean and this variance."""
    half_width = (3.0 * variance) ** 0.5
    return images + images * (2 * uniform(images, generator) - 1) * half_width


def salt_and_pepper(images: Tensor, generator: Generator, *, density: Amount) -> Tensor:
    """Set each sample to 0 with probability density / 2, and to 1 with the same probability."""
    drawn = uniform(images, generator)
    return images.masked_fill(drawn < density / 2, 0.0).masked_fill(drawn >= 1 - density / 2, 1.0)


def none(images: Tensor, generator: Generator) -> Tensor:
    """Return the images unchanged."""
    return images


def normal(like: Tensor, generator: Generator) -> Tensor:
    """Draw standard normal numbers in the shape of a tensor."""
    return torch.randn(like.shape, generator=generator, device=like.device)


def uniform(like: Tensor, generator: Generator) -> Tensor:
    """Draw uniform numbers from [0, 1) in the shape of a tensor."""
    return torch.rand(like.shape, generator=generator, device=like.device)


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)  # constants made during inference must be usable in training
def constant_tensor(values: tuple[tuple[float, ...], ...], device: torch.device) -> Tensor:
    """Return a matrix as a tensor, cached for each device, since copying it to a GPU synchronizes."""
    return torch.tensor(values, dtype=torch.float32, device=device)


def poisson_counts(expected: Tensor, generator: Generator) -> Tensor:
    """Draw Poisson counts of these expectations, on the CPU for Apple GPUs, which have no such kernel."""
    if expected.device.type != "mps":
        return torch.poisson(expected, generator=generator)
    seed = int(torch.randint(2**31, (), generator=generator, device=expected.device))
    return torch.poisson(expected.cpu(), generator=torch.Generator().manual_seed(seed)).to(expected)
