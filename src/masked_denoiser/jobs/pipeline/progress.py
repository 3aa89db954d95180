"""Counts tiles and pixels of a running job."""

from __future__ import annotations

import time
from collections.abc import Iterable

from masked_denoiser.jobs.pipeline.events import Progress
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.region import Region
from masked_denoiser.jobs.storage.journal import GroupId
from masked_denoiser.tiling.plan import Tile


class ProgressTracker:
    """How far a job is; what an earlier run has done counts as done but not for the rate.

    Attributes:
        skipped: tiles that were passed through as background.
        damage: places that could not be read, in words.
    """

    def __init__(self, job: Job, done: Iterable[GroupId], region: Region | None = None) -> None:
        plan, groups = job.plan, job.groups
        planes = sum(1 for plane in job.planes if region is None or region.holds(plane))
        tiles = region.tiles(plan) if region else plan
        area = sum(map(_area, tiles)) if region else plan.size[0] * plan.size[1]
        earlier = [groups[group] for _, group in done]
        self._done = sum(len(group.rows) * len(group.columns) for group in earlier)
        self._total = planes * len(tiles)
        self._pixels, self._left = 0, planes * area - sum(group.area for group in earlier)
        self._kept = (self._done, self._pixels, self._left)
        self._began = time.monotonic()
        self.skipped = 0
        self.damage: tuple[str, ...] = ()

    def add(self, tiles: Iterable[Tile], skipped: int = 0, damage: tuple[str, ...] = ()) -> None:
        """Tiles were computed."""
        self.skipped += skipped
        self.damage += damage
        for tile in tiles:
            self._done += 1
            self._pixels += _area(tile)
            self._left -= _area(tile)

    def keep(self) -> None:
        """All that was computed is on disk."""
        self._kept = (self._done, self._pixels, self._left)

    def progress(self) -> Progress:
        """Of what was computed."""
        return Progress(self._done, self._total, self._pixels, self._left, self._seconds)

    def kept(self) -> Progress:
        """Of what stays after a cancel: groups of tiles that are complete."""
        done, pixels, left = self._kept
        return Progress(done, self._total, pixels, left, self._seconds)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began


def _area(tile: Tile) -> int:
    return len(tile.core[0]) * len(tile.core[1])
