"""Plain formulation of the paper's network, without optimisations, as the reference of the benchmarks.

It follows the papers and published implementations: each layer is one call over the whole image, windows are
partitioned and reversed by copies, and all attention matrices of a layer are in memory simultaneously. It shares the
weights of the network it is made from.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from masked_denoiser.network.block import SwinBlock
from masked_denoiser.network.masks import TokenMask


class PlainBlock(nn.Module):
    """Swin block in the plain formulation.

    Args:
        block: block whose layers are used.
    """

    def __init__(self, block: SwinBlock) -> None:
        super().__init__()
        self.index, self.shift, self.window = block.index, block.shift, block.window
        self.norm1, self.attn, self.norm2, self.mlp = block.norm1, block.attn, block.norm2, block.mlp
        self._masks: dict[tuple[int, int], Tensor] = {}

    def forward(self, x: Tensor, tokens: TokenMask | None, inplace: bool = False) -> Tensor:
        """Map [B, H, W, embed] to [B, H, W, embed]; `x` is never overwritten."""
        batch, height, width, _ = x.shape
        shortcut = x
        x = self.norm1(x)
        if tokens is not None:
            x = x * tokens.keep(self.index, self.shift, self.window, (batch, height, width)).to(x)
        shifted = x.roll((-self.shift, -self.shift), dims=(1, 2)) if self.shift else x
        windows = _partition(shifted, self.window)
        attended = self._attend(windows, self._mask(height, width, x.device) if self.shift else None)
        x = _reverse(attended, self.window, batch, height, width)
        x = x.roll((self.shift, self.shift), dims=(1, 2)) if self.shift else x
        x = shortcut + x
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def _attend(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        attn = self.attn
        count, area, embed = windows.shape
        qkv = attn.qkv(windows).reshape(count, area, 3, attn.heads, embed // attn.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0] * attn.scale, qkv[1], qkv[2]
        logits = q @ k.transpose(-2, -1) + attn.bias()[None]
        if mask is not None:
            by_image = logits.view(count // len(mask), len(mask), attn.heads, area, area) + mask[None, :, None]
            logits = by_image.view(count, attn.heads, area, area)
        out = logits.softmax(dim=-1).to(v.dtype) @ v
        projected: Tensor = attn.proj(out.transpose(1, 2).reshape(count, area, embed))
        return projected

    def _mask(self, height: int, width: int, device: torch.device) -> Tensor:
        """Return the attention mask [windows, w*w, w*w]: -100 between tokens from opposite sides of the image."""
        if (height, width) not in self._masks:
            spans = (slice(0, -self.window), slice(-self.window, -self.shift), slice(-self.shift, None))
            region = torch.zeros(1, height, width, 1, device=device)
            for i, rows in enumerate(spans):
                for j, columns in enumerate(spans):
                    region[:, rows, columns] = 3 * i + j
            number = _partition(region, self.window).squeeze(-1)
            different = number[:, :, None] != number[:, None, :]
            self._masks[height, width] = torch.zeros(different.shape, device=device).masked_fill(different, -100.0)
        return self._masks[height, width]


def to_plain(network: nn.Module) -> nn.Module:
    """Return a copy of a network with plain blocks.

    Args:
        network: a `MaskedSwin` or a `MaskedU`.
    """
    result = copy.deepcopy(network)
    for module in list(result.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SwinBlock):
                setattr(module, name, PlainBlock(child))
    return result


def _partition(x: Tensor, window: int) -> Tensor:
    """Split [B, H, W, C] into [windows, w*w, C]."""
    batch, height, width, channels = x.shape
    split = x.view(batch, height // window, window, width // window, window, channels)
    return split.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, window * window, channels)


def _reverse(windows: Tensor, window: int, batch: int, height: int, width: int) -> Tensor:
    """Invert `_partition`."""
    x = windows.view(batch, height // window, width // window, window, window, -1)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(batch, height, width, -1)
