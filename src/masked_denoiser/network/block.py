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

_Biases = tuple[Tensor, KeyBias | None]

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
    """Some windows of a block.

    Attributes:
        rows: which rows of `Windows.order` they are.
        keep: [n, w*w] bool, the tokens that are not masked; None for all.
        even: whether all of the windows keep the same number of tokens.
        cuts: [n, w*w, w*w], added to the logits; None for none.
    """

    rows: slice
    keep: Tensor | None
    even: bool
    cuts: Tensor | None


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

    def forward(self, x: Tensor, tokens: TokenMask | None) -> Tensor:
        """[B, H, W, embed] -> [B, H, W, embed]. Masked tokens are zero for attention, whole for the residual."""
        batch, height, width, embed = x.shape
        windows = find_windows((batch, height, width), self.window, self.shift, x.device)
        keep = self._keep(tokens, windows, (batch, height, width), x.device)
        flat = x.reshape(-1, embed)
        bias = self.attn.bias()
        biases = bias, KeyBias.make(bias) if keep is not None else None
        if torch.is_grad_enabled():
            ordered = permute(flat, windows.order, windows.back)
            outs = [self._run(ordered[part.rows], part, biases) for part in self._parts(windows, keep, windows.count)]
            out = permute(torch.cat(outs), windows.back, windows.order)
        else:
            done = torch.empty_like(flat, dtype=torch.float32)
            at_once = windows.count if x.is_cuda else _AT_ONCE
            for part in self._parts(windows, keep, at_once):
                done[part.rows] = self._run(flat.index_select(0, windows.order[part.rows]), part, biases)
            out = done.index_select(0, windows.back)
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
        """Whole windows first, then those that are cut."""
        cuts = cut_logits(self.window, self.shift, windows.order.device)
        for first, last in ((0, windows.whole), (windows.whole, windows.count)):
            for start in range(first, last, at_once):
                here = slice(start, min(start + at_once, last))
                chosen = None if keep is None else keep[here]
                cut = cuts[windows.cuts[start - first : here.stop - first]] if first == windows.whole else None
                even = chosen is not None and cut is None and not chosen.is_cuda and _few_and_even(chosen)
                yield _Part(slice(here.start * windows.area, here.stop * windows.area), chosen, even, cut)

    def _run(self, x: Tensor, part: _Part, biases: _Biases) -> Tensor:
        """[n * w*w, embed] -> [n * w*w, embed]."""
        x = x.float() + self._attend(x, part, biases)
        mlp: Tensor = self.mlp(self.norm2(x))
        return x + mlp

    def _attend(self, x: Tensor, part: _Part, biases: _Biases) -> Tensor:
        bias, by_key = biases
        if part.even and part.keep is not None and by_key is not None:
            rows = part.keep.flatten().nonzero().flatten()
            where = (rows % part.keep.shape[1]).view(len(part.keep), -1)
            return self.attn.attend_kept(self.norm1(pick(x, rows)), where, by_key)
        y = self.norm1(x)
        if part.keep is not None:
            y = y * part.keep.flatten()[:, None].to(y.dtype)
        attended: Tensor = self.attn(y, bias, part.cuts)
        return attended


def _few_and_even(keep: Tensor) -> bool:
    """Whether it pays to attend to the kept tokens only: at most half of them, the same number in every window."""
    counts = keep.sum(dim=1)
    first = int(counts[0])
    return 0 < 2 * first <= keep.shape[1] and bool((counts == first).all())
