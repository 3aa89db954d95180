"""The figures of a training as they come, for the curves."""

from __future__ import annotations

from dataclasses import dataclass, field

from masked_denoiser.training.events import Stepped, Validated

#: Points of the loss curve that are kept; of more, neighbours are averaged.
_MOST = 2000


@dataclass
class History:
    """What the curves show.

    Attributes:
        steps, losses: the loss curve, averaged over `every` steps a point.
        validated: steps of the validations.
        psnr: by noise, one value for each validation; the trained noise comes first.
    """

    steps: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    validated: list[int] = field(default_factory=list)
    psnr: dict[str, list[float]] = field(default_factory=dict)

    def add_step(self, event: Stepped) -> None:
        """A step was made."""
        self.steps.append(float(event.step))
        self.losses.append(event.loss)
        if len(self.steps) > _MOST:
            self.steps = _halved(self.steps)
            self.losses = _halved(self.losses)

    def add_validation(self, event: Validated) -> None:
        """The held-out patches were denoised; a step that was validated before is not counted twice."""
        if event.step in self.validated:
            return
        self.validated.append(event.step)
        for noise, value in event.psnr.items():
            self.psnr.setdefault(noise, []).append(value)


def _halved(values: list[float]) -> list[float]:
    return [(a + b) / 2 for a, b in zip(values[::2], values[1::2], strict=False)]
