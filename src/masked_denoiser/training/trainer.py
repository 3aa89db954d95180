"""The trainer: steps, validations and checkpoints, as events to those who listen."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
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
from masked_denoiser.training.events import Saved, Stepped, Trained, Validated
from masked_denoiser.training.recipe import TrainingRecipe
from masked_denoiser.training.step import StepCancelledError, TrainingStep
from masked_denoiser.training.validation import Validator

Event = Message | Stepped | Validated | Saved | Trained

#: Steps between two looks at the loss on a GPU, which has to be waited for.
_LOOK_EVERY = 50
#: Seconds between two checkpoints where the recipe does not say.
_SAVE_SECONDS = 60.0
#: A training diverges when the loss is no number so many times in a row: single steps are left out by themselves.
_IN_A_ROW = 3
#: How often a training that diverges begins again from its last snapshot.
_MOST_RETURNS = 3


@dataclass
class Trainer:
    """A training with all that it needs.

    Attributes:
        recipe: how to train.
        state: where it begins or goes on.
        pool: the images, for those that are left out of them.
        patches: what patches come from.
        device: where the network is.
        validator: None trains without validation.
        checkpoint: file for checkpoints; None keeps none.
        identity: what must be the same to go on from a checkpoint.
        ranks: this process among those that train together.
        cancel: set it from any thread; the training stops within a part of a step, and its checkpoint is saved.
        compile: whether layers are compiled first; without a compiler they run as they are.
    """

    recipe: TrainingRecipe
    state: TrainState
    pool: PatchSampler
    patches: PatchSource
    device: torch.device
    validator: Validator | None = None
    checkpoint: Path | None = None
    identity: str = ""
    ranks: ProcessGroup = field(default_factory=ProcessGroup)
    cancel: threading.Event = field(default_factory=threading.Event)
    compile: bool = False

    def run(self) -> Iterator[Event]:
        """Train to the end, and yield events meanwhile. The last one is `Trained`.

        The last checkpoint is of the last whole step, however the run ends.
        """
        self._messages: list[str] = []
        self._step = TrainingStep(self.recipe, self.state, self.device, self.ranks, self.cancel, self._messages.append)
        noise_map = bool(getattr(self.state.network.config, "noise_map", False))
        self._batches = BatchMaker(self.recipe, self.device, noise_map)
        self._began, self._earlier = time.monotonic(), self.state.seconds
        self._snapshot, self._saved = self._weights(), self._began
        self._compiling, self._bad = 0.0, 0
        try:
            why = yield from self._steps()
            if why == "diverged":
                self._restore(self.state.best)
                yield Message(
                    f"the training diverged {_MOST_RETURNS + 1} times, the last time at step {self.state.step}: "
                    f"stopped, with the weights of step {self.state.best_step}; try a lower learning rate"
                )
            yield from self._save()
            yield self._trained(why)
        finally:
            self.patches.close()

    def _steps(self) -> Generator[Event, None, str]:
        """Steps, validations and checkpoints, until there is a reason to end, which is returned."""
        first = self.state.step
        validating = 0.0  # seconds, which say nothing of how long steps take
        skipped: set[str] = set()
        while True:
            if self._validation_due():
                since = time.monotonic()
                yield from self._validate()
                validating += time.monotonic() - since
            if (why := self._end()) is not None:
                return why
            try:
                loss, rate = self._next_step()
            except (StepCancelledError, PatchesCancelledError):
                return "stopped"
            yield from self._step_messages(skipped)
            self.state.seconds = self.ranks.of_first(self._earlier + time.monotonic() - self._began, self.device)
            if not self._look_due():
                continue
            value = float(loss)
            yield self._stepped(value, rate, self.state.step - first, validating)
            self._bad = 0 if isfinite(value) else self._bad + 1
            if self._bad == _IN_A_ROW:
                if self.state.slowed <= 0.5**_MOST_RETURNS:
                    return "diverged"
                yield self._return_to_snapshot()
            elif not self._bad and self.ranks.any(self._save_due(), self.device):
                yield from self._save()

    def _stepped(self, loss: float, rate: float, done: int, validating: float) -> Stepped:
        """The event of a step, of which this run made `done`, and spent some seconds with validations."""
        seconds = self.state.seconds - self._earlier - validating
        in_all = 60 * self.recipe.minutes
        to_go = max(0.0, in_all - self.state.seconds) if in_all else None
        return Stepped(self.state.step, self.recipe.steps, loss, rate, done, seconds, to_go, in_all)

    def _next_step(self) -> tuple[Tensor, float]:
        """One step: its loss, on the device, and its learning rate.

        The first one tells whether layers can be compiled.
        """
        step, share = self.state.step, self._share()
        rate = self.recipe.rate_at(share) * self.state.slowed
        patches = self.patches.get(step, self.cancel if self.ranks.count == 1 else None)
        batch = self._batches.make(patches, step, share).part(slice(self.ranks.rank, None, self.ranks.count))
        if not self.compile:
            return self._step(batch, rate, share), rate
        self.compile = False
        return self._compiled(batch, rate, share), rate

    def _compiled(self, batch: Batch, rate: float, share: float) -> Tensor:
        """The first step, for which layers are compiled; as they are where that fails."""
        since = time.monotonic()
        try:
            compile_layers(self.state.network, dynamic=False)
            return self._step(batch, rate, share)
        except (RuntimeError, OSError, ImportError, SubprocessError) as error:  # of compilers
            release_layers(self.state.network)
            self._messages.append(f"layers are not compiled ({type(error).__name__}: {str(error)[:200]})")
            return self._step(batch, rate, share)
        finally:
            self._compiling = time.monotonic() - since

    def _share(self) -> float:
        """How much of the training is done, 0 to 1, at the middle of the next step where there are few."""
        if self.recipe.minutes:
            # Compiling would take the time in which the learning rate rises.
            whole = max(60 * self.recipe.minutes - self._compiling, 1e-9)
            return min(1.0, max(0.0, self.state.seconds - self._compiling) / whole)
        return min(1.0, (self.state.step + 0.5) / self.recipe.steps)

    def _finished(self) -> bool:
        if self.recipe.minutes:
            return self.state.seconds >= 60 * self.recipe.minutes
        return self.state.step >= self.recipe.steps

    def _end(self) -> str | None:
        """Why not to make another step; None to make it."""
        if self.ranks.any(self._validation_due(), self.device):  # stopped in the middle of it
            return "stopped"
        if self.ranks.any(self._patience_exhausted(), self.device):
            return "no better"
        return "finished" if self.ranks.any(self._finished(), self.device) else None

    def _look_due(self) -> bool:
        """Whether to wait for the device and look at the loss; all processes do at the same steps."""
        step, every = self.state.step, _LOOK_EVERY if self.device.type == "cuda" else 1
        alone = self.ranks.count == 1 and self._save_due()
        return bool(self._bad) or self._finished() or alone or any(_due(step, n) for n in self._steps_of_note(every))

    def _steps_of_note(self, every: int) -> tuple[int, ...]:
        return every, self.recipe.validate_every, self.recipe.save_every

    def _validation_due(self) -> bool:
        """Whether this step is to be validated, and has not been, perhaps because an earlier run was stopped."""
        step, recipe = self.state.step, self.recipe
        due = step == 0 or self._finished() or _due(step, recipe.validate_every)
        return due and self.validator is not None and self.ranks.first and self.state.validated != step

    def _save_due(self) -> bool:
        if self.recipe.save_every:
            return _due(self.state.step, self.recipe.save_every)
        return time.monotonic() - self._saved > _SAVE_SECONDS

    def _patience_exhausted(self) -> bool:
        return bool(self.recipe.patience) and self.state.worse >= self.recipe.patience

    def keeps_last(self, why: str) -> bool:
        """Whether the average of the last weights is kept, rather than those of the best validation."""
        return why not in ("diverged", "no better") and (self.recipe.keep == "last" or self.state.best_psnr is None)

    def _trained(self, why: str) -> Trained:
        s = self.state
        kept, after = (s.step, s.last) if self.keeps_last(why) else (s.best_step, s.after)
        return Trained(s.step, kept, next(iter(after.values()), None), why, s.before, after)

    def _step_messages(self, skipped: set[str]) -> Iterator[Message]:
        """What the step had to say, and images that were found to hold NaN."""
        yield from (Message(text) for text in self._messages)
        self._messages.clear()
        for name in sorted(self.pool.skipped - skipped):
            skipped.add(name)
            yield Message(f"{name} holds NaN or infinite values: patches with them are left out")

    def _validate(self) -> Iterator[Event]:
        assert self.validator is not None
        network = self.state.average.eval()
        scores = self.validator.score(network, self.recipe.inference_mask, self.device, self.cancel)
        if scores is None:  # whoever cancelled will not wait for it; the next run validates again
            return
        self.state.validated = self.state.step
        if self.state.step == 0:
            self.state.before = scores.psnr
        self.state.last = scores.psnr
        best = self.state.keep_best(scores.psnr)
        yield Validated(self.state.step, scores.psnr, scores.ssim, best, scores.picture)

    def _weights(self) -> Weights:
        """A copy of the average's weights."""
        return weights_of(self.state.average)

    def _restore(self, weights: Weights) -> None:
        for network in (self.state.network, self.state.average):
            network.load_state_dict(weights)
        self.state.optimiser.state.clear()

    def _return_to_snapshot(self) -> Message:
        self._restore(self._snapshot)
        self.state.slowed, self._bad = self.state.slowed * 0.5, 0
        return Message(
            f"the loss became NaN or infinite at step {self.state.step}: went back to the last snapshot, with "
            f"{self.state.slowed:g} of the learning rate"
        )

    def _save(self) -> Iterator[Event]:
        self._snapshot, self._saved = self._weights(), time.monotonic()
        if self.checkpoint is None or not self.ranks.first:
            return
        self.state.save(self.checkpoint, self.identity)
        yield Saved(self.state.step)


def _due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0
