"""Losses and scores of a running training."""

from __future__ import annotations

from dataclasses import dataclass, field

from masked_denoiser.training.events import Stepped, Validated

#: Points of the loss curve above which neighbours are averaged.
_MAX_POINTS = 2000


@dataclass
class TrainingHistory:
    """Losses and scores of a training.

    Attributes:
        steps, losses: points of the loss curve, each the mean of one or several steps.
        psnr: steps of the validations and PSNR in dB, by noise; the trained noise comes first.
    """

    steps: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    psnr: dict[str, dict[int, float]] = field(default_factory=dict)

    def add_step(self, event: Stepped) -> None:
        """Add the loss of a step."""
        self.steps.append(float(event.step))
        self.losses.append(event.loss)
        if len(self.steps) > _MAX_POINTS:
            self.steps = _average_pairs(self.steps)
            self.losses = _average_pairs(self.losses)

    def add_validation(self, event: Validated) -> None:
        """Add the scores of a validation, unless this step has been validated before."""
        for noise, value in event.psnr.items():
            self.psnr.setdefault(noise, {}).setdefault(event.step, value)


def _average_pairs(values: list[float]) -> list[float]:
    return [(a + b) / 2 for a, b in zip(values[::2], values[1::2], strict=False)]
