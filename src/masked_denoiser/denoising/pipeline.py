"""Runs a job: read, network, write, tile by tile, with a journal beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.denoiser import Denoised, Denoiser, Pending
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
from masked_denoiser.denoising.overlap import Waits, overlapped
from masked_denoiser.denoising.region import Region
from masked_denoiser.denoising.skipping import Skipping
from masked_denoiser.denoising.treated import Network, Treated
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.sink import Sink
from masked_denoiser.images.source import Source
from masked_denoiser.noise.impulses import repair
from masked_denoiser.tiling.batches import batches
from masked_denoiser.tiling.plan import Tile

Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class _Work:
    """A group of tiles of one plane."""

    piece: Piece
    plane: Plane
    group: tuple[Tile, ...]


@dataclass(frozen=True, eq=False)
class _Given:
    """Tiles with their halos.

    Attributes:
        inputs: as read.
        seen: which of them the network sees; the others are copied.
        skipped: how many are copied because they are background.
        units, excesses: of those that are seen, in [0, 1], and what was clipped for that.
    """

    inputs: list[Pixels]
    seen: list[int]
    skipped: int = 0
    units: NDArray[np.float32] | None = None
    excesses: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class _Done:
    """Cores that are written, how many were passed through, and whether NaN or infinities were among what was read."""

    work: _Work
    pixels: list[Pixels]
    skipped: int
    broken: bool


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
        waits: where the time went.
    """

    job: Job
    source: Source
    denoiser: Network
    sink: Sink
    std_sink: Sink | None = None
    journal: Journal | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    region: Region | None = None
    waits: Waits = field(default_factory=Waits)

    def __post_init__(self) -> None:
        self._skipping = Skipping(self.source, self.job)

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
            if isinstance(self.denoiser, Denoiser):
                self.waits.device = self.denoiser.waited
            yield Finished(clock.progress(), self.waits, clock.skipped, bool(self.job.background))
        finally:
            if not finished:
                self._close()

    def _tiles(self, clock: _Clock) -> Iterator[Event]:
        broken = False
        steps = (self._read, self._compute, self._write)
        for done in overlapped(self._work(), *steps, stop=self.cancel.is_set, waits=self.waits):
            if done.broken and not broken:
                broken = True
                yield Message("the image holds NaN or infinite values; they stay as they are in the result")
            yield from self._said()
            clock.add(done.work.group, done.skipped)
            for tile, pixels in zip(done.work.group, done.pixels, strict=True):
                yield TileDone(done.work.plane, tile.core[0].start, tile.core[1].start, pixels, clock.progress())

    def _said(self) -> Iterator[Message]:
        """What the denoiser had to do to go on."""
        if isinstance(self.denoiser, Denoiser):
            said, self.denoiser.said = self.denoiser.said, []
            yield from map(Message, said)

    def _work(self) -> Iterator[_Work]:
        """What is left to do, in order."""
        for number, plane in enumerate(self.job.planes):
            if self.region and not self.region.holds(plane):
                continue
            tiles = self.region.tiles(self.job.plan) if self.region else self.job.plan
            for group in batches(tiles, self.job.batch):
                work = _Work((number, group[0].number, group[-1].number), plane, group)
                if self.journal is None or work.piece not in self.journal.done:
                    yield work

    def _read(self, work: _Work) -> _Given:
        """The tiles as the image has them, and as the network gets those that it is to see."""
        with self.waits.count("reads"):
            inputs = [self.source.read(work.plane, *(span.index for span in tile.read)) for tile in work.group]
        treatment = None if work.plane.copied else self.job.treatment_of(work.plane)
        if treatment is None or treatment.nothing:
            return _Given(inputs, [])
        pairs = [self.job.range_of(work.plane).to_unit(pixels) for pixels in inputs]
        seen = [i for i, (unit, _) in enumerate(pairs) if not self._skipping.skips(work.plane, work.group[i], unit)]
        if not seen:
            return _Given(inputs, [], len(inputs))
        units = np.stack([pairs[i][0] for i in seen])
        excesses = np.stack([pairs[i][1] for i in seen])
        if treatment.impulses:
            units, gone = repair(units, treatment.impulses)
            excesses[gone] = 0.0
        return _Given(inputs, seen, len(inputs) - len(seen), units, excesses)

    def _compute(self, work: _Work, given: _Given) -> tuple[_Given, Pending | None]:
        if given.units is None:
            return given, None
        origins = tuple(work.group[i].origin for i in given.seen)
        treated = Treated(self.denoiser, self.job.window)
        return given, treated.submit(given.units, origins, self.job.treatment_of(work.plane))

    def _write(self, work: _Work, computed: tuple[_Given, Pending | None]) -> _Done:
        given, coming = computed
        results = self._in_units(work, given, coming() if coming else None)
        with self.waits.count("writes"):
            for tile, (pixels, spread) in zip(work.group, results, strict=True):
                y, x = (span.start for span in tile.core)
                self.sink.write(work.plane, y, x, pixels)
                if self.std_sink is not None and spread is not None:
                    self.std_sink.write(work.plane, y, x, spread)
            if self.journal:
                self.journal.add(work.piece)
        return _Done(work, [pixels for pixels, _ in results], given.skipped, _any_broken(given.inputs))

    def _in_units(self, work: _Work, given: _Given, out: Denoised | None) -> list[tuple[Pixels, Pixels | None]]:
        """The cores of a group of tiles, and their spread, in the image's units; what was not seen as it was read."""
        cores = [(slice(None), *tile.core_in_read) for tile in work.group]
        results: list[tuple[Pixels, Pixels | None]] = [
            (pixels[core], np.zeros_like(pixels[core], np.float32) if self.job.std else None)
            for pixels, core in zip(given.inputs, cores, strict=True)
        ]
        if out is None or given.excesses is None:
            return results
        scale = self.job.range_of(work.plane)
        for number, i in enumerate(given.seen):
            mean = (out.mean[number] + given.excesses[number])[cores[i]]
            spread = None if out.std is None else out.std[number][cores[i]] * np.float32(scale.high - scale.low)
            results[i] = scale.from_unit(mean, given.inputs[i][cores[i]]), spread
        return results

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
        self.skipped = 0

    def add(self, group: tuple[Tile, ...], skipped: int) -> None:
        self.skipped += skipped
        area = sum(_area(tile) for tile in group)
        self._done += len(group)
        self._pixels += area
        self._left -= area

    def progress(self) -> Progress:
        return Progress(self._done, self._total, self._pixels, self._left, time.monotonic() - self._began)


def _area(tile: Tile) -> int:
    return len(tile.core[0]) * len(tile.core[1])


def _any_broken(inputs: list[Pixels]) -> bool:
    """Whether values are NaN or infinite."""
    return any(pixels.dtype.kind == "f" and not np.isfinite(pixels).all() for pixels in inputs)
