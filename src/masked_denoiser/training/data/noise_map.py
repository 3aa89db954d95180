"""The noise map of training patches: how strong the added noise is, as well as a measurement knows it."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name)

#: Side of the squares over which the strength of noise is taken; at inference it follows the mean over as many pixels.
_SIDE = 33
#: Standard deviation of the error of a measurement, as a logarithm.
_ERROR = 0.15
#: Share of the patches whose noise is not known.
_UNKNOWN = 1 / 6


def exact_noise_map(noisy: Tensor, clean: Tensor) -> Tensor:
    """Return the local standard deviation of the noise, and 1 for "known": [B, 2, H, W].

    Args:
        noisy, clean: [B, C, H, W] in [0, 1]; no pixel is masked.
    """
    square = (noisy - clean).square().mean(dim=1, keepdim=True)
    margin = min(_SIDE // 2, min(square.shape[-2:]) - 1)
    padded = F.pad(square, (margin,) * 4, mode="reflect")
    mean = F.avg_pool2d(F.avg_pool2d(padded, (1, 2 * margin + 1), 1), (2 * margin + 1, 1), 1)
    return torch.cat([mean.sqrt(), torch.ones_like(mean)], dim=1)


def training_noise_map(noisy: Tensor, clean: Tensor, generator: Generator) -> Tensor:
    """Return the noise map with errors as those of a measurement, and unknown (all zero) for some of the patches.

    Args:
        noisy, clean: [B, C, H, W] in [0, 1]; no pixel is masked.
        generator: on their device.
    """
    deviation, known = torch.split(exact_noise_map(noisy, clean), 1, dim=1)
    count, device = len(noisy), noisy.device
    error = torch.exp(_ERROR * torch.randn(count, 1, 1, 1, generator=generator, device=device))
    known = known * (torch.rand(count, 1, 1, 1, generator=generator, device=device) >= _UNKNOWN)
    return torch.cat([deviation * error * known, known], dim=1)
