"""U-shaped denoiser: convolutions at the fine levels, masked window attention at the lowest.

The attention blocks are those of the masked Swin denoiser (Chen et al., CVPR 2023); the shape is that of
U-Net (Ronneberger et al., MICCAI 2015) with additions in place of concatenations. The network predicts a
correction of its input, in which masked pixels are first filled from their visible neighbours, so that the
global skip is valid everywhere. The last layer is initialised to zero, so that training starts from the
identity.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name)

from masked_denoiser.network.masks import MASKED_PIXEL, TokenMask
from masked_denoiser.network.swin import SwinGroup
from masked_denoiser.network.ushape_config import UConfig

#: Sides of the squares from which masked pixels are filled; the smallest with a visible pixel is used.
_FILL_SIDES = (3, 5, 9, 17)

#: Lower limit of the standard deviation of the noise in the limit of corrections.
_MIN_NOISE = 1e-6


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with a GELU between them and a residual connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Transform features, [B, width, H, W] -> [B, width, H, W]."""
        y: Tensor = self.conv2(F.gelu(self.conv1(x)))
        return x + y


class _Up(nn.Module):
    """Upsampling by 2 with a 1x1 convolution and pixel shuffle, which does not extend the receptive field."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 4 * out_width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


class MaskedU(nn.Module):
    """Denoiser of images in [0, 1].

    Args:
        config: configuration; the defaults of `UConfig` by default.
    """

    mean: Tensor

    def __init__(self, config: UConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or UConfig()
        widths, unshuffle_area = config.widths, config.unshuffle**2
        steps = list(pairwise(widths))
        # Additional channels: the visible pixels, and the two of the noise map.
        input_channels = config.channels + 1 + 2 * config.noise_map
        self.stem = nn.Conv2d(input_channels * unshuffle_area, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_conv_blocks(w, n) for w, n in zip(widths, config.blocks, strict=True))
        self.smaller = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.attention = SwinGroup(config.bottom, config.heads, config.attention, 0)
        self.larger = nn.ModuleList(_Up(coarse, fine) for fine, coarse in steps)
        self.up = nn.ModuleList(_conv_blocks(w, n) for w, n in zip(widths[:-1], config.blocks, strict=False))
        self.head = nn.Conv2d(widths[0], config.channels * unshuffle_area, 3, padding=1)
        self.register_buffer("mean", torch.tensor(config.mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
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
            tokens: mask of the tokens that attention sees; None for all.
            noise: [B, 2, H, W], for a network with a noise map: standard deviation of the noise at each pixel, in the
                units of the images, and 1 where it is known, else 0. None if it is not known anywhere.
            masked: whether there may be masked pixels, with `MASKED_PIXEL` in all channels, which are restored
                from the others. False saves the search for them.

        Returns:
            [B, C, H, W], not clipped.
        """
        visible = torch.ones_like(images[:, :1])
        if masked:
            visible = (images != MASKED_PIXEL).any(dim=1, keepdim=True).to(images)
            images = fill_masked(images, visible)
        return self.denoise(images, visible, noise, lambda inputs: self._correction(inputs, tokens))

    def denoise(
        self, images: Tensor, visible: Tensor, noise: Tensor | None, correction_of: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Denoise images whose masked pixels are filled.

        Args:
            images: [B, C, H, W].
            visible: [B, 1, H, W], 1 for pixels that were not masked, else 0.
            noise: as in `forward`.
            correction_of: returns the correction of the image [B, C, H, W] from all input channels.

        Returns:
            [B, C, H, W] float32, not clipped.
        """
        inputs = [(images - self.mean) * visible, visible]
        if self.config.noise_map:
            noise = torch.zeros_like(images[:, :1]).expand(-1, 2, -1, -1) if noise is None else noise
            inputs.append(noise.to(images))
        correction = correction_of(torch.cat(inputs, dim=1))
        if self.config.limit and noise is not None:
            correction = _soft_limited(correction, noise, visible, self.config.limit)
        return images + correction

    def _correction(self, inputs: Tensor, tokens: TokenMask | None) -> Tensor:
        """Return the correction of the image [B, C, H, W], from all input channels."""
        x = F.pixel_unshuffle(inputs, self.config.unshuffle).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        skips = []
        for level, blocks in enumerate(self.down):
            x = blocks(x)
            if level < len(self.smaller):
                skips.append(x)
                x = self.smaller[level](x)
        x = self.attention(x.permute(0, 2, 3, 1).contiguous(), tokens).permute(0, 3, 1, 2)
        for level in reversed(range(len(self.up))):
            x = self.up[level](skips[level] + self.larger[level](x))
        return F.pixel_shuffle(self.head(x), self.config.unshuffle)


def _soft_limited(correction: Tensor, noise: Tensor, visible: Tensor, limit: float) -> Tensor:
    """Return corrections limited softly to `limit` standard deviations where the noise is known."""
    correction, noise = correction.float(), noise.float()
    largest = limit * noise[:, :1].clamp(min=_MIN_NOISE)
    is_known = (noise[:, 1:] > 0.5) & (visible > 0)
    return torch.where(is_known, largest * torch.tanh(correction / largest), correction)


def fill_masked(images: Tensor, visible: Tensor) -> Tensor:
    """Return images whose masked pixels are replaced by the mean of nearby visible ones.

    No branch depends on the pixels, so that GPUs are not synchronized and graphs can be compiled.

    Args:
        images: [B, C, H, W].
        visible: [B, 1, H, W], 1 where a pixel is visible, else 0.

    Returns:
        [B, C, H, W] with unchanged visible pixels. A pixel without a visible one within 8 pixels becomes 0.5.
    """
    visible_images = images * visible
    filled = torch.full_like(images, 0.5)
    for side in reversed(_FILL_SIDES):
        visible_share = _box_mean(visible, side)
        mean = _box_mean(visible_images, side) / visible_share.clamp(min=1e-6)
        filled = torch.where(visible_share > 0.5 / side**2, mean, filled)
    return torch.where(visible > 0, images, filled)


def _box_mean(images: Tensor, side: int) -> Tensor:
    """Return means over squares, [B, C, H, W], computed separably with zeros beyond the edges."""
    rows = F.avg_pool2d(images, (1, side), 1, (0, side // 2))
    return F.avg_pool2d(rows, (side, 1), 1, (side // 2, 0))


def _conv_blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ConvBlock(width) for _ in range(count)))


def _initialise(module: nn.Module) -> None:
    """Initialise linear layers as in Swin; convolutions keep torch's initialisation."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
