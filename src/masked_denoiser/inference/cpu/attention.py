"""Window attention for inference on CPUs.

`MaskedAttention` is for windows of which most tokens are masked. A masked token is zero, so that its query, key and
value are the biases of their layers, b_q, b_k and b_v, equal for all masked tokens of all windows. This saves work
twice:

- Masked keys act as one key: their weights exp(q b_k + bias_j) add up to exp(q b_k) sum_j exp(bias_j).
- Masked queries all have the logits b_q k_j + bias_ij, whose exponential is a product, exp(bias_ij) exp(b_q k_j).
  Their attention needs no softmax: it is the product of [exp(b_q k_j) v_j, exp(b_q k_j)] with the matrix exp(bias),
  which is the same for all windows, divided by its last row.

So exponentials are computed for the kept queries only, over the kept keys and one more.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name)

from masked_denoiser.inference.cpu.kernels import PackedLinear
from masked_denoiser.network.attention import WindowAttention

#: Lower limit of the sum of the weights of masked keys.
_MIN_SUM = 1e-30


def attend_all(qkv: Tensor, bias: Tensor) -> Tensor:
    """Return the attention of windows whose tokens are all kept, by torch's fused kernel.

    Args:
        qkv: [n * w*w, 3 * C].
        bias: [heads, w*w (queries), w*w (keys)], in the precision of `qkv`.

    Returns:
        [n * w*w, C].
    """
    heads, area, _ = bias.shape
    q, k, v = qkv.view(-1, area, 3, heads, qkv.shape[1] // (3 * heads)).permute(2, 0, 3, 1, 4)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(len(q), -1, -1, -1))
    return out.transpose(1, 2).reshape(len(qkv), -1)


class KeyWeights:
    """Weights exp(bias - largest) of a block's relative position biases, arranged by key.

    Args:
        bias: [heads, w*w (queries), w*w (keys)] float32.
    """

    def __init__(self, bias: Tensor) -> None:
        weights = (bias - bias.amax(dim=2, keepdim=True)).exp()
        self.heads, self.area, _ = bias.shape
        self.by_key = weights.transpose(1, 2).reshape(-1, self.area)  # [heads * w*w (keys), w*w (queries)]
        self.total = weights.sum(dim=2)  # [heads, w*w (queries)]

    def select(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of the kept keys [n, heads, k, w*w], and the sums of all others [n, heads, 1, w*w].

        Args:
            positions: [n, k], positions of the kept keys in their window.
        """
        rows = positions[:, None] + self.area * torch.arange(self.heads, device=positions.device)[:, None]
        kept = self.by_key.index_select(0, rows.flatten()).view(*rows.shape, self.area)
        others = (self.total - kept.sum(dim=2)).clamp_(min=_MIN_SUM)
        return kept, others[:, :, None]


class MaskedAttention:
    """Window attention of windows in which all tokens except k are masked, with its linear layers.

    Attention itself is computed in float32: its products are too small for half precision to be faster.

    Args:
        attn: layers whose weights are copied.
        dtype: of queries, keys and values.
        residual: precision of the tokens to which the result is added.
        rows: typical number of kept tokens in a batch of windows.
    """

    def __init__(self, attn: WindowAttention, dtype: torch.dtype, residual: torch.dtype, rows: int) -> None:
        heads, embed, scale = attn.heads, attn.proj.in_features, attn.scale
        bias = attn.qkv.weight.new_zeros(3 * embed) if attn.qkv.bias is None else attn.qkv.bias
        zero_q, zero_k, zero_v = bias.detach().view(3, heads, -1)
        self._zero_logit = (zero_q * zero_k).sum(dim=-1) * scale  # [heads]
        self._zero_value = F.pad(zero_v, (0, 1), value=1.0)  # [heads, C / heads + 1]
        self._scale, self._heads = scale, heads
        # Further outputs of the layer: the logits of masked queries with each key, and of each query with masked keys.
        weight = attn.qkv.weight.detach()
        zero = torch.stack([zero_k, zero_q]) * scale  # multiplied with q, k
        extra_weight = torch.einsum("phd,phdc->phc", zero, weight[: 2 * embed].view(2, heads, -1, embed)).flatten(0, 1)
        extra_bias = (zero * bias[: 2 * embed].view(2, heads, -1)).sum(dim=-1).flatten()
        weights, biases = torch.cat([weight, extra_weight]), torch.cat([bias.detach(), extra_bias])
        self._qkv = PackedLinear(weights, biases, dtype, rows)
        # The last row of each head is 1 after the division, so it can carry the bias of the projection.
        shared_bias = attn.proj.bias.detach()[:, None, None].expand(-1, heads, 1) / heads
        proj = torch.cat([attn.proj.weight.detach().view(embed, heads, -1), shared_bias], dim=2)
        self._proj = proj.flatten(1).T.to(residual).contiguous()[None]

    def add(self, x: Tensor, kept: Tensor, positions: Tensor, weights: KeyWeights) -> Tensor:
        """Add the attention of windows to their tokens.

        Args:
            x: [n * w*w, C], overwritten with the result.
            kept: [n * k, C], normalized tokens that are not masked, k of each window; masked ones among them are zero.
            positions: [n, k], their positions in the window.
            weights: of the biases.
        """
        windows, count = positions.shape
        qkv = self._qkv(kept)
        embed = x.shape[1]
        parts = qkv[:, : 3 * embed].view(windows, count, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = parts.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        logits = qkv[:, 3 * embed :].float().view(windows, count, 2, self._heads).permute(2, 0, 3, 1)
        values = F.pad(v, (0, 1), value=1.0)
        kept_weights, other_weights = weights.select(positions)
        attended = self._attend_masked(logits[1], values, kept_weights, other_weights)
        at_queries = positions[:, None, None]
        kept_weights = kept_weights.gather(3, at_queries.expand(-1, self._heads, count, -1))
        other_weights = other_weights.gather(3, at_queries.expand(-1, self._heads, -1, -1))
        kept_result = self._attend_kept((q, k, values), logits[0], kept_weights, other_weights)
        index = at_queries.expand(-1, self._heads, kept_result.shape[2], -1)
        attended.scatter_(3, index, kept_result)
        tokens = attended.flatten(1, 2).transpose(1, 2).to(x.dtype)
        out: Tensor = x.view(windows, -1, embed).baddbmm_(tokens, self._proj.expand(windows, -1, -1))
        return out.view(-1, embed)

    def _attend_masked(self, logits: Tensor, values: Tensor, kept: Tensor, others: Tensor) -> Tensor:
        """Return the attention of a masked query at every position, [n, heads, C / heads + 1, w*w]; the last row is 1.

        Args:
            logits: [n, heads, k] float32, of masked queries with the kept keys.
            values: [n, heads, k, C / heads + 1] float32, of the kept keys; the last column is 1.
            kept, others: result of `KeyWeights.select`.
        """
        windows, heads, count, area = kept.shape
        largest = torch.maximum(logits.amax(dim=-1), self._zero_logit)[..., None]
        weighted = values * (logits - largest).exp_()[..., None]
        weighted_other = self._zero_value * (self._zero_logit[:, None] - largest).exp_()
        start = weighted_other[..., None] * others
        sums = start.flatten(0, 1).baddbmm_(weighted.flatten(0, 1).transpose(1, 2), kept.view(-1, count, area))
        sums = sums.view(windows, heads, -1, area)
        out: Tensor = sums.div_(sums[:, :, -1:].clone())
        return out

    def _attend_kept(
        self, parts: tuple[Tensor, Tensor, Tensor], other_logits: Tensor, kept: Tensor, others: Tensor
    ) -> Tensor:
        """Return the attention of the kept queries, [n, heads, C / heads, k] float32.

        Args:
            parts: queries and keys [n, heads, k, C / heads] and values [n, heads, k, C / heads + 1], float32.
            other_logits: [n, heads, k] float32, of the queries with masked keys.
            kept: [n, heads, k (keys), k (queries)] float32, weights of the biases of the kept keys.
            others: [n, heads, 1, k (queries)] float32, sums of the weights of the other keys.
        """
        q, k, values = (part.flatten(0, 1) for part in parts)
        logits = torch.bmm(k, q.transpose(1, 2)).mul_(self._scale).view(kept.shape)
        largest = torch.maximum(logits.amax(dim=2), other_logits)[:, :, None]
        weights = (logits - largest).exp_().mul_(kept)
        other = (other_logits[:, :, None] - largest).exp_().mul_(others)
        start = self._zero_value[:, :, None] * other
        sums = start.flatten(0, 1).baddbmm_(values.transpose(1, 2), weights.flatten(0, 1))
        sums = sums.view(*start.shape)
        out: Tensor = sums[:, :, :-1] / sums[:, :, -1:]
        return out
