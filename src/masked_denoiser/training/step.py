"""Step of a training: loss, accumulated gradients, optimiser and moving average, without waiting for a GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import inf, nan

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from masked_denoiser.errors import TrainingError
from masked_denoiser.inference.memory_limits import is_out_of_memory
from masked_denoiser.network.exact import exact_float32
from masked_denoiser.training.checkpoint import TrainState, update_average
from masked_denoiser.training.data.batches import Batch, token_mask
from masked_denoiser.training.distributed import ProcessGroup
from masked_denoiser.training.recipe import Loss, TrainingRecipe

#: Types of devices whose fused optimisers ignore `found_inf` in some versions of torch.
_CHECKED_ON_HOST = ("mps",)

#: Epsilon of the Charbonnier loss, as in Lai et al. (CVPR 2017) and SwinIR.
_EPSILON = 1e-3

_PER_SAMPLE: dict[Loss, Callable[[Tensor], Tensor]] = {
    "l1": lambda d: d.abs(),
    "mse": lambda d: d.square(),
    "charbonnier": lambda d: (d.square() + _EPSILON**2).sqrt(),
}


class StepCancelledError(Exception):
    """Signal that a step was cancelled between two micro-batches, without any effect on the state."""


@dataclass(eq=False)
class TrainingStep:
    """Callable that makes the steps of a training.

    Attributes:
        recipe: how to train.
        state: network, optimiser and moving average.
        device: device of the network.
        ranks: this process in the group of training processes.
        cancel: stops between two micro-batches.
        notify: receives messages for the user.
    """

    recipe: TrainingRecipe
    state: TrainState
    device: torch.device
    ranks: ProcessGroup
    cancel: threading.Event
    notify: Callable[[str], None]

    def __post_init__(self) -> None:
        self._model = self.ranks.wrap(self.state.network, self.device)
        self._parameters = list(self.state.network.parameters())

    def __call__(self, batch: Batch, rate: float, progress: float) -> Tensor:
        """Make a step, with smaller micro-batches if memory runs out.

        Args:
            batch: the patches of this process.
            rate: learning rate.
            progress: completed share of the training, 0 to 1.

        Returns:
            The mean loss, a scalar on the device; NaN where the gradient is not finite, which leaves the weights
            unchanged.

        Raises:
            StepCancelledError: if `cancel` is set.
            TrainingError: if a single patch does not fit into memory.
        """
        while True:
            try:
                with exact_float32() if self.recipe.precision == "float32" else nullcontext():
                    return self._attempt(batch, rate, progress)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._check_divisible(error)
            self.state.micro_batch //= 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.notify(f"out of memory: now {self.state.micro_batch} patches at a time, with accumulated gradients")

    def _check_divisible(self, error: RuntimeError) -> None:
        """Raise `TrainingError` where the micro-batch cannot be halved."""
        if self.ranks.count > 1:  # the other processes wait for gradients that will not come
            raise TrainingError(
                f"{self.device} ran out of memory with {self.state.micro_batch} patches at a time; with several "
                "processes choose a smaller number (--set micro_batch=N)"
            ) from error
        if self.state.micro_batch == 1:
            raise TrainingError(
                f"{self.device} has too little memory for one patch of {self.recipe.patch} x "
                f"{self.recipe.patch} pixels; choose a smaller patch (--set patch=N), or the CPU"
            ) from error

    def _attempt(self, batch: Batch, rate: float, progress: float) -> Tensor:
        optimiser = self.state.optimiser
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        loss = self._accumulate(batch, progress)
        norm = nn.utils.clip_grad_norm_(self._parameters, self.recipe.clip or inf)
        if self.device.type not in _CHECKED_ON_HOST or bool(norm.isfinite()):
            # As with torch.amp.GradScaler, a fused optimiser skips the step where `found_inf` is set. This needs no
            # synchronisation with the device, and keeps NaN out of the moments.
            optimiser.grad_scale, optimiser.found_inf = None, (~norm.isfinite()).float()  # type: ignore[attr-defined]
            optimiser.step()
        update_average(self.state, self.recipe.ema)
        self.state.step += 1
        return torch.where(norm.isfinite(), loss, nan)

    def _accumulate(self, batch: Batch, progress: float) -> Tensor:
        """Accumulate gradients of the batch's mean loss over its micro-batches, and return that mean."""
        loss_mask = torch.ones_like(batch.inputs[:, :1]) if batch.loss_mask is None else batch.loss_mask.float()
        count = self.ranks.sum(loss_mask.sum() * batch.targets.shape[1]).clamp(min=1)
        total = batch.inputs.new_zeros(())
        starts = list(range(0, len(batch.inputs), self.state.micro_batch))
        for start in starts:
            if self.ranks.any(self.cancel.is_set(), self.device):
                raise StepCancelledError
            with self._without_sync(start != starts[-1]):
                loss = self._loss(batch.part(slice(start, start + self.state.micro_batch)), start, progress)
                # Gradients are averaged over the processes, while `count` is the sum over all of them.
                (loss * (self.ranks.count / count)).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return self.ranks.sum(total) / count

    def _loss(self, batch: Batch, start: int, progress: float) -> Tensor:
        """Return the summed loss of the micro-batch that starts with this patch."""
        part = start * self.ranks.count + self.ranks.rank
        tokens = token_mask(self.recipe, self.state.step, part, self.device, progress)
        bfloat16 = self.recipe.precision == "bfloat16"
        inputs = (batch.inputs, tokens) if batch.noise_map is None else (batch.inputs, tokens, batch.noise_map)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16):
            out = self._model(*inputs)
        return loss_sum(self.recipe.loss, out.float(), batch.targets, batch.loss_mask)[0]

    def _without_sync(self, skip_sync: bool) -> AbstractContextManager[None]:
        """Return a context without the exchange of gradients between processes, which only the last part needs."""
        model = self._model
        return model.no_sync() if skip_sync and isinstance(model, DistributedDataParallel) else nullcontext()


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
