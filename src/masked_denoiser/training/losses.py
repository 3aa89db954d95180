"""Losses over a batch, optionally restricted to masked pixels."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from masked_denoiser.training.recipe import Loss

#: Epsilon of the Charbonnier loss, as in Lai et al. (CVPR 2017) and SwinIR.
_EPSILON = 1e-3

_PER_SAMPLE: dict[Loss, Callable[[Tensor], Tensor]] = {
    "l1": lambda d: d.abs(),
    "mse": lambda d: d.square(),
    "charbonnier": lambda d: (d.square() + _EPSILON**2).sqrt(),
}


def loss_sum(kind: Loss, output: Tensor, target: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the sum of the loss over samples, and their number; both add up over the parts of a batch.

    Args:
        kind: "l1", "mse" or "charbonnier".
        output, target: [B, C, H, W] float32.
        mask: [B, 1, H, W] bool, the pixels that contribute; None for all.

    Returns:
        Two scalars.
    """
    losses = _PER_SAMPLE[kind](output - target)
    if mask is None:
        return losses.sum(), losses.new_full((), float(losses.numel()))
    included = mask.expand_as(losses)
    return losses.masked_fill(~included, 0.0).sum(), included.sum().to(losses.dtype)
