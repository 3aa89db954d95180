"""What a training tells those who listen: the dock and the command line show these, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from masked_denoiser.messages import readable_time


@dataclass(frozen=True)
class Stepped:
    """A step was made.

    Attributes:
        step, steps: steps made, and to make in all.
        loss: of this step.
        rate: learning rate of this step.
        done: steps of this run alone; an earlier, interrupted run's are not among them.
        seconds: time that this run has taken.
        seconds_to_go: of a training by the clock; None of one by steps.
        seconds_in_all: how long such a training is.
    """

    step: int
    steps: int
    loss: float
    rate: float
    done: int
    seconds: float
    seconds_to_go: float | None = None
    seconds_in_all: float = 0.0

    @property
    def seconds_left(self) -> float:
        """Estimate of the time left."""
        if self.seconds_to_go is not None:
            return self.seconds_to_go
        return (self.steps - self.step) * self.seconds / max(1, self.done)

    def __str__(self) -> str:
        speed = self.done / self.seconds if self.seconds else 0.0
        return (
            f"step {self.step}{self._of}, {speed:.3g} steps/s, loss {self.loss:.4f}, "
            f"{readable_time(self.seconds_left)} left"
        )

    @property
    def _of(self) -> str:
        return f" of {self.steps}" if self.seconds_to_go is None else ""


@dataclass(frozen=True, eq=False)
class Validated:
    """The held-out patches were denoised.

    Attributes:
        step: steps made.
        psnr, ssim: by noise, the trained one first; in the way "noisy" of hidden pixels against the noisy image.
        best: whether no validation before was better on the trained noise.
        picture: [height, width, 3] uint8: noisy, denoised, truth side by side, a row for each of a few patches.
    """

    step: int
    psnr: dict[str, float]
    ssim: dict[str, float]
    best: bool
    picture: np.ndarray[Any, Any]

    def __str__(self) -> str:
        scores = ", ".join(f"{noise} {value:.2f} dB" for noise, value in self.psnr.items())
        return f"validation at step {self.step}: {scores}{' (best so far)' if self.best else ''}"


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on disk."""

    step: int


@dataclass(frozen=True)
class Trained:
    """The training has ended.

    Attributes:
        step: steps made.
        best_step: the step whose weights are kept.
        best_psnr: their PSNR on the held-out patches with the trained noise; None without validation.
        why: "finished", "stopped" on request, "no better" for long, or "diverged".
        before: PSNR by noise before the first step.
        after: PSNR by noise of the weights that are kept.
    """

    step: int
    best_step: int
    best_psnr: float | None
    why: str
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
