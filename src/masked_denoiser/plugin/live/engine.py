"""Background task of the live view: denoises what is visible, nearest to the centre first; without Qt and napari."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.jobs.lazy.rectangles import RectangleDenoiser
from masked_denoiser.jobs.messages import describe_unchanged
from masked_denoiser.jobs.resolve_job import resolve_job
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.plugin.live.cell_cache import CellCache, LiveLevel
from masked_denoiser.plugin.live.cells import Position, View, cell_side, next_rectangle, visible_cells
from masked_denoiser.tiling.plan import Span

#: Seconds that a rectangle takes: as long as a change of the view waits, and as an update of the screen takes.
_RECTANGLE_SECONDS = 0.6

#: Pixels per second that are assumed before the first measurement.
_INITIAL_SPEED = 2.5e5

#: Seconds between two checks whether the task was cancelled.
_WAIT_SECONDS = 0.1


@dataclass(frozen=True)
class LiveStatus:
    """Event: what the live view does.

    Attributes:
        text: description for the user.
        share: share of the view that is denoised; None if that is not known.
        changed: whether pixels of the view have changed.
    """

    text: str
    share: float | None = None
    changed: bool = False


@dataclass(frozen=True, eq=False)
class LiveImage:
    """Image of a live view.

    Attributes:
        sources: each level as it is denoised.
        levels: each level as it is displayed.
        averaged: whether coarse levels are displayed as single pixels of the image until their means are computed.
        cache: the denoised cells.
    """

    sources: Sequence[Source]
    levels: Sequence[LiveLevel]
    averaged: bool
    cache: CellCache

    def full_position(self, view: View) -> dict[str, int]:
        """Return the position of a view at full resolution, for pyramids that are reduced along further axes."""
        whole, reduced = self.sources[0].sizes, self.sources[view.level].sizes
        return {a: min(at * whole[a] // reduced[a], whole[a] - 1) for a, at in view.position}

    def resolution(self, number: int) -> str:
        """Return the resolution of a level, for the user."""
        whole, reduced = self.sources[0].size_yx, self.sources[number].size_yx
        return f"1/{round(max(whole) / max(reduced))} of the resolution"


class LiveEngine:
    """Denoiser of what is visible of an image.

    Args:
        image: the image.
        model: name of a model, or "auto".
        device: "auto" or the name of a device.
        options: options of the job.
    """

    def __init__(self, image: LiveImage, model: str, device: str, options: Options) -> None:
        self._image, self._model, self._device = image, model, device
        self._options = replace(options, std=False, dtype="same")  # the levels have the dtype of the image
        self._denoisers: dict[int, RectangleDenoiser] = {}
        self._view: View | None = None
        self._changed = threading.Condition()
        self._speed = _INITIAL_SPEED

    def look_at(self, view: View | None) -> None:
        """Denoise another view from now on; None to do nothing."""
        with self._changed:
            self._view = view
            self._changed.notify()

    def run(self, cancel: threading.Event) -> Iterator[LiveStatus]:
        """Denoise each view until cancelled.

        Raises:
            MaskedDenoiserError: if the image cannot be denoised with these settings.
        """
        done: View | None = None
        while not cancel.is_set():
            with self._changed:
                if self._view is None or self._view == done:
                    self._changed.wait(_WAIT_SECONDS)
                view = self._view
            if view is not None and view != done:
                is_done = yield from self._denoise(view, cancel)
                done = view if is_done else None

    def _denoise(self, view: View, cancel: threading.Event) -> Generator[LiveStatus, None, bool]:
        """Denoise the missing cells of a view, until it changes; return whether all are there."""
        number = view.level
        yield from self._resolve_levels(number)
        denoiser, level = self._denoisers[number], self._image.levels[number]
        planes, position = denoiser.planes_at(dict(view.position)), _without(view.position, denoiser.whole_axis)
        unchanged = self._is_unchanged(view)
        if unchanged and not (number and self._image.averaged):
            yield LiveStatus(self._describe_unchanged(view), 1.0)
            return True
        rows, columns = visible_cells(view, level.cell)
        missing = self._image.cache.missing(number, position, rows, columns)
        while True:
            share = 1.0 - float(missing.mean())
            yield LiveStatus(self._describe(view, unchanged, share), share, changed=True)
            if cancel.is_set() or self._view != view:
                return share >= 1.0
            part = next_rectangle(missing, _centre(view, level.cell, rows, columns), self._most_cells(level.cell))
            if part is None:
                return True
            cells = _shifted(part[0], rows.start), _shifted(part[1], columns.start)
            self._add_cells(number, position, [] if unchanged else planes, *cells)
            missing[part[0].start : part[0].stop, part[1].start : part[1].stop] = False

    def _resolve_levels(self, number: int) -> Iterator[LiveStatus]:
        """Measure the noise at full resolution, which decides what is noise, and at that of a level."""
        for each in sorted({0, number} - self._denoisers.keys()):
            where = f" at {self._image.resolution(each)}" if each else ""
            yield LiveStatus(f"measuring the noise{where}")
            self._denoisers[each] = self._resolve(each)

    def _is_unchanged(self, view: View) -> bool:
        """Return whether the planes of a view keep their pixels.

        What a job leaves alone at full resolution is structure at any resolution.
        """
        return not all(self._changes(number, view) for number in {0, view.level})

    def _changes(self, number: int, view: View) -> bool:
        denoiser = self._denoisers[number]
        at = dict(view.position) if number == view.level else self._image.full_position(view)
        return any(denoiser.changes(plane) for plane in denoiser.planes_at(at))

    def _resolve(self, number: int) -> RectangleDenoiser:
        source = self._image.sources[number]
        resolved = resolve_job(source, model=self._model, options=self._options, device=self._device)
        denoiser, level = RectangleDenoiser(resolved), self._image.levels[number]
        level.set_cells(cell_side(resolved.job.plan.window), denoiser.whole_axis)
        return denoiser

    def _add_cells(self, number: int, position: Position, planes: Sequence[Plane], rows: range, columns: range) -> None:
        """Denoise a rectangle of cells, add them to the cache, and measure the speed.

        Args:
            number: of the level.
            position: along the axes of which a cell has one position.
            planes: planes to denoise at this position; none to add the pixels of the level as they are.
            rows, columns: of the cells.
        """
        started, side = time.monotonic(), self._image.levels[number].cell
        denoiser, source = self._denoisers[number], self._image.sources[number]
        axes, (height, width) = source.axes, source.size_yx
        ys, xs = _pixels(rows, side, height), _pixels(columns, side, width)
        if planes:
            block = denoiser.assemble([(plane, denoiser.denoise(plane, ys, xs)) for plane in planes])
        else:
            spans = {letter: slice(at, at + 1) for letter, at in position} | {"Y": ys.index, "X": xs.index}
            block = np.asarray(source.data[tuple(spans.get(letter, slice(None)) for letter in axes)])
        for row in rows:
            for column in columns:
                spans = {
                    "Y": _pixels(range(row, row + 1), side, height),
                    "X": _pixels(range(column, column + 1), side, width),
                }
                key = [spans[a].inside({"Y": ys, "X": xs}[a]) if a in spans else slice(None) for a in axes]
                self._image.cache.add((number, position, row, column), _copy(block[tuple(key)]))
        self._speed = len(ys) * len(xs) / max(time.monotonic() - started, 1e-3)

    def _most_cells(self, side: int) -> int:
        """Return the number of cells that are denoised in the time of a rectangle."""
        return max(1, int(self._speed * _RECTANGLE_SECONDS / side**2))

    def _describe(self, view: View, unchanged: bool, share: float) -> str:
        if unchanged:
            return f"{self._describe_unchanged(view)}; it is averaged"
        scale = f" at {self._image.resolution(view.level)}" if view.level else ""
        return f"denoised{scale}" if share >= 1.0 else f"denoising{scale}"

    def _describe_unchanged(self, view: View) -> str:
        number = view.level if self._changes(0, view) else 0
        scale = f" at {self._image.resolution(number)}" if number else ""
        resolved = self._denoisers[number].resolved
        return f"the original is shown{scale}: {describe_unchanged(resolved.job, resolved.source)}"


def _without(position: Position, colour: str) -> Position:
    return tuple((letter, index) for letter, index in position if letter != colour)


def _centre(view: View, side: int, rows: range, columns: range) -> tuple[float, float]:
    """Return the centre of a view, in cells from the first visible cell."""
    y, x = ((span.start + span.stop) / 2 / side for span in (view.rows, view.columns))
    return y - rows.start, x - columns.start


def _shifted(cells: range, by: int) -> range:
    return range(cells.start + by, cells.stop + by)


def _pixels(cells: range, side: int, end: int) -> Span:
    return Span(cells.start * side, min(cells.stop * side, end))


def _copy(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return a copy that does not keep the rectangle in memory."""
    return np.array(pixels, order="C")
