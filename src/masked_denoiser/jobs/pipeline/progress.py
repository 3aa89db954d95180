"""Progress of a running job: counts of tiles and pixels."""

from __future__ import annotations

import time
from collections.abc import Iterable

from masked_denoiser.jobs.pipeline.events import Progress
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.region import Region
from masked_denoiser.jobs.storage.journal_records import GroupId
from masked_denoiser.tiling.plan import Tile


class ProgressTracker:
    """Counter of tiles and pixels; the work of an earlier run counts as done but not for the rate.

    Attributes:
        skipped: number of tiles that were copied unchanged as background.
        damage: descriptions of unreadable regions.
    """

    def __init__(self, job: Job, done: Iterable[GroupId], region: Region | None = None) -> None:
        plan, groups = job.plan, job.groups
        planes = sum(1 for plane in job.planes if region is None or region.contains(plane))
        tiles = region.tiles(plan) if region else plan
        area = sum(map(_area, tiles)) if region else plan.size[0] * plan.size[1]
        earlier = [groups[group] for _, group in done]
        self._done = sum(len(group.rows) * len(group.columns) for group in earlier)
        self._total = planes * len(tiles)
        self._pixels, self._pixels_left = 0, planes * area - sum(group.area for group in earlier)
        self._saved = (self._done, self._pixels, self._pixels_left)
        self._start = time.monotonic()
        self.skipped = 0
        self.damage: tuple[str, ...] = ()

    def add(self, tiles: Iterable[Tile], skipped: int = 0, damage: tuple[str, ...] = ()) -> None:
        """Add tiles that have been computed."""
        self.skipped += skipped
        self.damage += damage
        for tile in tiles:
            self._done += 1
            self._pixels += _area(tile)
            self._pixels_left -= _area(tile)

    def mark_saved(self) -> None:
        """Record that all computed tiles are on disk."""
        self._saved = (self._done, self._pixels, self._pixels_left)

    def progress(self) -> Progress:
        """Return the progress of the computation."""
        return Progress(self._done, self._total, self._pixels, self._pixels_left, self._seconds)

    def saved_progress(self) -> Progress:
        """Return the progress that remains after a cancellation: complete groups of tiles."""
        done, pixels, pixels_left = self._saved
        return Progress(done, self._total, pixels, pixels_left, self._seconds)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._start


def _area(tile: Tile) -> int:
    return len(tile.core[0]) * len(tile.core[1])
