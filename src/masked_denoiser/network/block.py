"""A block of the masked Swin denoiser: window attention and MLP, each behind a layer norm and beside a residual path.

A block runs window by window. Without gradients it takes a few windows at a time through all of its layers, so that
what lies between them stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from masked_denoiser.network.attention import KeyBias, WindowAttention
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.masks import TokenMask
from masked_denoiser.network.windows import Windows, cut_logits, find_windows, permute, pick

#: Windows at a time on a CPU, without gradients.
_AT_ONCE = 64


class Mlp(nn.Module):
    """Two linear layers with a GELU between, on [..., embed]."""

    def __init__(self, embed: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed, hidden)
        self.fc2 = nn.Linear(hidden, embed)

    def forward(self, x: Tensor) -> Tensor:
        """[..., embed] -> [..., embed]."""
        out: Tensor = self.fc2(nn.functional.gelu(self.fc1(x)))
        return out


@dataclass(frozen=True, eq=False)
class _Part:
    """Some windows of a block, all whole or all cut in the same way.

    Attributes:
        rows: which rows of `Windows.order` they are.
        keep: [n, w*w] bool, the tokens that are not masked; None for all.
        bias: [heads, w*w, w*w], added to the logits.
        by_key: the same for `attend_kept`; None without masks.
    """

    rows: slice
    keep: Tensor | None
    bias: Tensor
    by_key: KeyBias | None


class SwinBlock(nn.Module):
    """Window attention and MLP, each behind a layer norm and beside a residual path.

    Args:
        config: the network's configuration.
        heads: attention heads of this block.
        index: the block's number in the whole network, which keys its attention mask.
        shift: how far its windows are shifted, in pixels.
    """

    def __init__(self, config: SwinConfig, heads: int, index: int, shift: int) -> None:
        super().__init__()
        self.index, self.shift, self.window = index, shift, config.window
        self.norm1 = nn.LayerNorm(config.embed)
        self.attn = WindowAttention(config.embed, heads, config.window, config.qkv_bias)
        self.norm2 = nn.LayerNorm(config.embed)
        self.mlp = Mlp(config.embed, int(config.embed * config.mlp_ratio))

    def forward(self, x: Tensor, tokens: TokenMask | None, spent: bool = False) -> Tensor:
        """[B, H, W, embed] -> [B, H, W, embed]. Masked tokens are zero for attention, whole for the residual.

        Args:
            x: the tokens of images.
            tokens: which of them attention sees; None for all.
            spent: whether x, float32, may be overwritten with the result where no gradient needs it: large images are
                a noticeable time in the making.
        """
        batch, height, width, embed = x.shape
        windows = find_windows((batch, height, width), self.window, self.shift, x.device)
        keep = self._keep(tokens, windows, (batch, height, width), x.device)
        flat = x.reshape(-1, embed)
        if torch.is_grad_enabled():
            ordered = permute(flat, windows.order, windows.back)
            outs = [self._run(ordered[part.rows], part) for part in self._parts(windows, keep, windows.count)]
            out = permute(torch.cat(outs), windows.back, windows.order)
        else:
            out = flat if spent else torch.empty_like(flat, dtype=torch.float32)
            at_once = _AT_ONCE if x.device.type == "cpu" else windows.count
            for part in self._parts(windows, keep, at_once):
                rows = windows.order[part.rows].long()  # no other window has any of them
                out.index_copy_(0, rows, self._run(flat.index_select(0, rows), part))
        return out.view(x.shape)

    def _keep(
        self, tokens: TokenMask | None, windows: Windows, shape: tuple[int, int, int], device: torch.device
    ) -> Tensor | None:
        """[windows, w*w] bool, in the order of the windows."""
        if tokens is None:
            return None
        keep = tokens.keep(self.index, self.shift, self.window, shape).to(device) > 0
        return keep.expand(*shape, 1).flatten().index_select(0, windows.order).view(windows.count, windows.area)

    def _parts(self, windows: Windows, keep: Tensor | None, at_once: int) -> Iterator[_Part]:
        """Whole windows first, then those that are cut, by how they are."""
        bias, cuts = self.attn.bias(), cut_logits(self.window, self.shift, windows.order.device)
        first = 0
        for count, cut in zip(windows.cuts, (None, *cuts), strict=True):
            here = bias if cut is None else bias + cut
            by_key = KeyBias.make(here) if keep is not None and count else None
            for start in range(first, first + count, at_once):
                end = min(start + at_once, first + count)
                chosen = None if keep is None else keep[start:end]
                yield _Part(slice(start * windows.area, end * windows.area), chosen, here, by_key)
            first += count

    def _run(self, x: Tensor, part: _Part) -> Tensor:
        """[n * w*w, embed] -> [n * w*w, embed]."""
        x = x.float() + self._attend(x, part)
        mlp: Tensor = self.mlp(self.norm2(x))
        return x + mlp

    def _attend(self, x: Tensor, part: _Part) -> Tensor:
        if part.keep is None:
            return self._attend_all(self.norm1(x), part)
        where = _few(part.keep) if x.device.type == "cpu" else None
        if where is None or part.by_key is None:
            return self._attend_all(_masked(self.norm1(x), part.keep), part)
        rows = (where + part.keep.shape[1] * torch.arange(len(where), device=x.device)[:, None]).flatten()
        kept = _masked(self.norm1(pick(x, rows)), part.keep.gather(1, where))
        return self.attn.attend_kept(kept, where, part.by_key)

    def _attend_all(self, y: Tensor, part: _Part) -> Tensor:
        attended: Tensor = self.attn(y, part.bias)
        return attended


def _masked(tokens: Tensor, keep: Tensor) -> Tensor:
    if tokens.device.type == "cpu" and bool(keep.all()):  # a GPU would have to be waited for
        return tokens
    return tokens * keep.flatten()[:, None].to(tokens.dtype)


def _few(keep: Tensor) -> Tensor | None:
    """Places [n, k] of all kept tokens of each window, beside masked ones where others keep more: k is at most half.

    None if some window keeps more.
    """
    counts = keep.sum(dim=1)
    most = max(1, int(counts.max()))
    if 2 * most > keep.shape[1]:
        return None
    if int(counts.min()) == most:
        return keep.nonzero()[:, 1].view(-1, most)
    return keep.int().topk(most, sorted=False).indices
