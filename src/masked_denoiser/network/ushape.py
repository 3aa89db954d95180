"""A U-shaped denoiser: convolutions at the fine levels, masked window attention at the lowest.

Its attention blocks are those of the masked Swin denoiser (Chen et al., CVPR 2023); its shape is that
of U-Net (Ronneberger et al., MICCAI 2015) with additions in place of concatenations. The network
predicts a correction of its input, and the skip around it cannot be broken by masks: masked pixels
are first filled from their visible neighbours. Its last layer is zero at the start of a training, so
that training begins with the identity.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name)

from masked_denoiser.network.masks import MASKED_PIXEL, TokenMask
from masked_denoiser.network.swin import SwinGroup
from masked_denoiser.network.ushape_config import UConfig

#: Sides of the squares that masked pixels are filled from: the first that holds a visible pixel.
_FILL_SIDES = (3, 5, 9, 17)

#: Standard deviation of the noise from which on a correction is limited in units of it.
_LEAST_NOISE = 1e-6


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with a GELU between, beside a residual path."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, H, W] -> the same."""
        y: Tensor = self.conv2(F.gelu(self.conv1(x)))
        return x + y


class _Up(nn.Module):
    """To twice the height and width, by a 1x1 convolution and pixel shuffle: it sees nothing of its neighbours."""

    def __init__(self, width: int, finer: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 4 * finer, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


class MaskedU(nn.Module):
    """The denoiser: image in, image out, both in [0, 1].

    Args:
        config: what to build.
    """

    mean: Tensor

    def __init__(self, config: UConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or UConfig()
        widths, square = config.widths, config.unshuffle**2
        steps = list(pairwise(widths))
        # More channels than the image has: which pixels are visible, and the noise map.
        seen = config.channels + 1 + 2 * config.noise_map
        self.stem = nn.Conv2d(seen * square, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_blocks(w, n) for w, n in zip(widths, config.blocks, strict=True))
        self.smaller = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.attention = SwinGroup(config.bottom, config.heads, config.attention, 0)
        self.larger = nn.ModuleList(_Up(coarse, fine) for fine, coarse in steps)
        self.up = nn.ModuleList(_blocks(w, n) for w, n in zip(widths[:-1], config.blocks, strict=False))
        self.head = nn.Conv2d(widths[0], config.channels * square, 3, padding=1)
        self.register_buffer("mean", torch.tensor(config.mean).view(1, -1, 1, 1), persistent=False)
        self.apply(_initialise)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self, images: Tensor, tokens: TokenMask | None = None, noise: Tensor | None = None, *, masked: bool = True
    ) -> Tensor:
        """Denoise images.

        Args:
            images: [B, C, H, W] float; H and W multiples of `config.grid`.
            tokens: which tokens the attentions see; None for all of them.
            noise: [B, 2, H, W], for a network with a noise map: standard deviation of the noise at each pixel, in the
                units of the images, and 1 where it is known, else 0. None where it is known nowhere.
            masked: whether there may be masked pixels: those of `MASKED_PIXEL` in all channels, which are restored
                from the others. False saves the time to look for them.

        Returns:
            [B, C, H, W], not clipped.
        """
        visible = torch.ones_like(images[:, :1])
        if masked:
            visible = (images != MASKED_PIXEL).any(dim=1, keepdim=True).to(images)
        filled = fill_masked(images, visible) if masked else images
        seen = [(filled - self.mean) * visible, visible]
        if self.config.noise_map:
            noise = torch.zeros_like(images[:, :1]).expand(-1, 2, -1, -1) if noise is None else noise
            seen.append(noise.to(images))
        correction = self._correction(torch.cat(seen, dim=1), tokens)
        if self.config.limit and noise is not None:
            correction = _limited(correction, noise, visible, self.config.limit)
        return filled + correction

    def _correction(self, seen: Tensor, tokens: TokenMask | None) -> Tensor:
        """What is added to the image [B, C, H, W], from all input channels."""
        x = F.pixel_unshuffle(seen, self.config.unshuffle).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        finer = []
        for level, blocks in enumerate(self.down):
            x = blocks(x)
            if level < len(self.smaller):
                finer.append(x)
                x = self.smaller[level](x)
        x = self.attention(x.permute(0, 2, 3, 1).contiguous(), tokens).permute(0, 3, 1, 2)
        for level in reversed(range(len(self.up))):
            x = self.up[level](finer[level] + self.larger[level](x))
        return F.pixel_shuffle(self.head(x), self.config.unshuffle)


def _limited(correction: Tensor, noise: Tensor, visible: Tensor, limit: float) -> Tensor:
    """Corrections of at most `limit` standard deviations where the noise is known; none where there is no noise."""
    correction, noise = correction.float(), noise.float()
    most = limit * noise[:, :1].clamp(min=_LEAST_NOISE)
    known = (noise[:, 1:] > 0.5) & (visible > 0)
    return torch.where(known, most * torch.tanh(correction / most), correction)


def fill_masked(images: Tensor, visible: Tensor) -> Tensor:
    """Return images whose masked pixels have the mean of the visible ones around them.

    There is no branch that depends on the pixels, so that a GPU is never waited for and graphs can be compiled.

    Args:
        images: [B, C, H, W].
        visible: [B, 1, H, W], 1 where a pixel is visible, else 0.

    Returns:
        [B, C, H, W], the visible pixels as they were. A pixel with nothing visible for 8 pixels around
        it gets 0.5.
    """
    known, have = images * visible, visible
    filled = torch.full_like(images, 0.5)
    for side in reversed(_FILL_SIDES):
        near = _mean(have, side)
        mean = _mean(known, side) / near.clamp(min=1e-6)
        filled = torch.where(near > 0.5 / side**2, mean, filled)
    return torch.where(visible > 0, images, filled)


def _mean(images: Tensor, side: int) -> Tensor:
    """Means over squares [B, C, H, W], rows and columns one after the other; beyond the edges there are zeros."""
    rows = F.avg_pool2d(images, (1, side), 1, (0, side // 2))
    return F.avg_pool2d(rows, (side, 1), 1, (side // 2, 0))


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ConvBlock(width) for _ in range(count)))


def _initialise(module: nn.Module) -> None:
    """Linear layers as in Swin; convolutions keep torch's own initialisation."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
