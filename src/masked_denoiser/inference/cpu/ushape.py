"""U-shaped denoiser for inference on CPUs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name)

from masked_denoiser.inference.cpu.kernels import PackedConv
from masked_denoiser.inference.cpu.swin import CpuSwinGroup
from masked_denoiser.network.masks import TokenMask
from masked_denoiser.network.ushape import ConvBlock, MaskedU


class CpuU:
    """U-shaped denoiser for inference; called as `MaskedU`, without masked pixels.

    Args:
        network: whose weights are copied.
        dtype: of convolutions and matrix products.
        side: of a typical tile in pixels.
    """

    def __init__(self, network: MaskedU, dtype: torch.dtype, side: int) -> None:
        self._network, self._dtype = network, dtype
        side //= network.config.unshuffle
        self._stem = _pack(network.stem, dtype, side)
        self._down = [_pack_blocks(blocks, dtype, side >> level) for level, blocks in enumerate(network.down)]
        self._smaller = [_pack(conv, dtype, side >> level) for level, conv in enumerate(network.smaller)]
        self._attention = CpuSwinGroup(network.attention, dtype, dtype, side >> len(self._smaller))
        self._larger = [_pack(up.conv, dtype, side >> (level + 1)) for level, up in enumerate(network.larger)]
        self._up = [_pack_blocks(blocks, dtype, side >> level) for level, blocks in enumerate(network.up)]
        self._head = _pack(network.head, dtype, side)

    def __call__(
        self, images: Tensor, tokens: TokenMask | None = None, noise: Tensor | None = None, *, masked: bool = False
    ) -> Tensor:
        """Denoise images [B, C, H, W] float32, as `MaskedU.forward`.

        Raises:
            ValueError: if there may be masked pixels.
        """
        if masked:
            raise ValueError("masked pixels are only restored by the network that is trained")
        visible = torch.ones_like(images[:, :1])
        return self._network.denoise(images, visible, noise, lambda inputs: self._correction(inputs, tokens))

    def _correction(self, inputs: Tensor, tokens: TokenMask | None) -> Tensor:
        unshuffle = self._network.config.unshuffle
        x = F.pixel_unshuffle(inputs.to(self._dtype), unshuffle).contiguous(memory_format=torch.channels_last)
        x = self._stem(x)
        skips = []
        for level, blocks in enumerate(self._down):
            x = _run_blocks(blocks, x)
            if level < len(self._smaller):
                skips.append(x)
                x = self._smaller[level](x)
        x = self._attention(x, tokens)
        for level in reversed(range(len(self._up))):
            x = _run_blocks(self._up[level], F.pixel_shuffle(self._larger[level](x), 2).add_(skips[level]))
        return F.pixel_shuffle(self._head(x), unshuffle)


def _pack(conv: Tensor | nn.Module, dtype: torch.dtype, side: int) -> PackedConv:
    assert isinstance(conv, nn.Conv2d)
    return PackedConv(conv, dtype, (1, conv.in_channels, side, side))


def _pack_blocks(blocks: nn.Module, dtype: torch.dtype, side: int) -> list[tuple[PackedConv, PackedConv]]:
    convs = [block for block in blocks.children() if isinstance(block, ConvBlock)]
    return [(_pack(block.conv1, dtype, side), _pack(block.conv2, dtype, side)) for block in convs]


def _run_blocks(blocks: list[tuple[PackedConv, PackedConv]], x: Tensor) -> Tensor:
    for first, second in blocks:
        x = second.add(first.gelu(x), x)
    return x
