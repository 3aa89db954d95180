"""Events of a running job, which the docks and the command line show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from masked_denoiser.images.planes import Plane
from masked_denoiser.images.readers.damage import DamagedRegion
from masked_denoiser.jobs.pipeline.prefetch import StageTimings
from masked_denoiser.messages import Message, readable_time

#: Message on an image with values that cannot be denoised.
NONFINITE_MESSAGE = Message("the image contains NaN or infinite values, which are unchanged in the result")

#: Share of the time that the network waits for the disk from which on the disk is reported as a bottleneck.
_BOTTLENECK_SHARE = 0.2

#: Waiting time in seconds below which no bottleneck is reported.
_BOTTLENECK_SECONDS = 3.0


@dataclass(frozen=True)
class Progress:
    """Progress of a job.

    Attributes:
        done, total: tiles over all planes; `done` includes those of an earlier, interrupted run.
        pixels: pixels denoised by this run.
        pixels_left: pixels that remain.
        seconds: duration of this run so far.
    """

    done: int
    total: int
    pixels: int
    pixels_left: int
    seconds: float

    @property
    def rate(self) -> float:
        """Megapixels per second of this run; 0 before the first tile."""
        return self.pixels / 1e6 / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the remaining time; None before the first tile."""
        return self.pixels_left / 1e6 / self.rate if self.rate > 0 else None

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", {readable_time(self.seconds_left)} left"
        return f"{self.done} of {self.total} tiles, {self.rate:.3g} megapixels/s{left}"


@dataclass(frozen=True, eq=False)
class TileDone:
    """Core that has been written: its plane, its top left pixel and its pixels [channels, h, w]."""

    plane: Plane
    y: int
    x: int
    pixels: np.ndarray[Any, Any]
    progress: Progress


@dataclass(frozen=True)
class Finishing:
    """Completion of the output, after all tiles: the sink builds its pyramid and renames the output.

    Attributes:
        share: fraction of that which is done, 0 to 1.
    """

    share: float = 0.0

    def __str__(self) -> str:
        return "writing the pyramid" + (f", {int(100 * self.share)} %" if self.share else "")


@dataclass(frozen=True)
class Finished:
    """End of a job whose output is complete.

    Attributes:
        progress: final progress.
        timings: times of the stages.
        skipped: number of tiles that were copied unchanged as background.
        skips_background: whether skipping background was requested.
        damage: descriptions of damaged regions of the input; they are not denoised, and zero where unreadable.
    """

    progress: Progress
    timings: StageTimings = field(default_factory=StageTimings)
    skipped: int = 0
    skips_background: bool = False
    damage: tuple[str, ...] = ()

    @property
    def bottleneck(self) -> str:
        """Message on a disk that delayed the network; empty if none did."""
        t = self.timings
        total = t.reading + t.computing + t.writing
        # The time of the disk only, as far as the network waited for it: the rest of a stage is computation. The
        # writing thread also waits for the GPU, and while it does so the disk is fast enough.
        waiting = {"reading": min(t.reading, t.reads), "writing": min(t.writing, t.writes) - t.device}
        stage, seconds = max(waiting.items(), key=lambda pair: pair[1])
        if seconds < max(_BOTTLENECK_SHARE * total, _BOTTLENECK_SECONDS):
            return ""
        return (
            f"{stage} was the bottleneck: the network waited for it {seconds / total:.0%} of the time; a faster or "
            "local disk would help more than a faster processor"
        )


@dataclass(frozen=True)
class Cancelled:
    """End of a job that was cancelled between two tiles; finished groups of tiles are kept."""

    progress: Progress


def damage_message(region: DamagedRegion) -> Message:
    """Return the message on a region that is unreadable, or borders on what is."""
    return Message(f"damaged region, or next to one, not denoised and empty where it cannot be read: {region}")


Event = Message | Progress | TileDone | Finishing | Finished | Cancelled
