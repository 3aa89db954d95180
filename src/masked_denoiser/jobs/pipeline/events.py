"""What a running job tells those who listen: docks and the command line show these, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from masked_denoiser.images.planes import Plane
from masked_denoiser.jobs.pipeline.prefetch import StageTimings
from masked_denoiser.messages import Message, readable_time

#: A job is held up by its disk if the network waits for this share of the time.
_HELD_UP = 0.2
#: Seconds below which nobody needs to hear of it.
_WORTH_SAYING = 3.0


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        done, total: tiles over all planes; `done` counts those of an earlier, interrupted run too.
        pixels: pixels denoised by this run.
        left: pixels that remain.
        seconds: time that this run has taken.
    """

    done: int
    total: int
    pixels: int
    left: int
    seconds: float

    @property
    def rate(self) -> float:
        """Megapixels per second of this run; 0 before the first tile."""
        return self.pixels / 1e6 / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time left; None before the first tile."""
        return self.left / 1e6 / self.rate if self.rate > 0 else None

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", {readable_time(self.seconds_left)} left"
        return f"{self.done} of {self.total} tiles, {self.rate:.3g} megapixels/s{left}"


@dataclass(frozen=True, eq=False)
class TileDone:
    """A core that has just been written: its plane, its top left pixel, its pixels [channels, h, w]."""

    plane: Plane
    y: int
    x: int
    pixels: np.ndarray[Any, Any]
    progress: Progress


@dataclass(frozen=True)
class Finishing:
    """All tiles are written; the sink builds its pyramid and gives the output its final name.

    Attributes:
        share: how much of that is done, 0 to 1.
    """

    share: float = 0.0

    def __str__(self) -> str:
        return "writing the pyramid" + (f", {int(100 * self.share)} %" if self.share else "")


@dataclass(frozen=True)
class Finished:
    """The output is complete.

    Attributes:
        progress: how far the job is.
        waits: where the time went.
        skipped: tiles that were passed through as background.
        skipping: whether that was asked for.
        damage: places of the input that could not be read and were passed through, in words.
    """

    progress: Progress
    waits: StageTimings = field(default_factory=StageTimings)
    skipped: int = 0
    skipping: bool = False
    damage: tuple[str, ...] = ()

    @property
    def bottleneck(self) -> str:
        """What held the network up, for a person; empty where nothing did."""
        waits = self.waits
        total = waits.reading + waits.computing + waits.writing
        # What the disk took, as far as the network waited for it: the rest of a stage is our own arithmetic.
        # Who writes waits for a GPU, too: as long as there is something to wait for, the disk keeps up.
        writing = min(waits.writing, waits.writes) - waits.device
        held_up = {"reading": min(waits.reading, waits.reads), "writing": writing}
        slower, seconds = max(held_up.items(), key=lambda pair: pair[1])
        if seconds < max(_HELD_UP * total, _WORTH_SAYING):
            return ""
        return (
            f"{slower} was the bottleneck: the network waited for it {seconds / total:.0%} of the time; a faster disk, "
            "or one that is nearer, would help more than a faster processor"
        )


@dataclass(frozen=True)
class Cancelled:
    """Stopped between two tiles, on request; what was written stays."""

    progress: Progress


Event = Message | Progress | TileDone | Finishing | Finished | Cancelled
