"""Runs a job: read, network, write, tile by tile, with a journal beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from masked_denoiser.denoising.events import (
    Cancelled,
    Event,
    Finished,
    Finishing,
    Message,
    Progress,
    TileDone,
)
from masked_denoiser.denoising.job import Job
from masked_denoiser.denoising.journal import Journal, Piece
from masked_denoiser.denoising.region import Region
from masked_denoiser.denoising.treated import Network, Treated
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.sink import Sink
from masked_denoiser.images.source import Source
from masked_denoiser.noise.impulses import repair
from masked_denoiser.tiling.batches import batches
from masked_denoiser.tiling.plan import Tile

Pixels = np.ndarray[Any, Any]


@dataclass
class Pipeline:
    """A job with all that it needs to run.

    Attributes:
        job: what to do.
        source: the image.
        denoiser: the model on its device.
        sink: where results go.
        std_sink: where the standard deviation goes, float32; only if the job asks for it.
        journal: None for results in memory.
        cancel: set it from any thread to stop between two batches of tiles.
        region: the part of the job to do; None for all of it.
    """

    job: Job
    source: Source
    denoiser: Network
    sink: Sink
    std_sink: Sink | None = None
    journal: Journal | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    region: Region | None = None

    def run(self) -> Iterator[Event]:
        """Does the work, and yields events as it goes. The sinks are finished or closed at the end.

        Whoever stops iterating early must close the generator; the work done stays, as after a cancel.
        """
        clock = _Clock(self.job, self.journal.done if self.journal else set(), self.region)
        finished = False
        try:
            yield clock.progress()
            yield from self._tiles(clock)
            if self.cancel.is_set():
                yield Cancelled(clock.progress())
                return
            yield Finishing()
            self._finish()
            finished = True
            yield Finished(clock.progress())
        finally:
            if not finished:
                self._close()

    def _tiles(self, clock: _Clock) -> Iterator[Event]:
        broken = 0
        for number, plane in enumerate(self.job.planes):
            if self.region and not self.region.holds(plane):
                continue
            tiles = self.region.tiles(self.job.plan) if self.region else self.job.plan
            for group in batches(tiles, self.job.batch):
                piece = (number, group[0].number, group[-1].number)
                if self.journal and piece in self.journal.done:
                    continue
                if self.cancel.is_set():
                    return
                inputs = [self.source.read(plane, *(span.index for span in tile.read)) for tile in group]
                if not broken and (broken := _count_broken(inputs)):
                    yield Message("the image holds NaN or infinite values; they stay as they are in the result")
                results = self._denoise(plane, group, inputs)
                self._write(plane, group, results)
                if self.journal:
                    self.journal.add(piece)
                clock.add(group)
                for tile, (pixels, _) in zip(group, results, strict=True):
                    yield TileDone(plane, tile.core[0].start, tile.core[1].start, pixels, clock.progress())

    def _denoise(
        self, plane: Plane, group: tuple[Tile, ...], inputs: list[Pixels]
    ) -> list[tuple[Pixels, Pixels | None]]:
        """The cores of a group of tiles, and their spread, in the image's units."""
        cores = [(slice(None), *tile.core_in_read) for tile in group]
        treatment = None if plane.copied else self.job.treatment_of(plane)
        if treatment is None or treatment.nothing:
            return [
                (pixels[core], np.zeros_like(pixels[core], np.float32) if self.job.std else None)
                for pixels, core in zip(inputs, cores, strict=True)
            ]
        scale = self.job.range_of(plane)
        units, excesses = (np.stack(parts) for parts in zip(*map(scale.to_unit, inputs), strict=True))
        if treatment.impulses:
            units, gone = repair(units, treatment.impulses)
            excesses[gone] = 0.0
        out = Treated(self.denoiser, self.job.window)(units, tuple(tile.origin for tile in group), treatment)
        spreads = [None] * len(group) if out.std is None else list(out.std * np.float32(scale.high - scale.low))
        return [
            (scale.from_unit((mean + excess)[core], pixels[core]), None if spread is None else spread[core])
            for mean, excess, pixels, spread, core in zip(out.mean, excesses, inputs, spreads, cores, strict=True)
        ]

    def _write(self, plane: Plane, group: tuple[Tile, ...], results: list[tuple[Pixels, Pixels | None]]) -> None:
        for tile, (pixels, spread) in zip(group, results, strict=True):
            y, x = (span.start for span in tile.core)
            self.sink.write(plane, y, x, pixels)
            if self.std_sink is not None and spread is not None:
                self.std_sink.write(plane, y, x, spread)

    def _finish(self) -> None:
        for sink in self._sinks():
            sink.finish()
        if self.journal:
            self.journal.remove()

    def _close(self) -> None:
        for sink in self._sinks():
            sink.close()
        if self.journal:
            self.journal.close()

    def _sinks(self) -> list[Sink]:
        return [sink for sink in (self.sink, self.std_sink) if sink is not None]


class _Clock:
    """Counts tiles and pixels; what an earlier run has done counts as done but not for the rate."""

    def __init__(self, job: Job, done: set[Piece], region: Region | None = None) -> None:
        plan = job.plan
        planes = sum(1 for plane in job.planes if region is None or region.holds(plane))
        tiles = region.tiles(plan) if region else plan
        area = sum(map(_area, tiles)) if region else plan.size[0] * plan.size[1]
        self._done = sum(last - first + 1 for _, first, last in done)
        self._total = planes * len(tiles)
        earlier = sum(_area(plan[i]) for _, first, last in done for i in range(first, last + 1))
        self._pixels, self._left = 0, planes * area - earlier
        self._began = time.monotonic()

    def add(self, group: tuple[Tile, ...]) -> None:
        area = sum(_area(tile) for tile in group)
        self._done += len(group)
        self._pixels += area
        self._left -= area

    def progress(self) -> Progress:
        return Progress(self._done, self._total, self._pixels, self._left, time.monotonic() - self._began)


def _area(tile: Tile) -> int:
    return len(tile.core[0]) * len(tile.core[1])


def _count_broken(inputs: list[Pixels]) -> int:
    """How many values are NaN or infinite."""
    return sum(int((~np.isfinite(pixels)).sum()) for pixels in inputs if pixels.dtype.kind == "f")
