"""Noise that is correlated between pixels: blur, colour sensors, tomography, stripes; see `pixelwise`."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name)

from masked_denoiser.noise.synthetic.pixelwise import GREY_LEVEL, Amount, constant_tensor

#: Radius of Gaussian kernels in pixels, for the widest blur of a recipe.
_RADIUS = 6

#: Bilinear interpolation of the green pixels of a Bayer sensor, and of the red and blue ones.
_GREEN = ((0.0, 0.25, 0.0), (0.25, 1.0, 0.25), (0.0, 0.25, 0.0))
_RED_BLUE = ((0.25, 0.5, 0.25), (0.5, 1.0, 0.5), (0.25, 0.5, 0.25))


def correlated(images: Tensor, generator: Generator, *, sigma: Amount) -> Tensor:
    """Add the 3 x 3 box mean of white noise N(0, sigma grey levels), which has a standard deviation of sigma / 3."""
    white = _white_noise(images, generator, margin=1)
    mean: Tensor = F.avg_pool2d(white, 3, stride=1)
    return images + mean * (sigma * GREY_LEVEL)


def blurred(images: Tensor, generator: Generator, *, sigma: Amount, gain: Amount, width: Amount) -> Tensor:
    """Add white noise after a Gaussian blur, as from smoothing in a camera or in software.

    Args:
        images, generator: see `pixelwise`.
        sigma: standard deviation after the blur at black, in grey levels.
        gain: growth of the variance with intensity: sigma^2 + gain x, with x in grey levels.
        width: standard deviation of the Gaussian in pixels.
    """
    batch, channels, height, _ = images.shape
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, device=images.device, dtype=torch.float32)
    widths = torch.as_tensor(width, dtype=torch.float32, device=images.device).reshape(-1, 1).expand(batch, 1)
    kernel = torch.exp(-0.5 * (offsets / widths) ** 2)
    kernel = kernel / kernel.square().sum(1, keepdim=True).sqrt()  # unit norm in each direction preserves the variance
    kernel = kernel.repeat_interleave(channels, 0)
    white = _white_noise(images, generator, margin=_RADIUS).view(1, batch * channels, height + 2 * _RADIUS, -1)
    rows = F.conv2d(white, kernel.view(batch * channels, 1, 1, -1), groups=batch * channels)
    blurred_noise = F.conv2d(rows, kernel.view(batch * channels, 1, -1, 1), groups=batch * channels)
    return images + blurred_noise.view(images.shape) * _pixel_sigma(images, sigma, gain)


def bayer(images: Tensor, generator: Generator, *, sigma: Amount, gain: Amount, phase: Tensor | None = None) -> Tensor:
    """Add the noise of a colour sensor: white noise of each red, green or blue pixel, interpolated bilinearly.

    Gray images get the mean of the three colours.

    Args:
        images, generator: see `pixelwise`; 1 or 3 channels.
        sigma: standard deviation of the pixels of the sensor at black, in grey levels.
        gain: growth of the variance with intensity, as in `blurred`.
        phase: [B, 2] int64, row and column at which the pattern of each image begins; 0 by default.
    """
    batch, channels, height, width = images.shape
    white = torch.randn(batch, 1, height + 2, width + 2, generator=generator, device=images.device)
    first_row, first_column = (0, 0) if phase is None else phase.T[..., None, None, None]
    rows = (torch.arange(height + 2, device=images.device).view(1, 1, -1, 1) + first_row) % 2
    columns = (torch.arange(width + 2, device=images.device).view(1, 1, 1, -1) + first_column) % 2
    sites = torch.cat([rows + columns == colour for colour in range(3)], dim=1).float()
    colours = images if channels == 3 else images.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    intensity = F.pad(colours, (1, 1, 1, 1), mode="replicate")
    sampled = white * sites * _pixel_sigma(intensity, sigma, gain)
    kernel = torch.stack([constant_tensor(k, images.device) for k in (_RED_BLUE, _GREEN, _RED_BLUE)])[:, None]
    noise = F.conv2d(sampled, kernel, groups=3)
    return images + (noise if channels == 3 else noise.mean(dim=1, keepdim=True))


def reconstruction(images: Tensor, generator: Generator, *, sigma: Amount, cutoff: Amount, streaks: Amount) -> Tensor:
    """Add the noise of filtered back-projection in computed tomography, the same at all intensities.

    Its power grows with the frequency f up to the window of the reconstruction filter: |f| Hann(f / cutoff)^2
    (Riederer, Pelc and Chesler, Phys. Med. Biol. 1978). Where rays in one direction meet much bone or metal, their
    noise is stronger and forms streaks; its direction is random for each image.

    Args:
        images, generator: see `pixelwise`.
        sigma: standard deviation in grey levels.
        cutoff: frequency at which the Hann window ends, in units of the Nyquist frequency.
        streaks: amplitude of the noise across the direction of the streaks, in excess of that along it: 0 for none.
    """
    batch, _, height, width = images.shape
    rows = torch.fft.fftfreq(height, device=images.device).view(1, 1, -1, 1)
    columns = torch.fft.fftfreq(width, device=images.device).view(1, 1, 1, -1)
    frequency = torch.hypot(rows, columns)
    across = torch.rand(batch, 1, 1, 1, generator=generator, device=images.device) * math.pi
    squared_cosine = torch.cos(torch.atan2(rows, columns) - across).square()
    window = torch.cos((math.pi * frequency / cutoff).clamp(max=math.pi / 2)).square()
    amplitude = frequency.sqrt() * window * (1 + streaks * squared_cosine**8)
    power = amplitude.square().mean((-2, -1), keepdim=True).clamp(min=1e-12)  # 0 in an image of one pixel
    amplitude = amplitude / power.sqrt()
    noise: Tensor = torch.fft.ifft2(torch.fft.fft2(_white_noise(images, generator, margin=0)) * amplitude).real
    return images + noise * (sigma * GREY_LEVEL)


def stripes(images: Tensor, generator: Generator, *, sigma: Amount, vertical: Amount) -> Tensor:
    """Add N(0, sigma grey levels) to whole rows, or to whole columns with probability `vertical` for each image."""
    batch, channels, height, width = images.shape
    rows = torch.randn(batch, channels, height, 1, generator=generator, device=images.device)
    columns = torch.randn(batch, channels, 1, width, generator=generator, device=images.device)
    is_vertical = torch.rand(batch, 1, 1, 1, generator=generator, device=images.device) < vertical
    return images + torch.where(is_vertical, columns, rows) * (sigma * GREY_LEVEL)


def _white_noise(images: Tensor, generator: Generator, margin: int) -> Tensor:
    """Draw standard normal numbers, [B, C, H + 2 margin, W + 2 margin]."""
    batch, channels, height, width = images.shape
    shape = (batch, channels, height + 2 * margin, width + 2 * margin)
    return torch.randn(shape, generator=generator, device=images.device)


def _pixel_sigma(intensity: Tensor, sigma: Amount, gain: Amount) -> Tensor:
    """Return the standard deviation at each pixel, in units of the images."""
    variance = gain * GREY_LEVEL * intensity.clamp(0, 1) + (sigma * GREY_LEVEL) ** 2
    return variance.sqrt()
