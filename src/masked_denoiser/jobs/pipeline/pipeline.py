"""Pipeline that runs a job tile by tile: reading, network, writing, with a journal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from masked_denoiser.denoising.tile_denoiser import Runner
from masked_denoiser.errors import JobError, OutputError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.readers.damage import DamagedRegion
from masked_denoiser.images.source import Source
from masked_denoiser.images.validation.fingerprint import checksum
from masked_denoiser.images.writers.base import ProgressCallback, Sink, no_progress
from masked_denoiser.inference.runner import Pending
from masked_denoiser.jobs.pipeline.events import NONFINITE_MESSAGE, Cancelled, Event, Finished, TileDone, damage_message
from masked_denoiser.jobs.pipeline.finalize import run_finalization
from masked_denoiser.jobs.pipeline.prefetch import StageTimings, prefetch
from masked_denoiser.jobs.pipeline.progress import ProgressTracker
from masked_denoiser.jobs.pipeline.tile_stages import BatchTask, LoadedBatch, Pixels, TileStages
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.region import Region
from masked_denoiser.jobs.storage.journal import Journal, check_complete
from masked_denoiser.jobs.storage.journal_records import Checksums
from masked_denoiser.jobs.storage.output import Output
from masked_denoiser.messages import Message
from masked_denoiser.tiling.groups import Group, batches
from masked_denoiser.tiling.plan import Tile


@dataclass(frozen=True, eq=False)
class _DenoisedBatch:
    """Computed batch.

    Attributes:
        task: the tiles of the batch.
        written: cores written with this batch: all of its group if it is the last one, else none.
        skipped: number of tiles that were copied unchanged as background.
        nonfinite: whether the input contained NaN or infinities.
        damage: regions that could not be read.
        checksums: of a group that was written with this batch.
    """

    task: BatchTask
    written: list[tuple[Tile, Pixels]]
    skipped: int
    nonfinite: bool
    damage: tuple[DamagedRegion, ...]
    checksums: Checksums | None = None


@dataclass(eq=False)
class _GroupResult:
    """Results of a group until it is complete."""

    cores: list[tuple[Tile, Pixels]] = field(default_factory=list)
    read: int = 0
    std_cores: list[tuple[Tile, Pixels]] = field(default_factory=list)
    damage: tuple[DamagedRegion, ...] = ()


@dataclass
class Pipeline:
    """Job with everything that is needed to run it.

    Attributes:
        job: the resolved job.
        source: the image.
        runner: the model on its device.
        sink: sink of the result.
        std_sink: sink of the standard deviation in float32; None if the job does not request it.
        journal: journal of the output; None for results in memory.
        cancel: set from any thread to stop between two batches of tiles.
        region: part of the job to denoise; None for all of it.
        timings: times of the stages.
        may_write: called before a group is written; if it returns False, the job fails.
    """

    job: Job
    source: Source
    runner: Runner
    sink: Sink
    std_sink: Sink | None = None
    journal: Journal | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    region: Region | None = None
    timings: StageTimings = field(default_factory=StageTimings)
    may_write: Callable[[], bool] = lambda: True
    _group_result: _GroupResult = field(default_factory=_GroupResult)

    def __post_init__(self) -> None:
        self._stages = TileStages(self.job, self.source, self.timings)

    def run(self, cancel: threading.Event | None = None) -> Iterator[Event]:
        """Run the job and yield its events. The sinks are finished or closed at the end.

        A caller that stops iterating early must close the generator; finished groups are kept, as after a cancellation.

        Args:
            cancel: stops the run if it is set, in place of the pipeline's own event.
        """
        self.cancel = cancel or self.cancel
        tracker = ProgressTracker(self.job, set(self.journal.done) if self.journal else set(), self.region)
        finished = False
        try:
            yield tracker.progress()
            yield from self._tiles(tracker)
            if self.cancel.is_set():
                yield Cancelled(tracker.saved_progress())
                return
            if self.journal is not None:
                check_complete(self.job, self.journal)
            if not (yield from run_finalization(self.finish, self.cancel)):
                yield Cancelled(tracker.saved_progress())
                return
            finished = True
            self.timings.device = self.runner.wait_seconds
            damage = tuple(map(str, self.journal.damage)) if self.journal else tracker.damage
            yield Finished(tracker.progress(), self.timings, tracker.skipped, bool(self.job.background), damage)
        finally:
            if not finished:
                self.close()

    def denoise(self, number: int, group: int) -> Iterator[_DenoisedBatch]:
        """Denoise and write one group of one plane, as a worker of a cluster does.

        Args:
            number: index of the plane.
            group: index of the group in `Job.groups`.
        """
        self._group_result = _GroupResult()  # drops the results of a group that failed
        yield from self._prefetch(self._batches(number, self.job.planes[number], self.job.groups[group]))

    def _prefetch(self, tasks: Iterator[BatchTask]) -> Iterator[_DenoisedBatch]:
        stages = (self._stages.read, self._compute, self._write)
        return prefetch(tasks, *stages, stop=self.cancel.is_set, timings=self.timings)

    def _tiles(self, tracker: ProgressTracker) -> Iterator[Event]:
        nonfinite = False
        for batch in self._prefetch(self._tasks()):
            if batch.nonfinite and not nonfinite:
                nonfinite = True
                yield NONFINITE_MESSAGE
            yield from map(Message, self.runner.take_messages())
            yield from map(damage_message, batch.damage)
            tracker.add(batch.task.batch, batch.skipped, tuple(map(str, batch.damage)))
            if not batch.written:
                yield tracker.progress()
                continue
            tracker.mark_saved()
            for tile, pixels in batch.written:
                yield TileDone(batch.task.plane, tile.core[0].start, tile.core[1].start, pixels, tracker.progress())

    def _tasks(self) -> Iterator[BatchTask]:
        """Yield the remaining batches in order."""
        part = self.region.tile_ranges(self.job.plan) if self.region else None
        for number, plane in enumerate(self.job.planes):
            if self.region and not self.region.contains(plane):
                continue
            for group in self.job.groups:
                selected = group.within(*part) if part else group
                if self.journal is None or (number, group.number) not in self.journal.done:
                    yield from self._batches(number, plane, selected)

    def _batches(self, number: int, plane: Plane, group: Group) -> Iterator[BatchTask]:
        *first, last = list(batches(group.tiles, self.job.batch)) or [()]
        for batch in first:
            yield BatchTask((number, group.number), plane, group, batch, last=False)
        if last:
            yield BatchTask((number, group.number), plane, group, last, last=True)

    def _compute(self, task: BatchTask, loaded: LoadedBatch) -> tuple[LoadedBatch, Pending | None]:
        return loaded, self._stages.submit(task, loaded, self.runner)

    def _write(self, task: BatchTask, computed: tuple[LoadedBatch, Pending | None]) -> _DenoisedBatch:
        loaded, pending = computed
        results = self._stages.to_image_units(task, loaded, pending() if pending else None)
        collected = self._group_result
        for tile, (pixels, std) in zip(task.batch, results, strict=True):
            collected.cores.append((tile, pixels))
            if std is not None:
                collected.std_cores.append((tile, std))
        collected.damage += loaded.damage
        collected.read = task.input_checksum(loaded.inputs, collected.read)
        nonfinite = _any_nonfinite(loaded.inputs)
        if not task.last:
            return _DenoisedBatch(task, [], loaded.skipped, nonfinite, loaded.damage)
        self._group_result = _GroupResult()
        with self.timings.measure("writes"):
            checksums = self._store(task, collected)
        return _DenoisedBatch(task, collected.cores, loaded.skipped, nonfinite, loaded.damage, checksums)

    def _store(self, task: BatchTask, collected: _GroupResult) -> Checksums:
        """Write a group in one call, so that it is the only writer of its shard, and then record it."""
        blocks = [_assemble(task.group, cores) for cores in (collected.cores, collected.std_cores) if cores]
        checksums = Checksums(collected.read, tuple(map(checksum, blocks)))
        y, x = (span.start for span in task.group.core)
        if not self.may_write():
            raise JobError(f"{self.job.output} is now being written by another process; this one stops writing to it")
        try:
            for sink, block in zip(self._sinks(), blocks, strict=False):
                sink.write(task.plane, y, x, block)
            if self.journal:
                self.journal.add_limits(self.runner.limits)
                self.journal.add(task.group_id, checksums, collected.damage)
        except OSError as error:
            raise OutputError(Path(self.job.output), error) from error
        return checksums

    def finish(self, progress: ProgressCallback = no_progress) -> None:
        """Complete the outputs."""
        if self.journal is not None:
            Output(self.sink, self.std_sink, self.journal).finish(progress)
            return
        for sink in self._sinks():
            sink.finish()

    def close(self) -> None:
        """Close unfinished outputs, so that the job can be resumed; closed or complete ones are unaffected."""
        if self.journal is not None:
            Output(self.sink, self.std_sink, self.journal).close()
            return
        for sink in self._sinks():
            sink.close()

    def _sinks(self) -> list[Sink]:
        return [sink for sink in (self.sink, self.std_sink) if sink is not None]


def _assemble(group: Group, cores: list[tuple[Tile, Pixels]]) -> Pixels:
    """Return the cores of a group as one array [channels, height, width]."""
    if len(cores) == 1:
        return cores[0][1]
    rows, columns = group.core
    out = np.empty((len(cores[0][1]), len(rows), len(columns)), cores[0][1].dtype)
    for tile, pixels in cores:
        out[:, tile.core[0].inside(rows), tile.core[1].inside(columns)] = pixels
    return out


def _any_nonfinite(inputs: list[Pixels]) -> bool:
    """Return whether any value is NaN or infinite."""
    return any(pixels.dtype.kind == "f" and not np.isfinite(pixels).all() for pixels in inputs)
