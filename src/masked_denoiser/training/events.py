"""Events of a training, which the dock and the command line show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from masked_denoiser.messages import readable_time

#: Name of the score without clean images: the PSNR against the same image with other noise, as it is estimated from the
#: measured noise. It is lower than that against the truth, and so are its differences.
ESTIMATED = "same image with other noise"
#: Name of the score where the noise is not known either: PSNR of hidden pixels against the noisy image. It prefers
#: networks that do not use a pixel for its own estimate, and does not compare a training with its original model.
HIDDEN_PIXELS = "hidden pixels"

#: Longest noise recipe in characters that is shown whole.
_MAX_NOISE_LENGTH = 80


def brief_noise(noise: str) -> str:
    """Return a noise recipe for a line of text: a long one, such as that of a general model, is cut after a space."""
    if len(noise) <= _MAX_NOISE_LENGTH:
        return noise
    start = noise[: _MAX_NOISE_LENGTH - len(" ...")]
    return f"{start.rpartition(' ')[0] or start} ..."


@dataclass(frozen=True)
class Stepped:
    """Event after a step.

    Attributes:
        step, steps: completed steps, and total number of steps.
        loss: loss of this step.
        rate: learning rate of this step.
        done: steps of this run, without those of earlier, interrupted runs.
        seconds: duration of this run without validations.
        clock_seconds_left: time left of a training limited by time; None of one limited by steps.
        clock_seconds: total duration of a training limited by time.
    """

    step: int
    steps: int
    loss: float
    rate: float
    done: int
    seconds: float
    clock_seconds_left: float | None = None
    clock_seconds: float = 0.0

    @property
    def seconds_left(self) -> float:
        """Estimated time left in seconds."""
        if self.clock_seconds_left is not None:
            return self.clock_seconds_left
        return (self.steps - self.step) * self.seconds / max(1, self.done)

    def __str__(self) -> str:
        speed = self.done / self.seconds if self.seconds else 0.0
        return (
            f"step {self.step}{self._total}, {speed:.3g} steps/s, loss {self.loss:.4f}, "
            f"{readable_time(self.seconds_left)} left"
        )

    @property
    def _total(self) -> str:
        return f" of {self.steps}" if self.clock_seconds_left is None else ""


@dataclass(frozen=True, eq=False)
class Validated:
    """Event after a validation.

    Attributes:
        step: completed steps.
        psnr, ssim: scores by noise, the trained noise first; PSNR in dB. With `way` "noisy" the only score is that of
            `ESTIMATED`, or else `HIDDEN_PIXELS`.
        best: whether no earlier validation had a better score on the trained noise.
        picture: [height, width, 3] uint8: noisy, denoised and true patches side by side, a row for each of a few.
    """

    step: int
    psnr: dict[str, float]
    ssim: dict[str, float]
    best: bool
    picture: np.ndarray[Any, Any]

    def __str__(self) -> str:
        scores = ", ".join(f"{brief_noise(noise)} {value:.2f} dB" for noise, value in self.psnr.items())
        return f"validation at step {self.step}: {scores}{' (best so far)' if self.best else ''}"


@dataclass(frozen=True)
class Saved:
    """Event after a checkpoint was written."""

    step: int


@dataclass(frozen=True)
class Trained:
    """Event at the end of a training.

    Attributes:
        step: completed steps.
        best_step: step whose weights are kept.
        best_psnr: PSNR of these weights on the validation patches with the trained noise; None without validation.
        why: "finished", "stopped" on request, "no better" when patience ran out, or "diverged".
        before: PSNR by noise before the first step, without `HIDDEN_PIXELS`.
        after: PSNR by noise of the weights that are kept.
    """

    step: int
    best_step: int
    best_psnr: float | None
    why: str
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
