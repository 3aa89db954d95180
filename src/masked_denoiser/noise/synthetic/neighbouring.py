"""Noise that neighbouring pixels share: smoothing, interpolation of colour sensors, lines. See `pixelwise`."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name)

from masked_denoiser.noise.synthetic.pixelwise import GREY, Amount, constant

#: Rows and columns of a Gaussian kernel on each side of its centre, for the widest blur of a recipe.
_RADIUS = 6
#: Bilinear interpolation of the green pixels of a Bayer sensor, and of the red and blue ones.
_GREEN = ((0.0, 0.25, 0.0), (0.25, 1.0, 0.25), (0.0, 0.25, 0.0))
_RED_BLUE = ((0.25, 0.5, 0.25), (0.5, 1.0, 0.5), (0.25, 0.5, 0.25))


def correlated(images: Tensor, generator: Generator, *, sigma: Amount) -> Tensor:
    """Add the 3 x 3 box mean of white noise N(0, sigma grey levels); its own deviation is sigma / 3."""
    white = _white(images, generator, margin=1)
    mean: Tensor = F.avg_pool2d(white, 3, stride=1)
    return images + mean * (sigma * GREY)


def blurred(images: Tensor, generator: Generator, *, sigma: Amount, gain: Amount, width: Amount) -> Tensor:
    """Add white noise that went through a Gaussian blur, as smoothing in a camera or in software leaves it.

    Args:
        images, generator: see `pixelwise`.
        sigma: standard deviation after the blur, in grey levels, where the image is black.
        gain: growth of the variance with the light: sigma^2 + gain x, x and the variance in grey levels.
        width: standard deviation of the Gaussian in pixels.
    """
    batch, channels, height, _ = images.shape
    steps = torch.arange(-_RADIUS, _RADIUS + 1, device=images.device, dtype=torch.float32)
    widths = torch.as_tensor(width, dtype=torch.float32, device=images.device).reshape(-1, 1).expand(batch, 1)
    kernel = torch.exp(-0.5 * (steps / widths) ** 2)
    kernel = kernel / kernel.square().sum(1, keepdim=True).sqrt()  # unit norm in each direction keeps the variance
    kernel = kernel.repeat_interleave(channels, 0)
    white = _white(images, generator, margin=_RADIUS).view(1, batch * channels, height + 2 * _RADIUS, -1)
    rows = F.conv2d(white, kernel.view(batch * channels, 1, 1, -1), groups=batch * channels)
    smooth = F.conv2d(rows, kernel.view(batch * channels, 1, -1, 1), groups=batch * channels)
    return images + smooth.view(images.shape) * _deviation(images, sigma, gain)


def bayer(images: Tensor, generator: Generator, *, sigma: Amount, gain: Amount) -> Tensor:
    """Add noise of a colour sensor: white at each red, green or blue pixel, interpolated bilinearly between them.

    Gray images get the mean over the three colours.

    Args:
        images, generator: see `pixelwise`; 1 or 3 channels.
        sigma: standard deviation at the pixels of the sensor, in grey levels, where the image is black.
        gain: growth of the variance with the light, as in `blurred`.
    """
    batch, channels, height, width = images.shape
    white = torch.randn(batch, 1, height + 2, width + 2, generator=generator, device=images.device)
    rows = torch.arange(height + 2, device=images.device)[:, None] % 2
    columns = torch.arange(width + 2, device=images.device)[None, :] % 2
    sites = torch.stack([(rows + columns) == 0, (rows + columns) == 1, (rows + columns) == 2]).float()
    colours = images if channels == 3 else images.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    light = F.pad(colours, (1, 1, 1, 1), mode="replicate")
    sampled = white * sites * _deviation(light, sigma, gain)
    kernel = torch.stack([constant(one, images.device) for one in (_RED_BLUE, _GREEN, _RED_BLUE)])[:, None]
    noise = F.conv2d(sampled, kernel, groups=3)
    return images + (noise if channels == 3 else noise.mean(dim=1, keepdim=True))


def stripes(images: Tensor, generator: Generator, *, sigma: Amount, vertical: Amount) -> Tensor:
    """Add N(0, sigma grey levels) to whole lines: rows, or columns with probability `vertical` for each image."""
    batch, channels, height, width = images.shape
    rows = torch.randn(batch, channels, height, 1, generator=generator, device=images.device)
    columns = torch.randn(batch, channels, 1, width, generator=generator, device=images.device)
    turned = torch.rand(batch, 1, 1, 1, generator=generator, device=images.device) < vertical
    return images + torch.where(turned, columns, rows) * (sigma * GREY)


def _white(images: Tensor, generator: Generator, margin: int) -> Tensor:
    """Standard normal numbers [B, C, H + 2 margin, W + 2 margin]."""
    batch, channels, height, width = images.shape
    shape = (batch, channels, height + 2 * margin, width + 2 * margin)
    return torch.randn(shape, generator=generator, device=images.device)


def _deviation(light: Tensor, sigma: Amount, gain: Amount) -> Tensor:
    """The standard deviation at each pixel, in units of the images."""
    variance = gain * GREY * light.clamp(0, 1) + (sigma * GREY) ** 2
    return variance.sqrt()
