"""The plain formulation of the paper's network: what is left when nothing is done for speed.

As the papers write it and as published implementations run it: every layer one call over the whole image, windows cut
and put back by copies, and every attention matrix of a layer in memory at once. It has the weights of the network it
is made from and is what benchmarks compare with.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from masked_denoiser.network.block import SwinBlock
from masked_denoiser.network.masks import TokenMask


class PlainBlock(nn.Module):
    """A `SwinBlock` by its formula.

    Args:
        block: whose layers it has.
    """

    def __init__(self, block: SwinBlock) -> None:
        super().__init__()
        self.index, self.shift, self.window = block.index, block.shift, block.window
        self.norm1, self.attn, self.norm2, self.mlp = block.norm1, block.attn, block.norm2, block.mlp
        self._cuts: dict[tuple[int, int], Tensor] = {}

    def forward(self, x: Tensor, tokens: TokenMask | None, spent: bool = False) -> Tensor:
        """[B, H, W, embed] -> [B, H, W, embed]; `x` is never overwritten."""
        batch, height, width, _ = x.shape
        shortcut = x
        x = self.norm1(x)
        if tokens is not None:
            x = x * tokens.keep(self.index, self.shift, self.window, (batch, height, width)).to(x)
        shifted = x.roll((-self.shift, -self.shift), dims=(1, 2)) if self.shift else x
        windows = _partition(shifted, self.window)
        attended = self._attend(windows, self._cut(height, width, x.device) if self.shift else None)
        x = _reverse(attended, self.window, batch, height, width)
        x = x.roll((self.shift, self.shift), dims=(1, 2)) if self.shift else x
        x = shortcut + x
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def _attend(self, windows: Tensor, cuts: Tensor | None) -> Tensor:
        attn = self.attn
        count, area, embed = windows.shape
        qkv = attn.qkv(windows).reshape(count, area, 3, attn.heads, embed // attn.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0] * attn.scale, qkv[1], qkv[2]
        logits = q @ k.transpose(-2, -1) + attn.bias()[None]
        if cuts is not None:
            of_image = logits.view(count // len(cuts), len(cuts), attn.heads, area, area) + cuts[None, :, None]
            logits = of_image.view(count, attn.heads, area, area)
        out = logits.softmax(dim=-1).to(v.dtype) @ v
        projected: Tensor = attn.proj(out.transpose(1, 2).reshape(count, area, embed))
        return projected

    def _cut(self, height: int, width: int, device: torch.device) -> Tensor:
        """[windows, w*w, w*w]: -100 between tokens of a window that come from different sides of the image."""
        if (height, width) not in self._cuts:
            ends = (slice(0, -self.window), slice(-self.window, -self.shift), slice(-self.shift, None))
            side = torch.zeros(1, height, width, 1, device=device)
            for i, rows in enumerate(ends):
                for j, columns in enumerate(ends):
                    side[:, rows, columns] = 3 * i + j
            number = _partition(side, self.window).squeeze(-1)
            apart = number[:, :, None] != number[:, None, :]
            self._cuts[height, width] = torch.zeros(apart.shape, device=device).masked_fill(apart, -100.0)
        return self._cuts[height, width]


def plain(network: nn.Module) -> nn.Module:
    """A copy of a network whose blocks are plain.

    Args:
        network: a `MaskedSwin`, or a `MaskedU`.
    """
    twin = copy.deepcopy(network)
    for module in list(twin.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SwinBlock):
                setattr(module, name, PlainBlock(child))
    return twin


def _partition(x: Tensor, window: int) -> Tensor:
    """[B, H, W, C] -> [windows, w*w, C]."""
    batch, height, width, channels = x.shape
    cut = x.view(batch, height // window, window, width // window, window, channels)
    return cut.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, window * window, channels)


def _reverse(windows: Tensor, window: int, batch: int, height: int, width: int) -> Tensor:
    """Inverse of `_partition`."""
    x = windows.view(batch, height // window, width // window, window, window, -1)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(batch, height, width, -1)
