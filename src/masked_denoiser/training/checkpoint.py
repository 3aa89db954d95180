"""State of a training, and the checkpoint file from which an interrupted training is resumed."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from masked_denoiser.atomic_file import replaced_atomically
from masked_denoiser.errors import ModelError, TrainingError
from masked_denoiser.models.checkpoint import read_checkpoint
from masked_denoiser.models.file import Model, check_weights
from masked_denoiser.network.ushape_config import UConfig
from masked_denoiser.training.recipe import TrainingRecipe

_FORMAT = 2

#: Pixels of a micro-batch of a U-shaped network on a CPU: enough to keep it busy, few enough to stop within seconds.
_CPU_PIXELS_U = 8 * 128 * 128
#: The same of a Swin transformer, which takes ten times as long per pixel.
_CPU_PIXELS_SWIN = 4 * 64 * 64
Weights = dict[str, Tensor]


@dataclass(eq=False)
class TrainState:
    """State of a training between two steps.

    Attributes:
        network: the network that is trained.
        average: network with the moving average of the weights, which is used for validation and the trained model.
        optimiser: optimiser with its moments.
        micro_batch: patches per forward pass; reduced after memory ran out.
        step: completed steps.
        seconds: their duration over all runs.
        best: weights of the best validation, on the CPU; the initial ones before the first validation.
        best_step: step of these weights.
        best_psnr: PSNR of these weights on the trained noise; None before the first validation.
        worse: validations since the best one.
        slowed: factor of the learning rate, halved each time the training diverged.
        validated: last validated step; -1 before the first validation.
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

    def keep_best(self, psnr: dict[str, float], tolerance: float = 0.0) -> bool:
        """Keep the average's weights if they are the best so far, and return whether they are.

        Args:
            psnr: PSNR by noise, of which the first decides.
            tolerance: smallest reduction of the mean squared error for which the initial weights are given up.
        """
        score = next(iter(psnr.values()))
        if not self._improves(score, 0.0 if self.best_step else tolerance):
            self.worse += 1
            return False
        self.best, self.best_step, self.best_psnr, self.worse = weights_of(self.average), self.step, score, 0
        self.after = psnr
        return True

    def _improves(self, psnr: float, tolerance: float) -> bool:
        """Return whether a PSNR is better than the best one, with an error that is smaller by the tolerance."""
        best = self.best_psnr
        if best is None or isnan(best):
            return True
        return psnr > best and 10 ** (-best / 10) - 10 ** (-psnr / 10) >= tolerance

    def save(self, path: Path, identity: str) -> None:
        """Write a checkpoint atomically.

        Args:
            path: the file.
            identity: text that must be equal when the checkpoint is loaded.
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
        with replaced_atomically(path) as temporary, temporary.open("wb") as file:
            torch.save(content, file)  # given a path, torch writes its name into the file

    def load(self, path: Path, identity: str) -> None:
        """Load a checkpoint.

        Raises:
            TrainingError: if it is damaged or belongs to another training.
        """
        try:
            content: dict[str, Any] = read_checkpoint(path)
            if content["identity"] != identity:
                raise TrainingError(
                    f"{path} belongs to another training ({_difference(str(content['identity']), identity)}); "
                    "use the same settings and images, or another output"
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
            raise TrainingError(f"checkpoint {path} is damaged ({error}); restart the training") from error

    def apply_changed_settings(self, recipe: TrainingRecipe) -> None:
        """Apply settings that may change on resuming: a smaller micro-batch, and patience that had run out."""
        if recipe.micro_batch:
            self.micro_batch = min(self.micro_batch, recipe.micro_batch)
        if recipe.patience and self.worse >= recipe.patience:
            self.worse = 0


_NUMBERS = (
    *("step", "seconds", "micro_batch", "best_step", "best_psnr", "worse", "slowed", "validated"),
    *("before", "after", "last"),
)


def read_step(path: Path) -> int:
    """Return the number of steps of a checkpoint; 0 if there is none.

    Raises:
        TrainingError: if it is damaged.
    """
    if not path.is_file():
        return 0
    try:
        return int(read_checkpoint(path)["step"])
    except (LookupError, TypeError, ValueError, ModelError) as error:
        raise TrainingError(f"checkpoint {path} is damaged ({error}); restart the training") from error


def read_identity(path: Path) -> str:
    """Return the identity of the training that a checkpoint belongs to.

    Raises:
        TrainingError: if it is damaged.
    """
    try:
        return str(read_checkpoint(path)["identity"])
    except (LookupError, TypeError, ModelError) as error:
        raise TrainingError(f"checkpoint {path} is damaged ({error}); restart the training") from error


def new_state(start: Model, recipe: TrainingRecipe, device: torch.device) -> TrainState:
    """Return the state of a new training, which starts from the weights of a model."""
    network = start.build().to(device)
    average = copy.deepcopy(network).requires_grad_(False)
    kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    # Fused: one kernel for all weights, which can also skip a step whose gradient is not finite; see `TrainingStep`.
    optimiser = kind(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay, fused=True)
    pixels = _CPU_PIXELS_U if isinstance(start.card.architecture, UConfig) else _CPU_PIXELS_SWIN
    default = max(1, pixels // recipe.patch**2) if device.type == "cpu" else recipe.batch
    micro_batch = min(recipe.micro_batch or default, recipe.batch)
    return TrainState(network.train(), average, optimiser, micro_batch, best=weights_of(average))


@torch.no_grad()
def update_average(state: TrainState, decay: float) -> None:
    """Move the average towards the network, with a smaller decay in the first steps."""
    decay = min(decay, (1 + state.step) / (10 + state.step))
    averages, weights = ([p.detach() for p in network.parameters()] for network in (state.average, state.network))
    torch._foreach_lerp_(averages, weights, 1 - decay)


def weights_of(network: nn.Module) -> Weights:
    """Return a copy of a network's weights on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _checked(name: str, value: Any) -> Any:
    """Return a value of a checkpoint: a number, or PSNR by noise.

    Raises:
        TypeError: if it does not have the type in which it was saved.
    """
    is_float = name in ("seconds", "best_psnr", "slowed")
    expected = dict if name in ("before", "after", "last") else int | float | None if is_float else int
    if not isinstance(value, expected) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r:.80}")
    return value


def _difference(saved: str, current: str) -> str:
    """Return the first line that differs between two identities."""
    pairs = zip(saved.splitlines(), current.splitlines(), strict=False)
    before, now = next(((a, b) for a, b in pairs if a != b), ("fewer images", "more"))
    return f"{before[:80]!r} before, {now[:80]!r} now"
