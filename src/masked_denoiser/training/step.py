"""One step of a training: gradients part by part, optimiser, moving average; nothing in it waits for a GPU."""

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
from masked_denoiser.training.losses import loss_sum
from masked_denoiser.training.recipe import TrainingRecipe


class StepCancelledError(Exception):
    """A step was left between two of its parts, on request; nothing of it remains."""


@dataclass(eq=False)
class TrainingStep:
    """Makes steps of a training.

    Attributes:
        recipe: how to train.
        state: what learns.
        device: where the network is.
        ranks: this process among those that train together.
        cancel: stops between two parts of a step.
        say: takes messages for the user.
    """

    recipe: TrainingRecipe
    state: TrainState
    device: torch.device
    ranks: ProcessGroup
    cancel: threading.Event
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self._model = self.ranks.wrap(self.state.network, self.device)
        self._parameters = list(self.state.network.parameters())

    def __call__(self, batch: Batch, rate: float, share: float) -> Tensor:
        """Make a step, with smaller parts if memory runs out.

        Args:
            batch: the patches of this process.
            rate: the learning rate.
            share: how much of the training is done, up to 1.

        Returns:
            The mean loss, a scalar on the device; NaN where the gradient is no number, and the weights stay as they
            are.

        Raises:
            StepCancelledError: if `cancel` was set.
            TrainingError: if not even one patch fits into memory.
        """
        while True:
            try:
                with exact_float32() if self.recipe.precision == "float32" else nullcontext():
                    return self._try(batch, rate, share)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._check_smaller(error)
            self.state.micro_batch //= 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.say(f"memory ran out: now {self.state.micro_batch} patches at once, gradients accumulated")

    def _check_smaller(self, error: RuntimeError) -> None:
        """Raise `TrainingError` where smaller parts are no way out."""
        if self.ranks.count > 1:  # the others wait for gradients that will not come
            raise TrainingError(
                f"{self.device} ran out of memory with {self.state.micro_batch} patches at once; with several "
                "processes give a smaller micro_batch"
            ) from error
        if self.state.micro_batch == 1:
            raise TrainingError(
                f"{self.device} has too little memory for one patch of {self.recipe.patch} x "
                f"{self.recipe.patch} pixels; choose a smaller patch, or the CPU"
            ) from error

    def _try(self, batch: Batch, rate: float, share: float) -> Tensor:
        optimiser = self.state.optimiser
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        loss = self._accumulate(batch, share)
        norm = nn.utils.clip_grad_norm_(self._parameters, self.recipe.clip or inf)
        # Fused optimisers leave a step out where this says so, as they do for torch.amp.GradScaler: without asking
        # the device, and without its NaN in the moments for ever.
        optimiser.grad_scale, optimiser.found_inf = None, (~norm.isfinite()).float()  # type: ignore[attr-defined]
        optimiser.step()
        update_average(self.state, self.recipe.ema)
        self.state.step += 1
        return torch.where(norm.isfinite(), loss, nan)

    def _accumulate(self, batch: Batch, share: float) -> Tensor:
        """Gradients of the mean loss over the whole batch, part by part; returns that mean."""
        counted = torch.ones_like(batch.given[:, :1]) if batch.counted is None else batch.counted.float()
        count = self.ranks.total(counted.sum() * batch.wanted.shape[1]).clamp(min=1)
        total = batch.given.new_zeros(())
        parts = list(range(0, len(batch.given), self.state.micro_batch))
        for at in parts:
            if self.ranks.any(self.cancel.is_set(), self.device):
                raise StepCancelledError
            with self._unsynchronised(at != parts[-1]):
                summed = self._loss(batch.part(slice(at, at + self.state.micro_batch)), at, share)
                # Gradients are averaged over the processes, and the count is of all of them.
                (summed * (self.ranks.count / count)).backward()  # type: ignore[no-untyped-call]
            total += summed.detach()
        return self.ranks.total(total) / count

    def _loss(self, batch: Batch, at: int, share: float) -> Tensor:
        """The loss summed over a part of the batch that begins with this patch."""
        tokens = token_mask(self.recipe, self.state.step, at * self.ranks.count + self.ranks.rank, self.device, share)
        bfloat16 = self.recipe.precision == "bfloat16"
        given = (batch.given, tokens) if batch.noise_map is None else (batch.given, tokens, batch.noise_map)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16):
            out = self._model(*given)
        return loss_sum(self.recipe.loss, out.float(), batch.wanted, batch.counted)[0]

    def _unsynchronised(self, wanted: bool) -> AbstractContextManager[None]:
        """Only the last part of a batch exchanges gradients between processes."""
        model = self._model
        return model.no_sync() if wanted and isinstance(model, DistributedDataParallel) else nullcontext()
