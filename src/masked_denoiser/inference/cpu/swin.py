"""Swin blocks, groups and networks for inference on CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name)

from masked_denoiser.inference.cpu.attention import KeyWeights, MaskedAttention, attend_all
from masked_denoiser.inference.cpu.kernels import PackedConv, PackedLinear
from masked_denoiser.inference.cpu.threads import run_in_threads
from masked_denoiser.network.block import SwinBlock, kept_positions
from masked_denoiser.network.masks import TokenMask
from masked_denoiser.network.swin import MaskedSwin, SwinGroup
from masked_denoiser.network.windows import Windows, make_windows, wrap_masks

#: Windows that pass through all layers of a block at a time, so that intermediate results stay in the cache.
_WINDOWS = 48

_CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class _WindowBatch:
    """Windows that wrap around the image in the same way, or not at all.

    Attributes:
        rows: their tokens, as a range in `Windows.order`.
        keep: [n, w*w] bool, true for tokens that are not masked; None for all.
        positions: [n, k], positions of the kept tokens of each window; None if most are kept.
        bias: [heads, w*w (queries), w*w (keys)], added to the logits.
        weights: the same, prepared for masked tokens.
    """

    rows: slice
    keep: Tensor | None
    positions: Tensor | None
    bias: Tensor
    weights: KeyWeights


class CpuSwinBlock:
    """Swin block for inference.

    Args:
        block: layers whose weights are copied.
        dtype: of the matrix products.
        residual: precision of the tokens, of their sums and norms.
    """

    def __init__(self, block: SwinBlock, dtype: torch.dtype, residual: torch.dtype) -> None:
        self._index, self._shift, self._window, self._dtype = block.index, block.shift, block.window, dtype
        attn, rows = block.attn, _WINDOWS * block.window**2
        self._norm1, self._norm2 = block.norm1, block.norm2
        self._qkv, self._proj = PackedLinear.of(attn.qkv, dtype, rows), PackedLinear.of(attn.proj, dtype, rows)
        self._fc1, self._fc2 = PackedLinear.of(block.mlp.fc1, dtype, rows), PackedLinear.of(block.mlp.fc2, dtype, rows)
        self._masked = MaskedAttention(attn, dtype, residual, rows // 4)
        bias = attn.bias().detach()
        biases = [bias, *(bias + mask for mask in wrap_masks(block.window, block.shift, _CPU))]
        self._biases = [(each.to(dtype), KeyWeights(each)) for each in biases]

    def __call__(self, flat: Tensor, shape: tuple[int, int, int], tokens: TokenMask | None, inplace: bool) -> Tensor:
        """Transform tokens.

        Args:
            flat: [B * H * W, C].
            shape: (B, H, W).
            tokens: mask of the tokens that attention sees; None for all.
            inplace: whether `flat` may be overwritten.

        Returns:
            [B * H * W, C].
        """
        windows = make_windows(shape, self._window, self._shift, _CPU)
        out = flat if inplace else torch.empty_like(flat)

        def run(batch: _WindowBatch) -> None:
            rows = windows.order[batch.rows].long()
            out.index_copy_(0, rows, self._run(flat.index_select(0, rows), batch))  # no row is in two windows

        run_in_threads(run, self._batches(windows, self._keep(tokens, windows, shape)))
        return out

    def _keep(self, tokens: TokenMask | None, windows: Windows, shape: tuple[int, int, int]) -> Tensor | None:
        if tokens is None:
            return None
        keep = tokens.keep(self._index, self._shift, self._window, shape) > 0
        return keep.expand(*shape, 1).flatten().index_select(0, windows.order).view(windows.count, windows.area)

    def _batches(self, windows: Windows, keep: Tensor | None) -> Iterator[_WindowBatch]:
        first = 0
        for count, (bias, weights) in zip(windows.kind_counts, self._biases, strict=True):
            kind_keep = None if keep is None else keep[first : first + count]
            positions = None if kind_keep is None or not count else kept_positions(kind_keep)
            for start in range(0, count, _WINDOWS):
                part = slice(start, min(start + _WINDOWS, count))
                rows = slice((first + part.start) * windows.area, (first + part.stop) * windows.area)
                kept, kept_at = (None if each is None else each[part] for each in (kind_keep, positions))
                yield _WindowBatch(rows, kept, kept_at, bias, weights)
            first += count

    def _run(self, x: Tensor, batch: _WindowBatch) -> Tensor:
        """Return the tokens of a batch of windows after the block; x [n * w*w, C] may be overwritten."""
        x = self._add_attention(x, batch)
        return _add(self._fc2, self._fc1.gelu(_normalized(self._norm2, x).to(self._dtype)), x)

    def _add_attention(self, x: Tensor, batch: _WindowBatch) -> Tensor:
        keep, positions = batch.keep, batch.positions
        if keep is None or positions is None:
            normalized = _normalized(self._norm1, x).to(self._dtype)
            normalized = normalized if keep is None else normalized * keep.view(-1, 1)
            return _add(self._proj, attend_all(self._qkv(normalized), batch.bias), x)
        rows = (positions + keep.shape[1] * torch.arange(len(positions), device=positions.device)[:, None]).flatten()
        kept = _normalized(self._norm1, x.index_select(0, rows)).to(self._dtype)
        is_kept = keep.flatten().index_select(0, rows)
        kept = kept if bool(is_kept.all()) else kept * is_kept[:, None]
        return self._masked.add(x, kept, positions, batch.weights)


class CpuSwinGroup:
    """Swin blocks and a convolution with a residual connection around both, for inference.

    Args:
        group: layers whose weights are copied.
        dtype: of convolutions and matrix products.
        residual: precision of the tokens inside the group, of their sums and norms.
        side: height and width of typical features.
    """

    def __init__(self, group: SwinGroup, dtype: torch.dtype, residual: torch.dtype, side: int) -> None:
        blocks = [module for module in group.residual_group.blocks if isinstance(module, SwinBlock)]
        self._blocks = [CpuSwinBlock(block, dtype, residual) for block in blocks]
        self._dtype, self._residual = dtype, residual
        self._conv = _ResidualConv(group.conv, dtype, side)

    def __call__(self, x: Tensor, tokens: TokenMask | None) -> Tensor:
        """Transform features, [B, C, H, W] -> [B, C, H, W], both in channels-last order."""
        batch, channels, height, width = x.shape
        flat = x.permute(0, 2, 3, 1).reshape(-1, channels).to(self._residual)
        for number, block in enumerate(self._blocks):
            # Its input must not be overwritten if it is the memory of x, which is added below.
            inplace = number > 0 or self._residual != x.dtype
            flat = block(flat, (batch, height, width), tokens, inplace)
        image = flat.to(self._dtype).view(batch, height, width, channels).permute(0, 3, 1, 2)
        return self._conv.add(image, x)


class CpuSwin:
    """Masked Swin denoiser for inference; called as `MaskedSwin`.

    Args:
        network: whose weights are copied.
        dtype: of convolutions and matrix products.
        side: of a typical tile in pixels.
    """

    def __init__(self, network: MaskedSwin, dtype: torch.dtype, side: int) -> None:
        self._config, self._mean, self._dtype = network.config, network.mean, dtype
        self._first = PackedConv(network.conv_first, dtype, (1, network.config.channels, side, side))
        self._patch_norm, self._norm = network.patch_embed.norm, network.norm
        groups = [module for module in network.layers if isinstance(module, SwinGroup)]
        self._groups = [CpuSwinGroup(group, dtype, torch.float32, side) for group in groups]
        self._after_body = _ResidualConv(network.conv_after_body, dtype, side)
        self._last = PackedConv(network.conv_last, dtype, (1, network.config.embed, side, side))

    def __call__(self, images: Tensor, tokens: TokenMask | None = None) -> Tensor:
        """Denoise images [B, C, H, W] float32, as `MaskedSwin.forward`."""
        x = images - self._mean
        first = self._first(x.to(self._dtype).contiguous(memory_format=torch.channels_last))
        y = _image_normalized(self._patch_norm, first)
        for group in self._groups:
            y = group(y, tokens)
        y = _image_normalized(self._norm, y)
        y = self._after_body.add(y, first) if self._config.body_skip else self._after_body(y)
        out = self._last(y).float()
        return (x + out if self._config.global_skip else out) + self._mean


class _ResidualConv:
    """Convolution at the end of a group (`network.swin.residual_conv`): one, or three with leaky ReLUs between them."""

    def __init__(self, module: nn.Module, dtype: torch.dtype, side: int) -> None:
        convs = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
        slopes = [layer.negative_slope for layer in module.modules() if isinstance(layer, nn.LeakyReLU)]
        packed = [PackedConv(conv, dtype, (1, conv.in_channels, side, side)) for conv in convs]
        self._inner, self._last = list(zip(packed[:-1], slopes, strict=True)), packed[-1]

    def __call__(self, x: Tensor) -> Tensor:
        return self._last(self._run_inner(x))

    def add(self, x: Tensor, other: Tensor) -> Tensor:
        """Return the convolution plus another image."""
        return self._last.add(self._run_inner(x), other)

    def _run_inner(self, x: Tensor) -> Tensor:
        for conv, slope in self._inner:
            x = conv.leaky_relu(x, slope)
        return x


def _add(linear: PackedLinear, x: Tensor, tokens: Tensor) -> Tensor:
    """Return tokens plus the result of a layer, in the precision of the tokens, which may be overwritten."""
    return linear.add(x, tokens) if x.dtype == tokens.dtype else tokens.add_(linear(x))


def _normalized(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Return the layer norm of [N, C], in the precision of x."""
    weight, bias = norm.weight.to(x.dtype), norm.bias.to(x.dtype)
    return F.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)


def _image_normalized(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Return the layer norm over the channels of [B, C, H, W], in channels-last order."""
    return _normalized(norm, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
