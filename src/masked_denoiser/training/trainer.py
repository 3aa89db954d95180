"""Trainer: runs steps, validations and checkpoints, and reports them as events."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from subprocess import SubprocessError

import torch
from torch import Tensor

from masked_denoiser.inference.compilation import compile_layers, release_layers
from masked_denoiser.messages import Message
from masked_denoiser.training.checkpoint import TrainState, Weights, weights_of
from masked_denoiser.training.data.batches import Batch, BatchMaker
from masked_denoiser.training.data.patch_source import PatchesCancelledError, PatchSource
from masked_denoiser.training.data.patches import PatchSampler
from masked_denoiser.training.distributed import ProcessGroup
from masked_denoiser.training.events import HIDDEN_PIXELS, Saved, Stepped, Trained, Validated
from masked_denoiser.training.recipe import TrainingRecipe
from masked_denoiser.training.step import StepCancelledError, TrainingStep
from masked_denoiser.training.validation import Validator

Event = Message | Stepped | Validated | Saved | Trained

#: Steps between two reads of the loss on a GPU, each of which waits for the device.
_GPU_LOSS_INTERVAL = 50
#: Seconds between two checkpoints where the recipe sets no interval.
_SAVE_SECONDS = 60.0
#: Consecutive losses of NaN or infinity that count as divergence; single such steps are skipped by the optimiser.
_DIVERGENCE_LOSSES = 3
#: Number of times a diverging training is restored from its last snapshot.
_MAX_RESTORES = 3


@dataclass
class Trainer:
    """Trainer of a network.

    Attributes:
        recipe: how to train.
        state: network, optimiser and progress, new or from a checkpoint.
        sampler: sampler of the training patches, which records skipped images.
        patches: source of patches.
        device: device of the network.
        validator: None trains without validation.
        checkpoint: file for checkpoints; None writes none.
        identity: text that must be equal to resume from a checkpoint.
        ranks: this process in the group of training processes.
        cancel: may be set in any thread; the training stops before the next micro-batch and saves a checkpoint.
        compile: whether to compile layers in the first step; without a compiler they run uncompiled.
    """

    recipe: TrainingRecipe
    state: TrainState
    sampler: PatchSampler
    patches: PatchSource
    device: torch.device
    validator: Validator | None = None
    checkpoint: Path | None = None
    identity: str = ""
    ranks: ProcessGroup = field(default_factory=ProcessGroup)
    cancel: threading.Event = field(default_factory=threading.Event)
    compile: bool = False

    def run(self) -> Iterator[Event]:
        """Train and yield events, the last of which is `Trained`.

        The last checkpoint is that of the last complete step, also if an error ends the run.
        """
        self._messages: list[str] = []
        self._step = TrainingStep(self.recipe, self.state, self.device, self.ranks, self.cancel, self._messages.append)
        noise_map = bool(getattr(self.state.network.config, "noise_map", False))
        self._batches = BatchMaker(self.recipe, self.device, noise_map)
        self._started, self._prior_seconds = time.monotonic(), self.state.seconds
        self._snapshot, self._last_save = weights_of(self.state.average), self._started
        self._snapshot_step, completed = self.state.step, False
        self._compile_seconds, self._nonfinite_losses = 0.0, 0
        try:
            reason = yield from self._steps()
            if reason == "diverged":
                self._keep_snapshot_or_best()
                yield Message(
                    f"the training diverged {_MAX_RESTORES + 1} times, the last time at step {self.state.step}: "
                    f"stopped, and kept the weights of step {self.state.best_step}; try a lower learning rate"
                )
            yield from self._save()
            completed = True
            yield self._trained(reason)
        finally:
            self.patches.close()
            if not completed:
                self._save_after_error()

    def _steps(self) -> Generator[Event, None, str]:
        """Make steps, validations and checkpoints until the training ends, and return the reason."""
        first = self.state.step
        validation_seconds = 0.0
        reported: set[str] = set()
        while True:
            if self._validation_due():
                started = time.monotonic()
                yield from self._validate()
                validation_seconds += time.monotonic() - started
            if (reason := self._end_reason()) is not None:
                return reason
            try:
                loss, rate = self._next_step()
            except (StepCancelledError, PatchesCancelledError):
                return "stopped"
            yield from self._step_messages(reported)
            seconds = self._prior_seconds + time.monotonic() - self._started
            self.state.seconds = self.ranks.broadcast(seconds, self.device)
            if not self._loss_read_due():
                continue
            value = float(loss)
            yield self._stepped(value, rate, self.state.step - first, validation_seconds)
            self._nonfinite_losses = 0 if isfinite(value) else self._nonfinite_losses + 1
            if self._nonfinite_losses == _DIVERGENCE_LOSSES:
                if self.state.slowed <= 0.5**_MAX_RESTORES:
                    return "diverged"
                yield self._restore_snapshot()
            elif not self._nonfinite_losses and self.ranks.any(self._save_due(), self.device):
                yield from self._save()

    def _stepped(self, loss: float, rate: float, done: int, validation_seconds: float) -> Stepped:
        """Return the event of a step; the time of validations does not count towards the speed of steps."""
        seconds = self.state.seconds - self._prior_seconds - validation_seconds
        limit = 60 * self.recipe.minutes
        left = max(0.0, limit - self.state.seconds) if limit else None
        return Stepped(self.state.step, self.recipe.steps, loss, rate, done, seconds, left, limit)

    def _next_step(self) -> tuple[Tensor, float]:
        """Make a step, and return its loss, on the device, and its learning rate."""
        step, progress = self.state.step, self._progress()
        if self.recipe.minutes:  # processes compile for different times, but need equal learning rates
            progress = self.ranks.broadcast(progress, self.device)
        rate = self.recipe.rate_at(progress) * self.state.slowed
        patches = self.patches.get(step, self.cancel if self.ranks.count == 1 else None)
        batch = self._batches.make(patches, step, progress).part(slice(self.ranks.rank, None, self.ranks.count))
        if not self.compile:
            return self._step(batch, rate, progress), rate
        self.compile = False
        return self._compile_and_step(batch, rate, progress), rate

    def _compile_and_step(self, batch: Batch, rate: float, progress: float) -> Tensor:
        """Compile the layers and make the first step; make it with uncompiled layers where compiling fails."""
        started = time.monotonic()
        try:
            compile_layers(self.state.network, dynamic=False)
            return self._step(batch, rate, progress)
        except (RuntimeError, OSError, ImportError, SubprocessError) as error:  # of compilers
            release_layers(self.state.network)
            self._messages.append(f"training without compiled layers ({type(error).__name__}: {str(error)[:200]})")
            return self._step(batch, rate, progress)
        finally:
            self._compile_seconds = time.monotonic() - started

    def _progress(self) -> float:
        """Return the completed share of the training, 0 to 1; by steps, at the middle of the next one."""
        if self.recipe.minutes:
            # Compiling must not use up the time in which the learning rate rises.
            total = max(60 * self.recipe.minutes - self._compile_seconds, 1e-9)
            return min(1.0, max(0.0, self.state.seconds - self._compile_seconds) / total)
        return min(1.0, (self.state.step + 0.5) / self.recipe.steps)

    def _finished(self) -> bool:
        if self.recipe.minutes:
            return self.state.seconds >= 60 * self.recipe.minutes
        return self.state.step >= self.recipe.steps

    def _end_reason(self) -> str | None:
        """Return why the training ends before the next step; None if it does not."""
        if self.ranks.any(self._validation_due(), self.device):  # cancelled during the validation
            return "stopped"
        if self.ranks.any(self._patience_exhausted(), self.device):
            return "no better"
        return "finished" if self.ranks.any(self._finished(), self.device) else None

    def _loss_read_due(self) -> bool:
        """Return whether to wait for the device and read the loss, which all processes do at the same steps."""
        interval = _GPU_LOSS_INTERVAL if self.device.type == "cuda" else 1
        intervals = (interval, self.recipe.validate_every, self.recipe.save_every)
        save_due = self.ranks.count == 1 and self._save_due()
        due = any(_due(self.state.step, every) for every in intervals)
        return bool(self._nonfinite_losses) or self._finished() or save_due or due

    def _validation_due(self) -> bool:
        """Return whether this step needs a validation that neither this run nor an earlier one has completed."""
        step, recipe = self.state.step, self.recipe
        due = step == 0 or self._finished() or _due(step, recipe.validate_every)
        return due and self.validator is not None and self.ranks.first and self.state.validated != step

    def _save_due(self) -> bool:
        if self.recipe.save_every:
            return _due(self.state.step, self.recipe.save_every)
        return time.monotonic() - self._last_save > _SAVE_SECONDS

    def _patience_exhausted(self) -> bool:
        return bool(self.recipe.patience) and self.state.worse >= self.recipe.patience

    def keeps_last(self, reason: str) -> bool:
        """Return whether the average of the last weights is kept, rather than the weights of the best validation."""
        return reason not in ("diverged", "no better") and (self.recipe.keep == "last" or self.state.best_psnr is None)

    def _trained(self, reason: str) -> Trained:
        s = self.state
        kept, after = (s.step, self._last_scores()) if self.keeps_last(reason) else (s.best_step, s.after)
        before = {noise: value for noise, value in s.before.items() if noise != HIDDEN_PIXELS}  # not comparable
        return Trained(s.step, kept, next(iter(after.values()), None), reason, before, after)

    def _last_scores(self) -> dict[str, float]:
        """Return the PSNR of the last weights by noise, from one more validation if they were not validated.

        The state is not changed, so that a resumed training ends as an uninterrupted one.
        """
        state = self.state
        if self.validator is None or not self.ranks.first or state.validated in (state.step, -1):
            return state.last
        scores = self.validator.score(state.average.eval(), self.recipe.inference_mask, self.device)
        assert scores is not None  # it cannot be cancelled
        return scores.psnr

    def _step_messages(self, reported: set[str]) -> Iterator[Message]:
        """Yield the messages of a step, and one for each image of which a patch was skipped for the first time."""
        yield from (Message(text) for text in self._messages)
        self._messages.clear()
        for name in sorted(self.sampler.skipped - reported):
            reported.add(name)
            yield Message(f"{name} contains NaN or infinite values; patches with such values are skipped")

    def _validate(self) -> Iterator[Event]:
        assert self.validator is not None
        network = self.state.average.eval()
        scores = self.validator.score(network, self.recipe.inference_mask, self.device, self.cancel)
        if scores is None:  # cancelled; the next run repeats this validation
            return
        self.state.validated = self.state.step
        if self.state.step == 0:
            self.state.before = scores.psnr
        self.state.last = scores.psnr
        best = self.state.keep_best(scores.psnr, scores.tolerance)
        yield Validated(self.state.step, scores.psnr, scores.ssim, best, scores.picture)

    def _restore(self, weights: Weights) -> None:
        for network in (self.state.network, self.state.average):
            network.load_state_dict(weights)
        self.state.optimiser.state.clear()

    def _keep_snapshot_or_best(self) -> None:
        """Restore the best weights after a divergence, or the last snapshot if later weights were not validated."""
        state = self.state
        if not self.recipe.validate_every and self._snapshot_step > state.best_step:
            state.best, state.best_step, state.after = self._snapshot, self._snapshot_step, {}
        self._restore(state.best)

    def _save_after_error(self) -> None:
        """Write a checkpoint of the last complete step, if weights and disk allow it; the error itself is raised."""
        if self._nonfinite_losses or self.state.step == self._snapshot_step:
            return
        with suppress(OSError, RuntimeError):
            list(self._save())

    def _restore_snapshot(self) -> Message:
        self._restore(self._snapshot)
        self.state.slowed, self._nonfinite_losses = self.state.slowed * 0.5, 0
        return Message(
            f"the loss became NaN or infinite at step {self.state.step}: restored the last snapshot, and multiplied "
            f"the learning rate by {self.state.slowed:g}"
        )

    def _save(self) -> Iterator[Event]:
        self._snapshot, self._snapshot_step = weights_of(self.state.average), self.state.step
        self._last_save = time.monotonic()
        if self.checkpoint is None or not self.ranks.first:
            return
        self.state.save(self.checkpoint, self.identity)
        yield Saved(self.state.step)


def _due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0
