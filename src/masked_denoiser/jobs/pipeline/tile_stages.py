"""Stages of a batch of tiles: reading, denoising, and conversion back to the units of the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.context.average import average_neighbours
from masked_denoiser.denoising.context.neighbour_mean import Context, NeighbourMean
from masked_denoiser.denoising.context.planes import ContextPlanes
from masked_denoiser.denoising.intensity.missing_pixels import add_noise_to_missing
from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.intensity.rounding import COARSE_NOISE_SIGMA, round_keeping_means
from masked_denoiser.denoising.tile_denoiser import Runner, TileDenoiser, remaining_noise
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.readers.damage import DamagedRegion, read_zero_filled
from masked_denoiser.images.source import Source
from masked_denoiser.images.validation.fingerprint import checksum
from masked_denoiser.inference.runner import Denoised, Pending
from masked_denoiser.jobs.pipeline.background_tiles import BackgroundTiles
from masked_denoiser.jobs.pipeline.prefetch import StageTimings
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.storage.journal_records import GroupId
from masked_denoiser.tiling.groups import Group
from masked_denoiser.tiling.plan import Tile

Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class BatchTask:
    """Batch of tiles of a group of one plane.

    Attributes:
        group_id: indices of its plane and its group.
        last: whether the group is complete after this batch.
    """

    group_id: GroupId
    plane: Plane
    group: Group
    batch: tuple[Tile, ...]
    last: bool

    def input_checksum(self, inputs: list[Pixels], start: int) -> int:
        """Return the checksum of the tiles as read, without halos, continued from earlier tiles of the group."""
        for tile, pixels in zip(self.batch, inputs, strict=True):
            start = checksum(pixels[(slice(None), *tile.core_in_read)], start)
        return start


@dataclass(frozen=True, eq=False)
class LoadedBatch:
    """Tiles with their halos.

    Attributes:
        inputs: tiles in the units of the image, as read.
        selected: indices of the tiles that are denoised; the others are copied.
        skipped: number of tiles that are copied because they are background.
        damage: regions that could not be read, or are not denoised because they contain or border on such.
        units: [len(selected), C, H, W], the tiles that are denoised, in units of their intensity range.
        context: these tiles averaged with those of neighbouring planes; None without such.
    """

    inputs: list[Pixels]
    selected: list[int]
    skipped: int = 0
    damage: tuple[DamagedRegion, ...] = ()
    units: NDArray[np.float32] | None = None
    context: Context | None = None


class TileStages:
    """Reader, denoiser and converter of batches of tiles of a job.

    Args:
        job: the resolved job.
        source: the image.
        timings: receives the time of reading alone.
    """

    def __init__(self, job: Job, source: Source, timings: StageTimings) -> None:
        self._job, self._source, self._timings = job, source, timings
        self._background = BackgroundTiles(source, job)

    def read(self, task: BatchTask) -> LoadedBatch:
        """Return the tiles in the units of the image, and those to denoise in units of their intensity range."""
        with self._timings.measure("reads"):
            read = [self._read_tile(task.plane, tile) for tile in task.batch]
        inputs = [pixels for pixels, _ in read]
        treatment = None if task.plane.copied else self._job.treatment_of(task.plane)
        tiles = zip(task.batch, read, strict=True)
        if treatment is None or treatment.is_identity:
            unreadable = (part for tile, (_, found) in tiles for region in found for part in region.within(*tile.core))
            return LoadedBatch(inputs, [], damage=tuple(unreadable))
        damage = tuple(_whole_core(task.plane, tile) for tile, (_, regions) in tiles if regions)
        units = [self._to_unit(task.plane, tile, pixels) for tile, pixels in zip(task.batch, inputs, strict=True)]
        readable = [i for i, (_, regions) in enumerate(read) if not regions]
        selected = [i for i in readable if not self._background.skips(task.plane, task.batch[i], units[i])]
        skipped = len(readable) - len(selected)
        if not selected:
            return LoadedBatch(inputs, [], skipped, damage)
        averaged = self._average(task, [(task.batch[i], inputs[i], units[i]) for i in selected])
        return LoadedBatch(inputs, selected, skipped, damage, np.stack([units[i] for i in selected]), averaged)

    def _average(self, task: BatchTask, tiles: list[tuple[Tile, Pixels, NDArray[np.float32]]]) -> Context | None:
        """Return tiles, given as read and in units of their range, averaged with those of neighbouring planes."""
        context = self._job.context_of(task.plane)
        if context is None:
            return None
        means = [self._average_tile(task.plane, context, *tile) for tile in tiles]
        return Context(np.stack([each.mean for each in means]), np.stack([each.sigma_share for each in means]))

    def _average_tile(
        self, plane: Plane, context: ContextPlanes, tile: Tile, pixels: Pixels, unit: NDArray[np.float32]
    ) -> NeighbourMean:
        scale, treatment = self._job.range_of(plane), self._job.treatment_of(plane)
        neighbours = self._read_neighbours(plane, context, tile)
        return average_neighbours(pixels, unit, neighbours, scale, treatment, context, tile.origin)

    def _read_neighbours(
        self, plane: Plane, context: ContextPlanes, tile: Tile
    ) -> Iterator[tuple[Pixels, IntensityRange]]:
        """Yield a tile of each neighbouring plane, unless it is damaged there."""
        for neighbour in self._job.neighbours_of(plane, context):
            pixels, damage = self._read_tile(neighbour, tile)
            if not damage:
                yield pixels, self._job.range_of(neighbour)

    def submit(self, task: BatchTask, loaded: LoadedBatch, runner: Runner) -> Pending | None:
        """Start to denoise the tiles; return None if all are copied."""
        if loaded.units is None:
            return None
        origins = tuple(task.batch[i].origin for i in loaded.selected)
        denoiser = TileDenoiser(runner, self._job.grid)
        return denoiser.submit(loaded.units, origins, self._job.treatment_of(task.plane), loaded.context)

    def to_image_units(
        self, task: BatchTask, loaded: LoadedBatch, denoised: Denoised | None
    ) -> list[tuple[Pixels, Pixels | None]]:
        """Return the cores of a batch in the units of the image, denoised or copied, and their standard deviations."""
        cores = [(slice(None), *tile.core_in_read) for tile in task.batch]
        dtype = self._job.result_dtype
        results: list[tuple[Pixels, Pixels | None]] = [
            (pixels[core].astype(dtype, copy=False), self._std_of_copy(task.plane, tile, pixels))
            for tile, pixels, core in zip(task.batch, loaded.inputs, cores, strict=True)
        ]
        if denoised is None or loaded.units is None:
            return results
        intensity_range = self._job.range_of(task.plane)
        for number, i in enumerate(loaded.selected):
            tile = task.batch[i]
            correction = loaded.units[number] - denoised.mean[number]
            std_core = (
                None
                if denoised.std is None
                else intensity_range.std_from_unit(denoised.std[number], denoised.mean[number])[cores[i]]
            )
            rounding = self._rounding(task.plane, (tile.read[0].start, tile.read[1].start))
            whole = intensity_range.subtract(loaded.inputs[i], correction, dtype, rounding)
            results[i] = whole[cores[i]], std_core
        return results

    def _std_of_copy(self, plane: Plane, tile: Tile, pixels: Pixels) -> NDArray[np.float32] | None:
        """Return the standard deviation of the core of a copied tile: its noise, as far as it is known."""
        if not self._job.std:
            return None
        core = (slice(None), *tile.core_in_read)
        if plane.copied:
            return np.zeros_like(pixels[core], np.float32)
        unit = self._to_unit(plane, tile, pixels)
        noise = remaining_noise(unit[None], self._job.treatment_of(plane))[0]
        return self._job.range_of(plane).std_from_unit(noise, unit)[core]

    def _to_unit(self, plane: Plane, tile: Tile, pixels: Pixels) -> NDArray[np.float32]:
        """Return a tile in units of its intensity range, with noise where pixels are missing."""
        intensity_range, noise = self._job.range_of(plane), self._job.treatment_of(plane).noise_variances
        unit, missing = intensity_range.to_unit(pixels), intensity_range.missing_mask(pixels)
        if missing is None or not noise:
            return unit
        return add_noise_to_missing(unit, missing, noise, (tile.read[0].start, tile.read[1].start))

    def _rounding(self, plane: Plane, origin: tuple[int, int]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """Return the rounding of a tile, which preserves local means if the noise is little more than rounding."""
        span, noise = self._job.range_of(plane).span, self._job.treatment_of(plane).noise_variances
        if not noise or min(float(variance.sigma(0.0)) for variance in noise) * span > COARSE_NOISE_SIGMA:
            return np.rint
        return partial(round_keeping_means, origin=origin)

    def _read_tile(self, plane: Plane, tile: Tile) -> tuple[Pixels, tuple[DamagedRegion, ...]]:
        spans = [span.index for span in tile.read]
        if self._job.on_error == "skip":
            return read_zero_filled(self._source, plane, *spans)
        return self._source.read(plane, *spans), ()


def _whole_core(plane: Plane, tile: Tile) -> DamagedRegion:
    """Return the core of a tile as a region."""
    rows, columns = tile.core
    return DamagedRegion(plane.index, (rows.start, rows.stop), (columns.start, columns.stop))
