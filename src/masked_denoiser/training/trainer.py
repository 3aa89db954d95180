"""The trainer: steps, validations and checkpoints, as events to those who listen."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from masked_denoiser.denoising.events import Message
from masked_denoiser.denoising.limits import is_out_of_memory
from masked_denoiser.training.batches import Batch, make_batch, token_mask
from masked_denoiser.training.events import Saved, Stepped, Trained, Validated
from masked_denoiser.training.losses import loss_sum
from masked_denoiser.training.pool import Patch, Pool, batch_of
from masked_denoiser.training.ranks import Ranks
from masked_denoiser.training.recipe import TrainingError, TrainingRecipe
from masked_denoiser.training.state import State, update_average
from masked_denoiser.training.validation import Validator

Event = Message | Stepped | Validated | Saved | Trained
_Drawn = tuple[Patch, Patch | None]

#: Seconds between two looks at whether to stop, while patches are waited for.
_LOOK = 0.2
#: Batches that are read ahead.
_AHEAD = 3


class _StoppedError(Exception):
    """A step was left in the middle, on request; nothing of it remains."""


@dataclass
class Trainer:
    """A training with all that it needs.

    Attributes:
        recipe: how to train.
        state: where it begins or goes on.
        pool: what patches are drawn from.
        device: where the network is.
        validator: None trains without validation.
        checkpoint: file for checkpoints; None keeps none.
        identity: what must be the same to go on from a checkpoint.
        ranks: this process among those that train together.
        cancel: set it from any thread; the training stops within a part of a step, and its checkpoint is saved.
    """

    recipe: TrainingRecipe
    state: State
    pool: Pool
    device: torch.device
    validator: Validator | None = None
    checkpoint: Path | None = None
    identity: str = ""
    ranks: Ranks = field(default_factory=Ranks)
    cancel: threading.Event = field(default_factory=threading.Event)

    def run(self) -> Iterator[Event]:
        """Trains to the end, and yields events as it goes. The last one is `Trained`.

        The last checkpoint is of the last whole step, however the run ends.
        """
        self._model = self.ranks.wrap(self.state.network, self.device)
        reader = _Reader(self.pool, self.recipe, self.ranks)
        try:
            why = yield from self._steps(reader)
            if why == "diverged":
                self._restore_best()
                yield Message(
                    f"the loss became NaN or infinite at step {self.state.step}: stopped, and went back to the weights "
                    f"of step {self.state.best_step}; try a lower learning rate"
                )
            yield from self._save()
            yield self._trained(why)
        finally:
            reader.close()

    def _steps(self, reader: _Reader) -> Generator[Event, None, str]:
        """Steps, validations and checkpoints, until there is a reason to end, which is returned."""
        began, first, earlier = time.monotonic(), self.state.step, self.state.seconds
        apart = 0.0  # seconds of validations, which say nothing of how long steps take
        skipped: set[str] = set()
        while True:
            if self._validation_due():
                since = time.monotonic()
                yield from self._validate()
                apart += time.monotonic() - since
            if (why := self._end()) is not None:
                return why
            try:
                drawn = reader.get(self.state.step, self.cancel if self.ranks.count == 1 else None)
                loss, said = self._step(drawn)
            except _StoppedError:
                return "stopped"
            yield from said
            for name in sorted(self.pool.skipped - skipped):
                skipped.add(name)
                yield Message(f"{name} holds NaN or infinite values: patches with them are left out")
            if not isfinite(loss):
                return "diverged"
            seconds = time.monotonic() - began
            self.state.seconds = earlier + seconds
            rate = self.recipe.rate_at(self.state.step - 1)
            yield Stepped(self.state.step, self.recipe.steps, loss, rate, self.state.step - first, seconds - apart)
            if _due(self.state.step, self.recipe.save_every):
                yield from self._save()

    def _end(self) -> str | None:
        """Why not to make another step; None to make it."""
        if self.ranks.any(self._validation_due(), self.device):  # stopped in the middle of it
            return "stopped"
        if self.ranks.any(self._tired(), self.device):
            return "no better"
        return "finished" if self.state.step >= self.recipe.steps else None

    def _validation_due(self) -> bool:
        """Whether this step is to be validated, and has not been, perhaps because an earlier run was stopped."""
        step, recipe = self.state.step, self.recipe
        due = step in (0, recipe.steps) or _due(step, recipe.validate_every)
        return due and self.validator is not None and self.ranks.first and self.state.validated != step

    def _tired(self) -> bool:
        return bool(self.recipe.patience) and self.state.worse >= self.recipe.patience

    def keeps_last(self, why: str) -> bool:
        """Whether the average of the last weights is kept, rather than those of the best validation."""
        return why not in ("diverged", "no better") and (self.recipe.keep == "last" or self.state.best_psnr is None)

    def _trained(self, why: str) -> Trained:
        s = self.state
        kept = s.step if self.keeps_last(why) else s.best_step
        return Trained(s.step, kept, s.best_psnr, why, s.before, s.after)

    def _step(self, drawn: _Drawn) -> tuple[float, list[Message]]:
        """One step, with smaller parts if memory runs out.

        Raises:
            _StoppedError: if `cancel` was set.
            TrainingError: if not even one patch fits into memory.
        """
        said: list[Message] = []
        while True:
            try:
                return self._try_step(drawn), said
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
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
            self.state.micro_batch //= 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            said.append(Message(f"memory ran out: now {self.state.micro_batch} patches at once, gradients accumulated"))

    def _try_step(self, drawn: _Drawn) -> float:
        s, recipe = self.state, self.recipe
        numbers = range(self.ranks.rank, recipe.batch, self.ranks.count)
        batch = make_batch(*drawn, recipe, s.step, numbers, self.device)
        for group in s.optimiser.param_groups:
            group["lr"] = recipe.rate_at(s.step)
        s.optimiser.zero_grad(set_to_none=True)
        loss = self._accumulate(batch)
        if not isfinite(loss):
            return loss
        norm = nn.utils.clip_grad_norm_(s.network.parameters(), recipe.clip or inf)
        if not isfinite(norm):  # it would be in the optimiser's moments for ever
            return float(norm)
        s.optimiser.step()
        update_average(s, recipe.ema)
        s.step += 1
        return loss

    def _accumulate(self, batch: Batch) -> float:
        """Gradients of the mean loss over the whole batch, part by part; returns that mean."""
        counted = torch.ones_like(batch.given[:, :1]) if batch.counted is None else batch.counted.float()
        count = self.ranks.total(counted.sum() * batch.wanted.shape[1])
        total = batch.given.new_zeros(())
        parts = list(range(0, len(batch.given), self.state.micro_batch))
        for at in parts:
            if self.ranks.any(self.cancel.is_set(), self.device):
                raise _StoppedError
            part = slice(at, at + self.state.micro_batch)
            with self._unsynchronised(at != parts[-1]):
                summed = self._loss(batch, part, at)
                # Gradients are averaged over the processes, and the count is of all of them.
                (summed * (self.ranks.count / count.clamp(min=1))).backward()  # type: ignore[no-untyped-call]
            total += summed.detach()
        return float(self.ranks.total(total) / count.clamp(min=1))

    def _loss(self, batch: Batch, part: slice, at: int) -> Tensor:
        tokens = token_mask(self.recipe, self.state.step, at * self.ranks.count + self.ranks.rank, self.device)
        bfloat16 = self.recipe.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16):
            out = self._model(batch.given[part], tokens)
        where = None if batch.counted is None else batch.counted[part]
        return loss_sum(self.recipe.loss, out.float(), batch.wanted[part], where)[0]

    def _unsynchronised(self, wanted: bool) -> AbstractContextManager[None]:
        """Only the last part of a batch exchanges gradients between processes."""
        model = self._model
        return model.no_sync() if wanted and isinstance(model, DistributedDataParallel) else nullcontext()

    def _validate(self) -> Iterator[Event]:
        assert self.validator is not None
        network = self.state.average.eval()
        scores = self.validator.score(network, self.recipe.inference_mask, self.device, self.cancel)
        if scores is None:  # whoever cancelled will not wait for it; the next run validates again
            return
        self.state.validated = self.state.step
        if self.state.step == 0:
            self.state.before = scores.psnr
        best = self.state.keep_best(scores.psnr)
        if self.recipe.keep == "last":
            self.state.after = scores.psnr
        yield Validated(self.state.step, scores.psnr, scores.ssim, best, scores.picture)

    def _restore_best(self) -> None:
        for network in (self.state.network, self.state.average):
            network.load_state_dict(self.state.best)
        self.state.optimiser.state.clear()

    def _save(self) -> Iterator[Event]:
        if self.checkpoint is None or not self.ranks.first:
            return
        self.state.save(self.checkpoint, self.identity)
        yield Saved(self.state.step)


class _Reader:
    """Reads the patches of the next steps while the network computes."""

    def __init__(self, pool: Pool, recipe: TrainingRecipe, ranks: Ranks) -> None:
        self._pool, self._recipe = pool, recipe
        self._numbers = range(ranks.rank, recipe.batch, ranks.count)
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="masked-denoiser-patches")
        self._coming: deque[tuple[int, Future[_Drawn]]] = deque()

    def get(self, step: int, cancel: threading.Event | None = None) -> _Drawn:
        """The patches of a step; those of the steps after it are begun.

        Raises:
            _StoppedError: if `cancel` is set while a slow disk is waited for.
        """
        while self._coming and self._coming[0][0] != step:
            self._coming.popleft()[1].cancel()
        next_one = self._coming[-1][0] + 1 if self._coming else step
        for number in range(next_one, min(step + _AHEAD, self._recipe.steps)):
            future = self._threads.submit(batch_of, self._pool, self._numbers, self._recipe.seed, number)
            self._coming.append((number, future))
        coming = self._coming.popleft()[1]
        while cancel is not None:
            try:
                return coming.result(timeout=_LOOK)
            except TimeoutError:
                if cancel.is_set():
                    raise _StoppedError from None
        return coming.result()

    def close(self) -> None:
        """Drops what was read ahead."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for _, future in self._coming:
            future.cancel()


def _due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0
