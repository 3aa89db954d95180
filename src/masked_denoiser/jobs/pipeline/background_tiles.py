"""Background tiles, which a job copies unchanged, and a picture of them."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.background import find_low_resolution, is_background
from masked_denoiser.errors import JobError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.tiling.plan import Span, Tile

#: Length in pixels of the long side of a preview.
_PREVIEW_SIDE = 1024

#: RGB colour with which background tiles are tinted in a preview.
_TINT = np.array((0.0, 0.6, 0.9), np.float32)


class BackgroundTiles:
    """Detector of background tiles.

    Args:
        source: the image.
        job: the resolved job.
    """

    def __init__(self, source: Source, job: Job) -> None:
        self._source, self._job = source, job
        self._low_level = find_low_resolution(source) if job.background else None

    def skips(self, plane: Plane, tile: Tile, unit: NDArray[np.float32]) -> bool:
        """Return whether a tile is copied unchanged.

        Args:
            plane: the plane of the tile.
            tile: its location.
            unit: [C, H, W] in [0, 1], the tile with its halo.
        """
        levels = self._job.background_of(plane)
        if levels is None or not is_background(unit, levels):
            return False
        return self._low_level is None or self._low_level.is_background(plane, tile, self._job.range_of(plane), levels)

    def may_skip(self, plane: Plane, tile: Tile) -> bool:
        """Return whether a tile is background at low resolution; without a pyramid the tile itself is read."""
        levels = self._job.background_of(plane)
        if levels is None:
            return False
        if self._low_level is None:
            return is_background(self.read_preview(plane, tile.read), levels)
        return self._low_level.is_background(plane, tile, self._job.range_of(plane), levels)

    def read_preview(self, plane: Plane, spans: tuple[Span, Span]) -> NDArray[np.float32]:
        """Return pixels [C, h, w] in [0, 1], at low resolution if the image has a pyramid."""
        scale = self._job.range_of(plane)
        if self._low_level is not None:
            return self._low_level.read_unit(plane, spans, scale)
        return scale.to_unit(self._source.read(plane, *(span.index for span in spans)))


def background_map(source: Source, job: Job, plane: Plane) -> NDArray[np.bool_]:
    """Return which tiles of a plane may be copied unchanged: [rows, columns] of `job.plan.grid`.

    Each of them is checked again at full resolution when it is read, so fewer tiles may be copied, and never others.
    """
    background = BackgroundTiles(source, job)
    return np.array([background.may_skip(plane, tile) for tile in job.plan]).reshape(job.plan.grid)


def write_preview(source: Source, job: Job, path: Path) -> None:
    """Write a PNG of the first plane that is denoised, with the tiles of `background_map` tinted.

    Args:
        source: the image.
        job: the resolved job, which skips background.
        path: a new path that ends in .png.

    Raises:
        JobError: if the path does not end in .png or exists, its folder is missing, or no plane is denoised.
    """
    if path.suffix.lower() != ".png" or path.exists():
        raise JobError(f"{path} {'exists' if path.exists() else 'does not end in .png'}; give another name")
    if not path.parent.is_dir():
        raise JobError(f"folder {path.parent} does not exist; create it first")
    planes = [plane for plane in job.planes if not plane.copied and not job.treatment_of(plane).is_identity]
    if not planes:
        raise JobError("the noise is so weak that the image is left alone; there is no background to show")
    path.write_bytes(imagecodecs.png_encode(_make_preview(source, job, planes[0])))


def _make_preview(source: Source, job: Job, plane: Plane) -> NDArray[np.uint8]:
    """Return a picture [H, W, 3] with few pixels per tile, whatever the size of the image."""
    background, skipped = BackgroundTiles(source, job), background_map(source, job, plane)
    side = min(job.tile, max(1, _PREVIEW_SIDE // max(job.plan.grid)))
    rows: list[list[NDArray[np.float32]]] = [[] for _ in range(job.plan.grid[0])]
    for tile, skip in zip(job.plan, skipped.flat, strict=True):
        shape = tuple(-(-len(span) * side // job.tile) for span in tile.core)
        pixels = _sample(background.read_preview(plane, tile.core), shape)
        rows[tile.number // job.plan.grid[1]].append(np.asarray((pixels + _TINT) / 2, np.float32) if skip else pixels)
    picture = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    return np.asarray((picture * 255).round(), np.uint8)


def _sample(pixels: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return [C, h, w] resampled to [*shape, 3] by nearest neighbour."""
    ys, xs = ((np.arange(n) * 2 + 1) * side // (2 * n) for n, side in zip(shape, pixels.shape[1:], strict=True))
    return np.broadcast_to(np.moveaxis(pixels[:, ys[:, None], xs], 0, -1), (*shape, 3))
