"""Losses over a batch, optionally over some of its pixels only."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from masked_denoiser.training.recipe import Loss

#: Of the Charbonnier loss, as Lai et al. (CVPR 2017) and SwinIR take it.
_EPSILON = 1e-3

_PER_SAMPLE: dict[Loss, Callable[[Tensor], Tensor]] = {
    "l1": lambda d: d.abs(),
    "mse": lambda d: d.square(),
    "charbonnier": lambda d: (d.square() + _EPSILON**2).sqrt(),
}


def loss_sum(kind: Loss, out: Tensor, wanted: Tensor, where: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The loss summed over samples, and how many there were: sums of parts of a batch add up to the whole's.

    Args:
        kind: "l1", "mse" or "charbonnier".
        out, wanted: [B, C, H, W] float32.
        where: [B, 1, H, W] bool, the pixels that count; None for all.

    Returns:
        Two scalars.
    """
    each = _PER_SAMPLE[kind](out - wanted)
    if where is None:
        return each.sum(), each.new_full((), float(each.numel()))
    counted = where.expand_as(each)
    return each.masked_fill(~counted, 0.0).sum(), counted.sum().to(each.dtype)
