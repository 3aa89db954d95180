"""Noise map of training patches: the local strength of the added noise, with the error of a noise measurement."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name)

#: Side in pixels of the squares over which the noise is averaged; at inference the map follows the mean over as many.
_SIDE = 33
#: Standard deviation of the logarithm of the relative error of a noise measurement.
_LOG_ERROR = 0.15
#: Share of the patches whose noise is unknown.
_UNKNOWN_SHARE = 1 / 6


def exact_noise_map(noisy: Tensor, clean: Tensor) -> Tensor:
    """Return the local standard deviation of the noise, and 1 for "known": [B, 2, H, W].

    Args:
        noisy, clean: [B, C, H, W] in [0, 1], without masked pixels.
    """
    square = (noisy - clean).square().mean(dim=1, keepdim=True)
    margin = min(_SIDE // 2, min(square.shape[-2:]) - 1)
    padded = F.pad(square, (margin,) * 4, mode="reflect")
    mean = F.avg_pool2d(F.avg_pool2d(padded, (1, 2 * margin + 1), 1), (2 * margin + 1, 1), 1)
    return torch.cat([mean.sqrt(), torch.ones_like(mean)], dim=1)


def training_noise_map(noisy: Tensor, clean: Tensor, generator: Generator) -> Tensor:
    """Return the noise map with the errors of a measurement, and all zero ("unknown") for some of the patches.

    Args:
        noisy, clean: [B, C, H, W] in [0, 1], without masked pixels.
        generator: on their device.
    """
    deviation, known = torch.split(exact_noise_map(noisy, clean), 1, dim=1)
    count, device = len(noisy), noisy.device
    error = torch.exp(_LOG_ERROR * torch.randn(count, 1, 1, 1, generator=generator, device=device))
    known = known * (torch.rand(count, 1, 1, 1, generator=generator, device=device) >= _UNKNOWN_SHARE)
    return torch.cat([deviation * error * known, known], dim=1)
