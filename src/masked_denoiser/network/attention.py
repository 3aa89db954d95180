"""Window attention with relative position bias (Liu et al., ICCV 2021, eq. 4), on windows of tokens [n, w*w, C].

There are three implementations of the same computation:

- `attend_all` is the plain one, arranged so that every matrix product has long rows: heads of 10 values are a poor
  inner dimension for any processor, the 64 queries of a window are a good one.
- `attend_kept` is for windows of which at least half of the tokens are masked. A masked token is zero, so its query,
  key and value are the biases of their layers, equal for all. To a query q, all masked keys of a window act as one key
  k, whose weights add up to exp(q k) sum_j exp(bias_j). Attention over 64 keys of which 16 are kept is thus attention
  over 17, and only kept tokens need separate queries, keys and values.
- `attend_fused` is torch's fused kernel, for GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name)

#: Windows per call of a fused kernel, which indexes windows and heads with 16 bits.
_MAX_WINDOWS = 32768

#: Size of heads is padded to a multiple of this for fused kernels.
_HEAD_ALIGNMENT = 8

#: Lower limit of sums before their logarithm: a row of biases may be far below the largest of its head.
_MIN_SUM = 1e-30


@dataclass(frozen=True, eq=False)
class KeyBias:
    """Relative position biases of a block, prepared for `attend_kept`.

    Attributes:
        by_key: [w*w (keys), heads * w*w (queries)], the biases.
        weights: [w*w (keys), heads * w*w (queries)] float32, exp(bias - largest).
        largest: [heads, w*w (queries)] float32, maximum over all keys.
    """

    by_key: Tensor
    weights: Tensor
    largest: Tensor

    @classmethod
    def from_bias(cls, bias: Tensor) -> Self:
        """Return the prepared biases of [heads, w*w (queries), w*w (keys)]."""
        by_key = bias.permute(2, 0, 1).float()
        largest = by_key.detach().amax(dim=0)
        return cls(by_key.flatten(1), (by_key - largest).exp().flatten(1), largest)

    def select(self, positions: Tensor, rows: Tensor) -> Tensor:
        """Return the biases of the kept keys, then of the key that stands for all others: [n * heads, k + 1, w*w].

        Args:
            positions: [n, k], positions of the kept keys in their window.
            rows: [n * k], positions of the kept keys in the sequence of all windows.
        """
        (windows, count), (heads, area) = positions.shape, self.largest.shape
        kept = self.by_key.index_select(0, positions.flatten()).view(windows, count, heads, area)
        masked = self.weights.new_ones(windows * area, 1).index_fill_(0, rows, 0.0).view(windows, area)
        sums = _matmul_in_float32(masked, self.weights)
        other = sums.clamp(min=_MIN_SUM).log().view(windows, heads, 1, area) + self.largest[:, None]
        return torch.cat([kept.transpose(1, 2), other], dim=2).flatten(0, 1)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows.

    Args:
        embed: channels C of a token.
        heads: number of heads.
        window: side of a window, in tokens.
        bias: whether queries, keys and values have a bias.
    """

    relative_position_index: Tensor

    def __init__(self, embed: int, heads: int, window: int, bias: bool = True) -> None:
        super().__init__()
        self.heads, self.window, self.scale = heads, window, (embed // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv = nn.Linear(embed, 3 * embed, bias=bias)
        self.proj = nn.Linear(embed, embed)
        self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def bias(self) -> Tensor:
        """Return the relative position bias of every pair of tokens, [heads, w*w (queries), w*w (keys)]."""
        pairs = self.relative_position_bias_table[self.relative_position_index.flatten()]
        return pairs.view(self.window**2, self.window**2, self.heads).permute(2, 0, 1).contiguous()

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """Compute attention within windows.

        Args:
            tokens: [n * w*w, C]; masked ones are zero.
            bias: result of `bias`, plus the attention mask of windows that wrap around the image.

        Returns:
            [n * w*w, C].
        """
        qkv = self.qkv(tokens).view(-1, self.window**2, 3 * tokens.shape[1])
        attend = attend_fused if qkv.is_cuda else attend_all
        out: Tensor = self.proj(attend(qkv, bias, self.scale).flatten(0, 1))
        return out

    def attend_kept(self, kept: Tensor, positions: Tensor, bias: KeyBias) -> Tensor:
        """Compute attention within windows of which only some tokens are not masked.

        Args:
            kept: [n * k, C], k tokens of each window; masked ones among them must be zero.
            positions: [n, k] int64, positions of these tokens in their window.
            bias: prepared result of `bias`, shared by all windows.

        Returns:
            [n * w*w, C].
        """
        qkv = self.qkv(kept).view(*positions.shape, 3, self.heads, -1)
        zero_qkv = torch.zeros_like(self.qkv.weight[:, 0]) if self.qkv.bias is None else self.qkv.bias
        out: Tensor = self.proj(attend_kept(qkv, zero_qkv.to(qkv.dtype), positions, bias, self.scale).flatten(0, 1))
        return out


def attend_all(qkv: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Return the attention of windows, by plain matrix products.

    Args:
        qkv: [n, w*w, 3 * C].
        bias: [heads, w*w, w*w].
        scale: factor of the products of queries and keys.

    Returns:
        [n, w*w, C].
    """
    heads, area, _ = bias.shape
    q, k, v = qkv.view(len(qkv), area, 3, heads, -1).permute(2, 0, 3, 1, 4).reshape(3, len(qkv) * heads, area, -1)
    logits = torch.bmm(q * scale, k.transpose(1, 2)).float().view(-1, heads, area, area) + bias
    weights = logits.flatten(0, 1).softmax(dim=-1).to(v.dtype)
    return _merge_heads(torch.bmm(v.transpose(1, 2), weights.transpose(1, 2)), heads)


def attend_kept(qkv: Tensor, zero_qkv: Tensor, positions: Tensor, bias: KeyBias, scale: float) -> Tensor:
    """Return the attention of windows in which all tokens except k are zero.

    Args:
        qkv: [n, k, 3, heads, C / heads] of the kept tokens.
        zero_qkv: [3 * C], query, key and value of a token that is zero.
        positions: [n, k], positions of the kept tokens in their window.
        bias: prepared biases of the pairs of tokens.
        scale: factor of the products of queries and keys.

    Returns:
        [n, w*w, C].
    """
    windows, count = positions.shape
    heads, area = bias.largest.shape
    zero_qkv = zero_qkv.view(3, heads, -1)
    rows = (positions + area * torch.arange(windows, device=positions.device)[:, None]).flatten()
    queries = zero_qkv[0].flatten().expand(windows * area, -1)
    queries = queries.index_copy(0, rows, qkv[:, :, 0].reshape(windows * count, -1))
    queries = queries.view(windows, area, heads, -1).transpose(1, 2).reshape(windows * heads, area, -1)
    others = zero_qkv[1:, None, :, None].expand(-1, windows, -1, -1, -1)
    pairs = torch.cat([qkv[:, :, 1:].permute(2, 0, 3, 1, 4), others], dim=3)
    keys, values = pairs.view(2, windows * heads, count + 1, -1)
    # Keys are rows, [windows * heads, count + 1, queries], so the softmax is over dimension 1.
    logits = bias.select(positions, rows).to(qkv.dtype).baddbmm_(keys, queries.transpose(1, 2), alpha=scale)
    weights = logits.float().softmax(dim=1).to(values.dtype)
    return _merge_heads(torch.bmm(values.transpose(1, 2), weights), heads)


def attend_fused(qkv: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Return the same as `attend_all`, by torch's fused kernel, which stores no attention weights on a GPU."""
    # Fused kernels reject a bias whose last stride is not 1.
    bias = bias.to(qkv.dtype).contiguous()[None]
    parts = [_attend_fused_part(part, bias, scale) for part in torch.split(qkv, _MAX_WINDOWS)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _attend_fused_part(qkv: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Return the attention of at most `_MAX_WINDOWS` windows; bias is [1, heads, w*w, w*w]."""
    _, heads, area, _ = bias.shape
    q, k, v = qkv.view(len(qkv), area, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    head_size = q.shape[-1]
    if head_size % _HEAD_ALIGNMENT:
        q, k, v = (F.pad(part, (0, -head_size % _HEAD_ALIGNMENT)) for part in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(len(q), -1, -1, -1), scale=scale)
    return out[..., :head_size].transpose(1, 2).flatten(2)


def relative_position_index(window: int) -> Tensor:
    """Return the row of the bias table for each pair of tokens (i, j) of a window, [w*w, w*w] int64.

    All blocks share one table, of which the largest has 8 MiB. On torch's device "meta" it has no memory.
    """
    if torch.get_default_device().type == "meta":
        return torch.empty(window**2, window**2, dtype=torch.int64)
    return _cached_position_index(window)


@lru_cache
@torch.inference_mode(mode=False)  # a table made during inference must be usable in training
def _cached_position_index(window: int) -> Tensor:
    """Return the table of `relative_position_index` in memory."""
    rows, columns = np.divmod(np.arange(window**2), window)
    row_offset, column_offset = (each[:, None] - each[None, :] + window - 1 for each in (rows, columns))
    return torch.from_numpy(row_offset * (2 * window - 1) + column_offset)


def _matmul_in_float32(left: Tensor, right: Tensor) -> Tensor:
    """Return a matrix product in float32, even inside autocast."""
    if not torch.is_autocast_enabled(left.device.type):
        return left @ right
    with torch.autocast(left.device.type, enabled=False):
        return left @ right


def _merge_heads(out: Tensor, heads: int) -> Tensor:
    """Concatenate heads: [n * heads, C / heads, w*w] -> [n, w*w, C]."""
    return out.view(-1, heads * out.shape[1], out.shape[2]).transpose(1, 2)
