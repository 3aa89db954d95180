"""Masked Swin denoiser, whose family includes the plain SwinIR denoisers.

Implemented from Chen et al., *Masked Image Training for Generalizable Deep Image Denoising* (CVPR 2023),
and Liang et al., *SwinIR* (ICCVW 2021). The tensors are named as in published SwinIR checkpoints, so that
weights can be imported and exported without a table of names.
"""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor, nn

from masked_denoiser.network.block import SwinBlock
from masked_denoiser.network.config import Residual, SwinConfig
from masked_denoiser.network.masks import TokenMask


class _Blocks(nn.Module):
    """Blocks of a group, in a separate module because published tensor names have this level."""

    def __init__(self, blocks: list[SwinBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, tokens: TokenMask | None) -> Tensor:
        for number, block in enumerate(self.blocks):
            x = block(x, tokens, number > 0)  # the input of the group is still needed, later ones are not
        return x


class SwinGroup(nn.Module):
    """Blocks and a convolution with a residual connection around both."""

    def __init__(self, config: SwinConfig, heads: int, depth: int, first: int) -> None:
        super().__init__()
        half = config.window // 2
        self.residual_group = _Blocks([SwinBlock(config, heads, first + i, half if i % 2 else 0) for i in range(depth)])
        self.conv = residual_conv(config.embed, config.residual)

    def forward(self, x: Tensor, tokens: TokenMask | None) -> Tensor:
        """Transform tokens, [B, H, W, embed] -> [B, H, W, embed]."""
        return x + _as_image(self.conv, self.residual_group(x, tokens))


class _TokenNorm(nn.Module):
    """Layer norm before the first group, in a separate module because published tensor names have this level."""

    def __init__(self, embed: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x)
        return out


class MaskedSwin(nn.Module):
    """Denoiser of images in [0, 1].

    Args:
        config: configuration; `PAPER` by default.
    """

    mean: Tensor

    def __init__(self, config: SwinConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SwinConfig()
        first_indices = accumulate((0, *config.depths[:-1]))
        groups = zip(config.heads, config.depths, first_indices, strict=True)
        kernel = config.first_kernel
        self.conv_first = nn.Conv2d(config.channels, config.embed, kernel, padding=kernel // 2)
        self.patch_embed = _TokenNorm(config.embed)
        self.layers = nn.ModuleList(SwinGroup(config, *group) for group in groups)
        self.norm = nn.LayerNorm(config.embed)
        self.conv_after_body = residual_conv(config.embed, config.residual)
        self.conv_last = nn.Conv2d(config.embed, config.channels, 3, padding=1)
        self.register_buffer("mean", torch.tensor(config.mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.apply(_initialise)

    def forward(self, images: Tensor, tokens: TokenMask | None = None) -> Tensor:
        """Denoise images.

        Args:
            images: [B, C, H, W] float; H and W multiples of `config.window`.
            tokens: mask of the tokens that attention sees; None for all.

        Returns:
            [B, C, H, W], not clipped.
        """
        x = images - self.mean
        first = self.conv_first(x).permute(0, 2, 3, 1).float().contiguous()  # residual sums stay in float32
        y = self.patch_embed(first)
        for group in self.layers:
            y = group(y, tokens)
        y = _as_image(self.conv_after_body, self.norm(y))
        y = first + y if self.config.body_skip else y
        out: Tensor = self.conv_last(y.permute(0, 3, 1, 2))
        return (x + out if self.config.global_skip else out) + self.mean


def residual_conv(embed: int, kind: Residual) -> nn.Module:
    """Return the convolution at the end of a group: one 3x3, or 3x3, 1x1, 3x3 with a quarter of the channels."""
    if kind == "1conv":
        return nn.Conv2d(embed, embed, 3, padding=1)
    return nn.Sequential(
        nn.Conv2d(embed, embed // 4, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(embed // 4, embed // 4, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(embed // 4, embed, 3, padding=1),
    )


def _as_image(conv: nn.Module, tokens: Tensor) -> Tensor:
    """Apply a convolution to tokens [B, H, W, C], as a channels-last view without a copy."""
    image: Tensor = conv(tokens.permute(0, 3, 1, 2))
    return image.permute(0, 2, 3, 1).contiguous()


def _initialise(module: nn.Module) -> None:
    """Initialise a module as Swin does: linear weights from a truncated normal of 0.02, zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
