"""Denoising of any rectangle of an image, outside of a run of its job."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from masked_denoiser.denoising.tile_denoiser import Runner
from masked_denoiser.images.planes import Plane, from_channels_first, plane_index
from masked_denoiser.jobs.pipeline.prefetch import StageTimings
from masked_denoiser.jobs.pipeline.tile_stages import BatchTask, Pixels, TileStages
from masked_denoiser.jobs.runner_factory import create_runner
from masked_denoiser.jobs.spec.resolved_job import ResolvedJob
from masked_denoiser.tiling.plan import Span, Tile

_LOG = logging.getLogger(__name__)


class RectangleDenoiser:
    """Denoiser of rectangles with the noise, intensity ranges and model of a job. Any thread may call it.

    The network runs in one thread at a time, while others may read.
    """

    def __init__(self, resolved: ResolvedJob) -> None:
        self.resolved, self._lock = resolved, threading.Lock()
        self._stages = TileStages(resolved.job, resolved.source, StageTimings())

    def changes(self, plane: Plane) -> bool:
        """Return whether a plane is denoised; other planes are copied."""
        return not plane.copied and not self.resolved.job.treatment_of(plane).is_identity

    def denoise_batch(self, plane: Plane, batch: tuple[Tile, ...]) -> list[Pixels]:
        """Return the cores of tiles of equal shape, [channels, height, width] each, in the units of the image."""
        group = self.resolved.job.groups[0]  # not used by the stages
        task = BatchTask((self.resolved.job.planes.index(plane), 0), plane, group, batch, last=False)
        loaded = self._stages.read(task)
        if loaded.units is None:
            return [pixels for pixels, _ in self._stages.to_image_units(task, loaded, None)]
        with self._lock:
            pending = self._stages.submit(task, loaded, self._runner)
            denoised = pending() if pending else None
        return [pixels for pixels, _ in self._stages.to_image_units(task, loaded, denoised)]

    def denoise(self, plane: Plane, rows: Span, columns: Span) -> Pixels:
        """Return a rectangle of a plane, [channels, height, width], in the units of the image.

        Rectangles that are not tiles of the job have other halos, and may differ from its result by what lies beyond.

        Raises:
            PlanError: if the rectangle does not begin on the window grid of the network.
        """
        return self.denoise_batch(plane, (self.resolved.job.plan.rectangle(rows, columns),))[0]

    @property
    def whole_axis(self) -> str:
        """The axis of which a block has all positions: that of the colours, also if they are denoised separately."""
        return self.colour_axis or ("S" if self.resolved.source.rgb and "S" in self.resolved.source.axes else "")

    def planes_at(self, position: Mapping[str, int]) -> list[Plane]:
        """Return the planes at a position along the axes other than Y, X and colour: one, or more with alpha."""
        return self._planes[tuple(position[letter] for letter in self._outer_axes)]

    def assemble(self, parts: Sequence[tuple[Plane, Pixels]]) -> Pixels:
        """Return the same rectangle of planes at one position as a block with the axes of the image.

        Args:
            parts: planes, and their pixels [channels, height, width].
        """
        job, source = self.resolved.job, self.resolved.source
        sides = {"Y": parts[0][1].shape[1], "X": parts[0][1].shape[2]}
        sides |= {self.whole_axis: source.sizes[self.whole_axis]} if self.whole_axis else {}
        block: Pixels = np.empty([sides.get(a, 1) for a in source.axes], job.result_dtype.newbyteorder("="))
        for plane, pixels in parts:
            inside = replace(plane, index=tuple((a, i if a == self.whole_axis else 0) for a, i in plane.index))
            key = plane_index(source.axes, inside, slice(None), slice(None))
            block[key] = from_channels_first(pixels, source.axes, plane)
        return block

    @cached_property
    def colour_axis(self) -> str:
        """The axis whose positions are denoised jointly; "" if there is none."""
        return next((plane.channel_axis for plane in self.resolved.job.planes if plane.channel_axis), "")

    @property
    def _outer_axes(self) -> str:
        """The axes other than Y, X and colour."""
        return "".join(letter for letter in self.resolved.source.axes if letter not in ("Y", "X", self.whole_axis))

    @cached_property
    def _planes(self) -> dict[tuple[int, ...], list[Plane]]:
        planes: dict[tuple[int, ...], list[Plane]] = {}
        for plane in self.resolved.job.planes:
            at = dict(plane.index)
            planes.setdefault(tuple(at[letter] for letter in self._outer_axes), []).append(plane)
        return planes

    @cached_property
    def _runner(self) -> Runner:
        resolved = self.resolved
        return create_runner(resolved.model, resolved.device, resolved.job, report=_LOG.info)
