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
        # One channel more than the image has: which pixels are visible.
        self.stem = nn.Conv2d((config.channels + 1) * square, widths[0], 3, padding=1)
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

    def forward(self, images: Tensor, tokens: TokenMask | None = None) -> Tensor:
        """Denoises images.

        Args:
            images: [B, C, H, W] float; H and W multiples of `config.grid`. Pixels of `MASKED_PIXEL` in all
                channels are restored from the others.
            tokens: which tokens the attentions see; None for all of them.

        Returns:
            [B, C, H, W], not clipped.
        """
        visible = (images != MASKED_PIXEL).any(dim=1, keepdim=True).to(images)
        filled = fill_masked(images, visible)
        x = torch.cat([(filled - self.mean) * visible, visible], dim=1)
        x = self.stem(F.pixel_unshuffle(x, self.config.unshuffle).contiguous(memory_format=torch.channels_last))
        finer = []
        for level, blocks in enumerate(self.down):
            x = blocks(x)
            if level < len(self.smaller):
                finer.append(x)
                x = self.smaller[level](x)
        x = self.attention(x.permute(0, 2, 3, 1).contiguous(), tokens).permute(0, 3, 1, 2)
        for level in reversed(range(len(self.up))):
            x = self.up[level](finer[level] + self.larger[level](x))
        correction: Tensor = F.pixel_shuffle(self.head(x), self.config.unshuffle)
        return filled + correction


def fill_masked(images: Tensor, visible: Tensor) -> Tensor:
    """Gives masked pixels the mean of the visible ones around them.

    Args:
        images: [B, C, H, W].
        visible: [B, 1, H, W], 1 where a pixel is visible, else 0.

    Returns:
        [B, C, H, W], the visible pixels as they were. A pixel with nothing visible for 8 pixels around
        it gets 0.5.
    """
    some = (visible == 0).flatten(1).any(dim=1)
    if not bool(some.any()):
        return images
    if not bool(some.all()):  # most patches of a general training have nothing to fill
        filled = images.clone()
        filled[some] = fill_masked(images[some], visible[some])
        return filled
    known, have = images * visible, visible
    filled = torch.full_like(images, 0.5)
    for side in reversed(_FILL_SIDES):
        near = F.avg_pool2d(have, side, 1, side // 2)
        mean = F.avg_pool2d(known, side, 1, side // 2) / near.clamp(min=1e-6)
        filled = torch.where(near > 0.5 / side**2, mean, filled)
    return torch.where(visible > 0, images, filled)


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ConvBlock(width) for _ in range(count)))


def _initialise(module: nn.Module) -> None:
    """Linear layers as in Swin; convolutions keep torch's own initialisation."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
