"""All that an interrupted training needs to go on, and its checkpoint on disk."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from masked_denoiser.errors import TrainingError
from masked_denoiser.models.checkpoint import read_checkpoint
from masked_denoiser.models.file import Model, check_weights
from masked_denoiser.network.ushape_config import UConfig
from masked_denoiser.training.recipe import TrainingRecipe

_FORMAT = 2

#: Pixels at once on a CPU, of a U and of a Swin transformer, which takes ten times as long for each: enough to keep it
#: busy, few enough for Stop to answer within a second or two.
_PIXELS_OF_U, _PIXELS_OF_SWIN = 8 * 128 * 128, 4 * 64 * 64
Weights = dict[str, Tensor]


@dataclass(eq=False)
class TrainState:
    """A training between two steps.

    Attributes:
        network: what learns.
        average: the moving average of its weights, which is what is kept in the end.
        optimiser: with its moments.
        step: steps made.
        seconds: time they took, over all runs.
        micro_batch: patches at once; smaller after memory ran out.
        best: weights of the best validation, on the CPU; those of the beginning before the first.
        best_step: the step they are of.
        best_psnr: on the trained noise; None before the first validation.
        worse: validations since then.
        slowed: factor of the learning rate, halved each time the training diverged.
        validated: the step that was validated last; -1 for none.
        before, after, last: PSNR by noise before the first step, of the best weights, and of the last validation.
    """

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    micro_batch: int
    step: int = 0
    seconds: float = 0.0
    best: Weights = field(default_factory=dict)
    best_step: int = 0
    best_psnr: float | None = None
    worse: int = 0
    slowed: float = 1.0
    validated: int = -1
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)

    def keep_best(self, psnr: dict[str, float]) -> bool:
        """Keeps the average's weights if they are the best so far, by the first of these figures."""
        score = next(iter(psnr.values()))
        if self.best_psnr is not None and not (score > self.best_psnr or isnan(self.best_psnr)):
            self.worse += 1
            return False
        self.best, self.best_step, self.best_psnr, self.worse = weights_of(self.average), self.step, score, 0
        self.after = psnr
        return True

    def save(self, path: Path, identity: str) -> None:
        """Writes a checkpoint whole or not at all.

        Args:
            path: the file.
            identity: what must be the same when it is read again.
        """
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        content = {
            "format": _FORMAT,
            "identity": identity,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
            **numbers,
        }
        making = path.with_name(f"{path.name}.creating")
        with making.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        making.replace(path)

    def load(self, path: Path, identity: str) -> None:
        """Goes back to a checkpoint.

        Raises:
            TrainingError: if it is damaged, or of another training.
        """
        try:
            content: dict[str, Any] = read_checkpoint(path)
            if content["identity"] != identity:
                raise TrainingError(
                    f"{path} is of another training ({_difference(str(content['identity']), identity)}); "
                    "train with the same settings and images, or into another folder"
                )
            self.network.load_state_dict(content["network"])
            self.average.load_state_dict(content["average"])
            self.optimiser.load_state_dict(content["optimiser"])
            check_weights(content["best"], self.network, "the best validation")
            self.best = content["best"]
            for name in _NUMBERS:
                setattr(self, name, _checked(name, content[name]))
        except TrainingError:
            raise
        except (LookupError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise TrainingError(f"checkpoint {path} is damaged ({error}); start again") from error

    def go_on(self, recipe: TrainingRecipe) -> None:
        """What may differ from the training that was interrupted: smaller parts, and new patience if it had run out."""
        if recipe.micro_batch:
            self.micro_batch = min(self.micro_batch, recipe.micro_batch)
        if recipe.patience and self.worse >= recipe.patience:
            self.worse = 0


_NUMBERS = (
    *("step", "seconds", "micro_batch", "best_step", "best_psnr", "worse", "slowed", "validated"),
    *("before", "after", "last"),
)


def new_state(start: Model, recipe: TrainingRecipe, device: torch.device) -> TrainState:
    """Begins with a model's weights."""
    network = start.build().to(device)
    average = copy.deepcopy(network).requires_grad_(False)
    kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    # One kernel for all weights, which also leaves out a step whose gradient is no number: see `TrainingStep`.
    optimiser = kind(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay, fused=True)
    pixels = _PIXELS_OF_U if isinstance(start.card.architecture, UConfig) else _PIXELS_OF_SWIN
    at_once = max(1, pixels // recipe.patch**2) if device.type == "cpu" else recipe.batch
    micro = recipe.micro_batch or at_once
    return TrainState(network.train(), average, optimiser, min(micro, recipe.batch), best=weights_of(average))


@torch.no_grad()
def update_average(state: TrainState, decay: float) -> None:
    """Moves the average towards the network; quickly while there is little to average."""
    decay = min(decay, (1 + state.step) / (10 + state.step))
    averages, weights = ([p.detach() for p in network.parameters()] for network in (state.average, state.network))
    torch._foreach_lerp_(averages, weights, 1 - decay)


def weights_of(network: nn.Module) -> Weights:
    """A copy of a network's weights on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _checked(name: str, value: Any) -> Any:
    """A number, or PSNR by noise, in the type that it was saved in.

    Raises:
        TypeError: if it is of another.
    """
    real = name in ("seconds", "best_psnr", "slowed")
    wanted = dict if name in ("before", "after", "last") else int | float | None if real else int
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r:.80}")
    return value


def _difference(then: str, now: str) -> str:
    """The first line that differs between two identities."""
    pairs = zip(then.splitlines(), now.splitlines(), strict=False)
    was, is_ = next(((a, b) for a, b in pairs if a != b), ("fewer images", "more"))
    return f"{was[:80]!r} was, {is_[:80]!r} is"
