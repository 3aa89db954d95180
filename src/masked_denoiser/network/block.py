"""Block of the masked Swin denoiser: window attention and MLP, each with a layer norm and a residual connection.

Without gradients, a CPU runs batches of windows through all layers of a block, so that intermediate results stay in
its cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from masked_denoiser.network.attention import KeyBias, WindowAttention
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.masks import TokenMask
from masked_denoiser.network.windows import Windows, make_windows, permute_rows, select_rows, wrap_masks

#: Windows per batch on a CPU, without gradients.
_CPU_WINDOWS = 64
#: Types of devices that write rows at given positions of a tensor; MPS does so in some versions of torch only.
_SCATTERING_DEVICES = ("cpu", "cuda")


class Mlp(nn.Module):
    """Two linear layers with a GELU between them, on [..., embed]."""

    def __init__(self, embed: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed, hidden)
        self.fc2 = nn.Linear(hidden, embed)

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens, [..., embed] -> [..., embed]."""
        out: Tensor = self.fc2(nn.functional.gelu(self.fc1(x)))
        return out


@dataclass(frozen=True, eq=False)
class _WindowBatch:
    """Windows of a block that wrap around the image in the same way, or not at all.

    Attributes:
        rows: their range in `Windows.order`.
        keep: [n, w*w] bool, true for tokens that are not masked; None for all.
        bias: [heads, w*w, w*w], added to the logits.
        key_bias: the bias prepared for `attend_kept`; None without masks.
    """

    rows: slice
    keep: Tensor | None
    bias: Tensor
    key_bias: KeyBias | None


class SwinBlock(nn.Module):
    """Window attention and MLP, each with a layer norm and a residual connection.

    Args:
        config: configuration of the network.
        heads: attention heads of this block.
        index: number of the block in the whole network, a key of its attention mask.
        shift: shift of its windows in tokens.
    """

    def __init__(self, config: SwinConfig, heads: int, index: int, shift: int) -> None:
        super().__init__()
        self.index, self.shift, self.window = index, shift, config.window
        self.norm1 = nn.LayerNorm(config.embed)
        self.attn = WindowAttention(config.embed, heads, config.window, config.qkv_bias)
        self.norm2 = nn.LayerNorm(config.embed)
        self.mlp = Mlp(config.embed, int(config.embed * config.mlp_ratio))

    def forward(self, x: Tensor, tokens: TokenMask | None, inplace: bool = False) -> Tensor:
        """Transform tokens, [B, H, W, embed] -> [B, H, W, embed].

        Args:
            x: tokens of images. Masked ones are zero for attention, but unchanged in the residual connection.
            tokens: mask of the tokens that attention sees; None for all.
            inplace: whether x, float32, may be overwritten with the result if no gradient needs it, which saves the
                allocation of large images.
        """
        batch, height, width, embed = x.shape
        windows = make_windows((batch, height, width), self.window, self.shift, x.device)
        keep = self._window_keep(tokens, windows, (batch, height, width), x.device)
        flat = x.reshape(-1, embed)
        if torch.is_grad_enabled():
            ordered = permute_rows(flat, windows.order, windows.inverse)
            outs = [self._run_batch(ordered[part.rows], part) for part in self._batches(windows, keep, windows.count)]
            out = permute_rows(torch.cat(outs), windows.inverse, windows.order)
        elif x.device.type not in _SCATTERING_DEVICES:
            parts = self._batches(windows, keep, windows.count)
            outs = [self._run_batch(flat.index_select(0, windows.order[part.rows]), part) for part in parts]
            out = torch.cat(outs).index_select(0, windows.inverse)
        else:
            out = flat if inplace else torch.empty_like(flat, dtype=torch.float32)
            batch_size = _CPU_WINDOWS if x.device.type == "cpu" else windows.count
            for part in self._batches(windows, keep, batch_size):
                rows = windows.order[part.rows].long()  # no row is in two windows
                out.index_copy_(0, rows, self._run_batch(flat.index_select(0, rows), part))
        return out.view(x.shape)

    def _window_keep(
        self, tokens: TokenMask | None, windows: Windows, shape: tuple[int, int, int], device: torch.device
    ) -> Tensor | None:
        """Return the kept tokens, [windows, w*w] bool, in the order of the windows."""
        if tokens is None:
            return None
        keep = tokens.keep(self.index, self.shift, self.window, shape).to(device) > 0
        return keep.expand(*shape, 1).flatten().index_select(0, windows.order).view(windows.count, windows.area)

    def _batches(self, windows: Windows, keep: Tensor | None, batch_size: int) -> Iterator[_WindowBatch]:
        """Yield batches of windows that do not wrap, then of those that do, by kind."""
        bias, masks = self.attn.bias(), wrap_masks(self.window, self.shift, windows.order.device)
        first = 0
        for count, wrap_mask in zip(windows.kind_counts, (None, *masks), strict=True):
            kind_bias = bias if wrap_mask is None else bias + wrap_mask
            key_bias = KeyBias.from_bias(kind_bias) if keep is not None and count else None
            for start in range(first, first + count, batch_size):
                end = min(start + batch_size, first + count)
                batch_keep = None if keep is None else keep[start:end]
                yield _WindowBatch(slice(start * windows.area, end * windows.area), batch_keep, kind_bias, key_bias)
            first += count

    def _run_batch(self, x: Tensor, batch: _WindowBatch) -> Tensor:
        """Run the block on a batch of windows, [n * w*w, embed] -> [n * w*w, embed]."""
        x = x.float() + self._attend(x, batch)
        mlp: Tensor = self.mlp(self.norm2(x))
        return x + mlp

    def _attend(self, x: Tensor, batch: _WindowBatch) -> Tensor:
        if batch.keep is None:
            return self._attend_all(self.norm1(x), batch)
        positions = kept_positions(batch.keep) if x.device.type == "cpu" else None
        if positions is None or batch.key_bias is None:
            return self._attend_all(_masked(self.norm1(x), batch.keep), batch)
        rows = (positions + batch.keep.shape[1] * torch.arange(len(positions), device=x.device)[:, None]).flatten()
        kept = _masked(self.norm1(select_rows(x, rows)), batch.keep.gather(1, positions))
        return self.attn.attend_kept(kept, positions, batch.key_bias)

    def _attend_all(self, normalized: Tensor, batch: _WindowBatch) -> Tensor:
        attended: Tensor = self.attn(normalized, batch.bias)
        return attended


def _masked(tokens: Tensor, keep: Tensor) -> Tensor:
    if tokens.device.type == "cpu" and bool(keep.all()):  # on a GPU the test would synchronize
        return tokens
    return tokens * keep.flatten()[:, None].to(tokens.dtype)


def kept_positions(keep: Tensor) -> Tensor | None:
    """Return the positions [n, k] of the kept tokens of each window, or None if a window keeps more than half.

    A window that keeps fewer than others also gets positions of masked tokens.
    """
    counts = keep.sum(dim=1)
    largest = max(1, int(counts.max()))
    if 2 * largest > keep.shape[1]:
        return None
    if int(counts.min()) == largest:
        return keep.nonzero()[:, 1].view(-1, largest)
    return keep.int().topk(largest, sorted=False).indices
