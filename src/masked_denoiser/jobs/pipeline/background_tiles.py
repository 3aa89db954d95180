"""Which tiles a job passes through as background, and a picture of them."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.background import is_background, low_resolution
from masked_denoiser.errors import JobError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.tiling.plan import Span, Tile

#: Long side of a preview in pixels, and what tiles that are passed through are tinted with.
_PREVIEW, _TINT = 1024, np.array((0.0, 0.6, 0.9), np.float32)


class BackgroundTiles:
    """Answers for the tiles of a job.

    Args:
        source: the image.
        job: the settled job.
    """

    def __init__(self, source: Source, job: Job) -> None:
        self._source, self._job = source, job
        self._low = low_resolution(source) if job.background else None

    def skips(self, plane: Plane, tile: Tile, unit: NDArray[np.float32]) -> bool:
        """Whether a tile is passed through.

        Args:
            plane: of the tile.
            tile: where it lies.
            unit: [C, H, W] in [0, 1], the tile with its halo.
        """
        levels = self._job.background_of(plane)
        if levels is None or not is_background(unit, levels):
            return False
        return self._low is None or self._low.is_background(plane, tile, self._job.range_of(plane), levels)

    def may_skip(self, plane: Plane, tile: Tile) -> bool:
        """The same as far as the low level of a pyramid tells; without one the tile is read."""
        levels = self._job.background_of(plane)
        if levels is None:
            return False
        if self._low is None:
            return is_background(self.look(plane, tile.read), levels)
        return self._low.is_background(plane, tile, self._job.range_of(plane), levels)

    def look(self, plane: Plane, spans: tuple[Span, Span]) -> NDArray[np.float32]:
        """Pixels [C, h, w] in [0, 1], of the low level if there is one."""
        scale = self._job.range_of(plane)
        if self._low is not None:
            return self._low.pixels(plane, spans, scale)
        return scale.to_unit(self._source.read(plane, *(span.index for span in spans)))


def background_map(source: Source, job: Job, plane: Plane) -> NDArray[np.bool_]:
    """The tiles of a plane that may be passed through: [rows, columns] of `job.plan.grid`.

    Each of them is looked at again in full resolution when it is read, so fewer may be, and never others.
    """
    skipping = BackgroundTiles(source, job)
    return np.array([skipping.may_skip(plane, tile) for tile in job.plan]).reshape(job.plan.grid)


def write_preview(source: Source, job: Job, path: Path) -> None:
    """Draws the first plane that is denoised, with the tiles of `background_map` tinted, as a PNG.

    Args:
        source: the image.
        job: the settled job, which skips background.
        path: ends in .png, and is not there yet.

    Raises:
        JobError: if the name does not fit, there is such a file, or nothing is denoised.
    """
    if path.suffix.lower() != ".png" or path.exists():
        raise JobError(f"{path} {'exists' if path.exists() else 'does not end in .png'}; give another name")
    planes = [plane for plane in job.planes if not plane.copied and not job.treatment_of(plane).is_identity]
    if not planes:
        raise JobError("the noise is so weak that the image is left alone; there is no background to be shown")
    path.write_bytes(imagecodecs.png_encode(_picture(source, job, planes[0])))


def _picture(source: Source, job: Job, plane: Plane) -> NDArray[np.uint8]:
    """[H, W, 3], so small that a tile of any image has few pixels."""
    skipping, skipped = BackgroundTiles(source, job), background_map(source, job, plane)
    each = min(job.tile, max(1, _PREVIEW // max(job.plan.grid)))
    rows: list[list[NDArray[np.float32]]] = [[] for _ in range(job.plan.grid[0])]
    for tile, skip in zip(job.plan, skipped.flat, strict=True):
        shape = tuple(-(-len(span) * each // job.tile) for span in tile.core)
        pixels = _sampled(skipping.look(plane, tile.core), shape)
        rows[tile.number // job.plan.grid[1]].append(np.asarray((pixels + _TINT) / 2, np.float32) if skip else pixels)
    whole = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    return np.asarray((whole * 255).round(), np.uint8)


def _sampled(pixels: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """[C, h, w] -> [*shape, 3], the nearest pixels."""
    ys, xs = ((np.arange(n) * 2 + 1) * side // (2 * n) for n, side in zip(shape, pixels.shape[1:], strict=True))
    return np.broadcast_to(np.moveaxis(pixels[:, ys[:, None], xs], 0, -1), (*shape, 3))
