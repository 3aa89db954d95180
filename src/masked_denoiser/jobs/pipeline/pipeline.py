"""Runs a job: read, network, write, tile by tile, with a journal beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.intensity.missing_pixels import add_noise_to_missing
from masked_denoiser.denoising.intensity.rounding import COARSE, round_keeping_means
from masked_denoiser.denoising.tile_denoiser import Runner, TileDenoiser
from masked_denoiser.errors import JobError, OutputError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.readers.damage import DamagedRegion, read_around
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.base import ProgressCallback, Sink, no_progress
from masked_denoiser.inference.runner import Denoised, Pending
from masked_denoiser.jobs.pipeline.background_tiles import BackgroundTiles
from masked_denoiser.jobs.pipeline.events import Cancelled, Event, Finished, TileDone
from masked_denoiser.jobs.pipeline.finalize import run_finalization
from masked_denoiser.jobs.pipeline.prefetch import StageTimings, prefetch
from masked_denoiser.jobs.pipeline.progress import ProgressTracker
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.region import Region
from masked_denoiser.jobs.storage.journal import GroupId, Journal, check_complete
from masked_denoiser.jobs.storage.output import Output
from masked_denoiser.messages import Message
from masked_denoiser.tiling.groups import Group, batches
from masked_denoiser.tiling.plan import Tile

Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class _BatchTask:
    """A batch of tiles of a group of one plane.

    Attributes:
        last: whether the group is complete after it.
    """

    piece: GroupId
    plane: Plane
    group: Group
    batch: tuple[Tile, ...]
    last: bool


@dataclass(frozen=True, eq=False)
class _LoadedBatch:
    """Tiles with their halos.

    Attributes:
        inputs: as read.
        seen: which of them the network sees; the others are copied.
        skipped: how many are copied because they are background.
        damage: places that could not be read.
        units: of those that are seen, in units of their range.
    """

    inputs: list[Pixels]
    seen: list[int]
    skipped: int = 0
    damage: tuple[DamagedRegion, ...] = ()
    units: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class _DenoisedBatch:
    """A batch that was computed, and the cores that are on disk since then: none, or all of its group.

    Attributes:
        skipped: how many tiles of the batch were passed through.
        broken: whether NaN or infinities were among what was read.
    """

    work: _BatchTask
    written: list[tuple[Tile, Pixels]]
    skipped: int
    broken: bool
    damage: tuple[DamagedRegion, ...]


@dataclass(eq=False)
class _GroupResult:
    """The results of a group, until it is complete."""

    cores: list[tuple[Tile, Pixels]] = field(default_factory=list)
    spreads: list[tuple[Tile, Pixels]] = field(default_factory=list)
    damage: tuple[DamagedRegion, ...] = ()


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
        allowed: asked before a group is written.
    """

    job: Job
    source: Source
    denoiser: Runner
    sink: Sink
    std_sink: Sink | None = None
    journal: Journal | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    region: Region | None = None
    waits: StageTimings = field(default_factory=StageTimings)
    allowed: Callable[[], bool] = lambda: True
    _gathered: _GroupResult = field(default_factory=_GroupResult)

    def __post_init__(self) -> None:
        self._skipping = BackgroundTiles(self.source, self.job)

    def run(self) -> Iterator[Event]:
        """Does the work, and yields events as it goes. The sinks are finished or closed at the end.

        Whoever stops iterating early must close the generator; the work done stays, as after a cancel.
        """
        clock = ProgressTracker(self.job, self.journal.done if self.journal else set(), self.region)
        finished = False
        try:
            yield clock.progress()
            yield from self._tiles(clock)
            if self.cancel.is_set():
                yield Cancelled(clock.kept())
                return
            if self.journal is not None:
                check_complete(self.job, self.journal)
            if not (yield from run_finalization(self.finish, self.cancel)):
                yield Cancelled(clock.kept())
                return
            finished = True
            self.waits.device = self.denoiser.waited
            damage = tuple(map(str, self.journal.damage)) if self.journal else clock.damage
            yield Finished(clock.progress(), self.waits, clock.skipped, bool(self.job.background), damage)
        finally:
            if not finished:
                self.close()

    def denoise(self, number: int, group: int) -> Iterator[_DenoisedBatch]:
        """Does one group of one plane, and nothing else: what a worker of a cluster does.

        Args:
            number: of the plane.
            group: its number in `Job.groups`.
        """
        self._gathered = _GroupResult()  # what is left of a group that failed is of no use
        work = self._batches(number, self.job.planes[number], self.job.groups[group])
        yield from prefetch(work, self._read, self._compute, self._write, stop=self.cancel.is_set, waits=self.waits)

    def _tiles(self, clock: ProgressTracker) -> Iterator[Event]:
        broken = False
        steps = (self._read, self._compute, self._write)
        for done in prefetch(self._work(), *steps, stop=self.cancel.is_set, waits=self.waits):
            if done.broken and not broken:
                broken = True
                yield Message("the image holds NaN or infinite values; they stay as they are in the result")
            yield from self._runner_messages()
            yield from (Message(f"damaged and passed through: {place}") for place in done.damage)
            clock.add(done.work.batch, done.skipped, tuple(map(str, done.damage)))
            if not done.written:
                yield clock.progress()
                continue
            clock.keep()
            for tile, pixels in done.written:
                yield TileDone(done.work.plane, tile.core[0].start, tile.core[1].start, pixels, clock.progress())

    def _runner_messages(self) -> Iterator[Message]:
        """What the denoiser had to do to go on."""
        messages, self.denoiser.messages = self.denoiser.messages, []
        yield from map(Message, messages)

    def _work(self) -> Iterator[_BatchTask]:
        """What is left to do, in order."""
        part = self.region.places(self.job.plan) if self.region else None
        for number, plane in enumerate(self.job.planes):
            if self.region and not self.region.holds(plane):
                continue
            for group in self.job.groups:
                kept = group.within(*part) if part else group
                if self.journal is None or (number, group.number) not in self.journal.done:
                    yield from self._batches(number, plane, kept)

    def _batches(self, number: int, plane: Plane, group: Group) -> Iterator[_BatchTask]:
        *first, last = list(batches(group.tiles, self.job.batch)) or [()]
        for batch in first:
            yield _BatchTask((number, group.number), plane, group, batch, last=False)
        if last:
            yield _BatchTask((number, group.number), plane, group, last, last=True)

    def _read(self, work: _BatchTask) -> _LoadedBatch:
        """The tiles as the image has them, and as the network gets those that it is to see."""
        with self.waits.count("reads"):
            read = [self._read_tile(work.plane, tile) for tile in work.batch]
        inputs = [pixels for pixels, _ in read]
        cores = zip(work.batch, read, strict=True)
        damage = tuple(part for tile, (_, places) in cores for place in places for part in place.within(*tile.core))
        treatment = None if work.plane.copied else self.job.treatment_of(work.plane)
        if treatment is None or treatment.is_identity:
            return _LoadedBatch(inputs, [], damage=damage)
        units = [self._to_unit(work.plane, tile, pixels) for tile, pixels in zip(work.batch, inputs, strict=True)]
        whole = [i for i, (_, places) in enumerate(read) if not places]
        seen = [i for i in whole if not self._skipping.skips(work.plane, work.batch[i], units[i])]
        skipped = len(whole) - len(seen)
        if not seen:
            return _LoadedBatch(inputs, [], skipped, damage)
        return _LoadedBatch(inputs, seen, skipped, damage, np.stack([units[i] for i in seen]))

    def _to_unit(self, plane: Plane, tile: Tile, pixels: Pixels) -> NDArray[np.float32]:
        """A tile in units of its range, with noise where pixels are missing."""
        scale, noise = self.job.range_of(plane), self.job.treatment_of(plane).limits
        unit, missing = scale.to_unit(pixels), scale.is_missing(pixels)
        if missing is None or not noise:
            return unit
        return add_noise_to_missing(unit, missing, noise, (tile.read[0].start, tile.read[1].start))

    def _rounding(self, plane: Plane, origin: tuple[int, int]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """How results of a tile are rounded: with their local means where noise is little more than rounding."""
        span, noise = self.job.range_of(plane).span, self.job.treatment_of(plane).limits
        if not noise or min(float(one.sigma(0.0)) for one in noise) * span > COARSE:
            return np.rint
        return partial(round_keeping_means, origin=origin)

    def _read_tile(self, plane: Plane, tile: Tile) -> tuple[Pixels, tuple[DamagedRegion, ...]]:
        spans = [span.index for span in tile.read]
        if self.job.on_error == "skip":
            return read_around(self.source, plane, *spans)
        return self.source.read(plane, *spans), ()

    def _compute(self, work: _BatchTask, given: _LoadedBatch) -> tuple[_LoadedBatch, Pending | None]:
        if given.units is None:
            return given, None
        origins = tuple(work.batch[i].origin for i in given.seen)
        treated = TileDenoiser(self.denoiser, self.job.window)
        return given, treated.submit(given.units, origins, self.job.treatment_of(work.plane))

    def _write(self, work: _BatchTask, computed: tuple[_LoadedBatch, Pending | None]) -> _DenoisedBatch:
        given, coming = computed
        out = coming() if coming else None
        gathered = self._gathered
        for tile, (pixels, spread) in zip(work.batch, self._in_units(work, given, out), strict=True):
            gathered.cores.append((tile, pixels))
            if spread is not None:
                gathered.spreads.append((tile, spread))
        gathered.damage += given.damage
        broken = _any_broken(given.inputs)
        if not work.last:
            return _DenoisedBatch(work, [], given.skipped, broken, given.damage)
        self._gathered = _GroupResult()
        with self.waits.count("writes"):
            self._store(work, gathered)
        return _DenoisedBatch(work, gathered.cores, given.skipped, broken, given.damage)

    def _store(self, work: _BatchTask, gathered: _GroupResult) -> None:
        """Writes a group in one go, so that it is the only writer of a shard, and then records it."""
        y, x = (span.start for span in work.group.core)
        if not self.allowed():
            raise JobError(f"{self.job.output} is being written by somebody else now; nothing more is written to it")
        try:
            self.sink.write(work.plane, y, x, _mosaic(work.group, gathered.cores))
            if self.std_sink is not None and gathered.spreads:
                self.std_sink.write(work.plane, y, x, _mosaic(work.group, gathered.spreads))
            if self.journal:
                self.journal.note(self.denoiser.limits)
                self.journal.add(work.piece, gathered.damage)
        except OSError as error:
            raise OutputError(Path(self.job.output), error) from error

    def _in_units(
        self, work: _BatchTask, given: _LoadedBatch, out: Denoised | None
    ) -> list[tuple[Pixels, Pixels | None]]:
        """The cores of a batch of tiles, and their spread, in the image's units; what was not seen as it was read."""
        cores = [(slice(None), *tile.core_in_read) for tile in work.batch]
        dtype, std = self.job.result_dtype, self.job.std
        results: list[tuple[Pixels, Pixels | None]] = [
            (pixels[core].astype(dtype, copy=False), np.zeros_like(pixels[core], np.float32) if std else None)
            for pixels, core in zip(given.inputs, cores, strict=True)
        ]
        if out is None or given.units is None:
            return results
        scale = self.job.range_of(work.plane)
        for number, i in enumerate(given.seen):
            tile = work.batch[i]
            correction = given.units[number] - out.mean[number]
            spread = None if out.std is None else out.std[number][cores[i]] * np.float32(scale.span)
            rounding = self._rounding(work.plane, (tile.read[0].start, tile.read[1].start))
            results[i] = scale.subtract(given.inputs[i], correction, dtype, rounding)[cores[i]], spread
        return results

    def finish(self, follow: ProgressCallback = no_progress) -> None:
        """Completes the outputs."""
        if self.journal is not None:
            Output(self.sink, self.std_sink, self.journal).finish(follow)
            return
        for sink in self._sinks():
            sink.finish()

    def close(self) -> None:
        """Closes the outputs as they are, for a later resume; once they are closed or complete, nothing."""
        if self.journal is not None:
            Output(self.sink, self.std_sink, self.journal).close()
            return
        for sink in self._sinks():
            sink.close()

    def _sinks(self) -> list[Sink]:
        return [sink for sink in (self.sink, self.std_sink) if sink is not None]


def _mosaic(group: Group, parts: list[tuple[Tile, Pixels]]) -> Pixels:
    """The cores of a group as one [channels, height, width]."""
    if len(parts) == 1:
        return parts[0][1]
    rows, columns = group.core
    out = np.empty((len(parts[0][1]), len(rows), len(columns)), parts[0][1].dtype)
    for tile, pixels in parts:
        out[:, tile.core[0].inside(rows), tile.core[1].inside(columns)] = pixels
    return out


def _any_broken(inputs: list[Pixels]) -> bool:
    """Whether values are NaN or infinite."""
    return any(pixels.dtype.kind == "f" and not np.isfinite(pixels).all() for pixels in inputs)
