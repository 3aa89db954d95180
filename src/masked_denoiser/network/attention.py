"""Window attention with relative position bias (Liu et al., ICCV 2021, eq. 4), on windows of tokens [n, w*w, C].

Three ways to compute the same numbers:

- `attend_all`, plainly, arranged so that every matrix product has long rows: heads of 10 values are a poor inner
  dimension for any processor, the 64 queries of a window a good one.
- `attend_kept`, where at least half of the tokens are masked: a masked token is zero, so its query, key and value are
  the biases of their layers, the same for all. All masked keys of a window are one key to a query q: their weights add
  up to exp(q k) sum_j exp(bias_j). Attention over 64 keys of which 16 are kept is attention over 17, and only kept
  tokens need queries, keys and values of their own.
- `attend_fused`, torch's fused kernel, for GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name)

#: Windows in one call: fused kernels index windows and heads with 16 bits.
_MOST_WINDOWS = 32768

#: Heads are padded to a multiple of this for fused kernels.
_ALIGNED = 8

#: The smallest sum of weights whose logarithm is taken: a row of biases may be far below the largest of its head.
_LEAST = 1e-30


@dataclass(frozen=True, eq=False)
class KeyBias:
    """The biases of a block as `attend_kept` needs them.

    Attributes:
        by_key: [w*w (keys), heads * w*w (queries)].
        weights: [w*w (keys), heads * w*w (queries)] float32, exp(bias - largest).
        largest: [heads, w*w (queries)] float32, over all keys.
    """

    by_key: Tensor
    weights: Tensor
    largest: Tensor

    @classmethod
    def make(cls, bias: Tensor) -> Self:
        """From [heads, w*w (queries), w*w (keys)]."""
        by_key = bias.permute(2, 0, 1).float()
        largest = by_key.detach().amax(dim=0)
        return cls(by_key.flatten(1), (by_key - largest).exp().flatten(1), largest)

    def of(self, where: Tensor, rows: Tensor) -> Tensor:
        """The biases of the kept keys, then of the one key that stands for all others: [n * heads, k + 1, w*w].

        Args:
            where: [n, k], the places of the kept keys.
            rows: [n * k], the same in the sequence of all windows.
        """
        (windows, count), (heads, area) = where.shape, self.largest.shape
        kept = self.by_key.index_select(0, where.flatten()).view(windows, count, heads, area)
        masked = torch.ones(windows * area, 1, device=where.device).index_fill_(0, rows, 0.0).view(windows, area)
        sums = _in_float32(masked, self.weights)
        other = sums.clamp(min=_LEAST).log().view(windows, heads, 1, area) + self.largest[:, None]
        return torch.cat([kept.transpose(1, 2), other], dim=2).flatten(0, 1)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows.

    Args:
        embed: width C of a token.
        heads: number of heads.
        window: side of a window.
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
        """The relative position bias of every pair of tokens, [heads, w*w (queries), w*w (keys)]."""
        pairs = self.relative_position_bias_table[self.relative_position_index.flatten()]
        return pairs.view(self.window**2, self.window**2, self.heads).permute(2, 0, 1).contiguous()

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """Attends within windows.

        Args:
            tokens: [n * w*w, C]; masked ones are zero.
            bias: what `bias` gives, and what keeps the sides of a cut window apart.

        Returns:
            [n * w*w, C].
        """
        qkv = self.qkv(tokens).view(-1, self.window**2, 3 * tokens.shape[1])
        attend = attend_fused if qkv.is_cuda else attend_all
        out: Tensor = self.proj(attend(qkv, bias, self.scale).flatten(0, 1))
        return out

    def attend_kept(self, kept: Tensor, where: Tensor, bias: KeyBias) -> Tensor:
        """The same for windows in which all other tokens are masked.

        Args:
            kept: [n * k, C], k tokens of each window. Masked ones may be among them, as zeros.
            where: [n, k] int64, their places in their window.
            bias: made from `bias`, once for all windows.

        Returns:
            [n * w*w, C].
        """
        qkv = self.qkv(kept).view(*where.shape, 3, self.heads, -1)
        none = torch.zeros_like(self.qkv.weight[:, 0]) if self.qkv.bias is None else self.qkv.bias
        out: Tensor = self.proj(attend_kept(qkv, none.to(qkv.dtype), where, bias, self.scale).flatten(0, 1))
        return out


def attend_all(qkv: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Attention of whole windows.

    Args:
        qkv: [n, w*w, 3 * C].
        bias: [heads, w*w, w*w].
        scale: of the products of queries and keys.

    Returns:
        [n, w*w, C].
    """
    heads, area, _ = bias.shape
    q, k, v = qkv.view(len(qkv), area, 3, heads, -1).permute(2, 0, 3, 1, 4).reshape(3, len(qkv) * heads, area, -1)
    logits = torch.bmm(q * scale, k.transpose(1, 2)).float().view(-1, heads, area, area) + bias
    weights = logits.flatten(0, 1).softmax(dim=-1).to(v.dtype)
    return _merged(torch.bmm(v.transpose(1, 2), weights.transpose(1, 2)), heads)


def attend_kept(qkv: Tensor, none: Tensor, where: Tensor, bias: KeyBias, scale: float) -> Tensor:
    """Attention of windows in which all tokens but k are zero.

    Args:
        qkv: [n, k, 3, heads, C / heads] of the kept tokens.
        none: [3 * C], query, key and value of a token that is zero.
        where: [n, k], the places of the kept tokens.
        bias: of the pairs of tokens.
        scale: of the products of queries and keys.

    Returns:
        [n, w*w, C].
    """
    windows, count = where.shape
    heads, area = bias.largest.shape
    none = none.view(3, heads, -1)
    rows = (where + area * torch.arange(windows, device=where.device)[:, None]).flatten()
    queries = none[0].flatten().expand(windows * area, -1)
    queries = queries.index_copy(0, rows, qkv[:, :, 0].reshape(windows * count, -1))
    queries = queries.view(windows, area, heads, -1).transpose(1, 2).reshape(windows * heads, area, -1)
    others = none[1:, None, :, None].expand(-1, windows, -1, -1, -1)
    pairs = torch.cat([qkv[:, :, 1:].permute(2, 0, 3, 1, 4), others], dim=3)
    keys, values = pairs.view(2, windows * heads, count + 1, -1)
    # Keys are rows: [windows * heads, count + 1, queries], and the softmax goes down the columns.
    logits = bias.of(where, rows).to(qkv.dtype).baddbmm_(keys, queries.transpose(1, 2), alpha=scale)
    weights = logits.float().softmax(dim=1).to(values.dtype)
    return _merged(torch.bmm(values.transpose(1, 2), weights), heads)


def attend_fused(qkv: Tensor, bias: Tensor, scale: float) -> Tensor:
    """As `attend_all`, by `scaled_dot_product_attention`, which never stores the weights of its attention on a GPU."""
    # A bias whose last stride is not 1 is refused by every fused kernel.
    bias = bias.to(qkv.dtype).contiguous()[None]
    parts = [_fused(part, bias, scale) for part in torch.split(qkv, _MOST_WINDOWS)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _fused(qkv: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Attention of as many windows as one call of a kernel takes; bias [1, heads, w*w, w*w]."""
    _, heads, area, _ = bias.shape
    q, k, v = qkv.view(len(qkv), area, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    head = q.shape[-1]
    if head % _ALIGNED:
        q, k, v = (F.pad(part, (0, -head % _ALIGNED)) for part in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(len(q), -1, -1, -1), scale=scale)
    return out[..., :head].transpose(1, 2).flatten(2)


def relative_position_index(window: int) -> Tensor:
    """Which row of the bias table serves tokens (i, j) of a window: [w*w, w*w] int64."""
    steps = torch.arange(window)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="ij")).flatten(1)
    offset = grid[:, :, None] - grid[:, None, :] + window - 1
    return offset[0] * (2 * window - 1) + offset[1]


def _in_float32(one: Tensor, other: Tensor) -> Tensor:
    """A matrix product that half precision around it does not reach."""
    if not torch.is_autocast_enabled(one.device.type):
        return one @ other
    with torch.autocast(one.device.type, enabled=False):
        return one @ other


def _merged(out: Tensor, heads: int) -> Tensor:
    """[n * heads, C / heads, w*w] -> [n, w*w, C]."""
    return out.view(-1, heads * out.shape[1], out.shape[2]).transpose(1, 2)
