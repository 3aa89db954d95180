"""Choice of the context: whether neighbouring planes lower the error, measured on a sample before a job starts.

Each number of planes is tried on a few places and scored without the clean image, as noise treatments are: see
`denoising.treatment_trial`. A little noise is added to the plane, and the part that it has in common with its
neighbours to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from masked_denoiser.denoising.context.average import average_neighbours, plane_noise, uses_context
from masked_denoiser.denoising.context.neighbour_mean import Context, relative_difference
from masked_denoiser.denoising.context.planes import CONTEXT_AXES, ContextPlanes, PlaneNeighbours
from masked_denoiser.denoising.impulse_replacement import replace_impulses
from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.intensity.rectangles import Pixels, group_planes
from masked_denoiser.denoising.noise_treatment import NoiseTreatment, to_six_digits
from masked_denoiser.denoising.tile_denoiser import TileDenoiser
from masked_denoiser.denoising.treatment_trial import AddedNoise, run_trials
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.inference.runner import Batch, ModelRunner
from masked_denoiser.models.file import Model
from masked_denoiser.network.config import SwinConfig

#: Requested number of neighbouring planes on each side: measured, none, or a number.
RequestedNeighbours = int | Literal["auto", "none"]

#: Numbers of planes on each side that are tried, in this order, as long as the error is not higher than without.
_COUNTS = (1, 2, 4)

#: Side in pixels of the places on which they are tried, their number, and that for Swin networks, which take longer.
_PLACE_SIDE, _PLACES, _PLACES_WITH_SWIN = 96, 8, 4

#: Number of squares of a plane from which a place is chosen, and the largest share of missing pixels in it.
_SQUARES, _MAX_MISSING = 6, 0.02

#: Sigma in pixels of the Gaussian after which the variance of a square is its structure.
_STRUCTURE_SIGMA = 2.0

#: Share of the variance of the noise by which the error must fall, and the same in standard errors over the places.
_MIN_GAIN, _MIN_STANDARD_ERRORS = 0.001, 1.0

#: Largest mean variance of averaged noise, as a share of that of a plane, at which averaging is worth its time, and by
#: how much more planes must lower it; they may then raise the error by as much as `_MIN_GAIN`.
_MAX_VARIANCE, _LESS_VARIANCE = 0.95, 0.05

#: Ratio of the harmless squared difference of two planes to the variance of the noise that the network leaves, which is
#: about its response to noise (it equals it for the best linear filter), and the least such response.
_HARMLESS_RATIO, _MIN_RESPONSE = 1.5, 0.01

#: Side in pixels of the blocks on which shared noise is measured, and the quantile over the blocks.
_BLOCK, _BLOCK_QUANTILE = 32, 0.25

#: By how much that quantile of the squared difference of planes is below that of noise by chance, and the share of
#: the noise below which shared noise is negligible.
_CHANCE, _NEGLIGIBLE = 0.15, 0.05


@dataclass(frozen=True)
class _Place:
    """A square of a plane.

    Attributes:
        plane: the plane.
        rows, columns: of the square.
    """

    plane: Plane
    rows: slice
    columns: slice


@dataclass(frozen=True, eq=False)
class _Score:
    """Result of a trial at each place.

    Attributes:
        error: estimated mean square error, where 1 is that of the noise; lower is better.
        response: share of added noise that is left.
        variance: of the noise after averaging, as a share of that of a plane.
    """

    error: NDArray[np.float64]
    response: NDArray[np.float64]
    variance: NDArray[np.float64]

    def is_better_than(self, alone: _Score) -> bool:
        """Return whether the error is lower than without neighbours, by more than chance, and at little cost."""
        gains = alone.error - self.error
        chance = _MIN_STANDARD_ERRORS * float(gains.std()) / max(1, len(gains) - 1) ** 0.5
        return bool(gains.mean() > max(_MIN_GAIN, chance) and self.variance.mean() < _MAX_VARIANCE)

    def is_worth_more_planes_than(self, fewer: _Score) -> bool:
        """Return whether more planes flicker less than fewer do, at no greater error."""
        flickers_less = self.variance.mean() < fewer.variance.mean() - _LESS_VARIANCE
        return bool(flickers_less and self.error.mean() < fewer.error.mean() + _MIN_GAIN)


def choose_context(
    source: Source,
    planes: Sequence[Plane],
    ranges: Mapping[int, IntensityRange],
    treatments: Mapping[int, NoiseTreatment],
    model: Model,
    requested: RequestedNeighbours,
    seed: int,
) -> dict[int, ContextPlanes]:
    """Return the context of each channel that has one, by `Plane.channel`.

    Args:
        source: the image, of which a sample is read.
        planes: those that are denoised.
        ranges, treatments: of the planes, by `Plane.range_key`.
        model: contexts are tried with it on the CPU.
        requested: "auto", "none", or the number of planes on each side, which are used even if no gain is measured.
        seed: of the sample.
    """
    axes = [axis for axis in CONTEXT_AXES if source.sizes.get(axis, 1) > 1]
    if requested == "none" or not axes:
        return {}
    counts = _COUNTS if isinstance(requested, str) else (requested,)
    trial = _Trial(source, planes, ranges, treatments, model)
    chosen: dict[int, ContextPlanes] = {}
    for channel, group in group_planes(planes, "channel").items():
        places = trial.choose_places([p for p in group if uses_context(treatments[p.range_key])], seed)
        best = trial.select(axes, counts, places, always=requested != "auto") if places else None
        if best is not None:
            chosen[channel] = best
    return chosen


class _Trial:
    """Trial of contexts on places of an image, on the CPU; the network is built when it is first needed."""

    def __init__(
        self,
        source: Source,
        planes: Sequence[Plane],
        ranges: Mapping[int, IntensityRange],
        treatments: Mapping[int, NoiseTreatment],
        model: Model,
    ) -> None:
        self._source, self._ranges, self._treatments, self._model = source, ranges, treatments, model
        self._neighbours = PlaneNeighbours(planes)

    @cached_property
    def _denoiser(self) -> TileDenoiser:
        runner = ModelRunner(self._model, torch.device("cpu"))
        return TileDenoiser(runner, runner.config.grid, keep_faint=False)

    def choose_places(self, planes: Sequence[Plane], seed: int) -> list[_Place]:
        """Return squares of evenly spaced planes, from the flattest of one to the most structured of another.

        A plane of a short stack has several.
        """
        if not planes:
            return []
        count = _PLACES_WITH_SWIN if isinstance(self._model.card.architecture, SwinConfig) else _PLACES
        numbers = np.linspace(0, len(planes) - 1, count + 2)[1:-1].round().astype(int)
        rng = np.random.default_rng(seed)
        # Structure must not be in step with the position along the stack.
        quantiles = rng.permutation(np.linspace(0.0, 1.0, count))
        return [self._choose_place(planes[n], rng, float(q)) for n, q in zip(numbers, quantiles, strict=True)]

    def _choose_place(self, plane: Plane, rng: np.random.Generator, quantile: float) -> _Place:
        """Return the square of a plane that has this quantile of structure among some random squares."""
        squares: list[tuple[bool, float, _Place]] = []
        for _ in range(_SQUARES):
            rows, columns = (
                slice(start := int(rng.integers(max(1, side - _PLACE_SIDE + 1))), min(start + _PLACE_SIDE, side))
                for side in self._source.size_yx
            )
            unit, missing = self._read(place := _Place(plane, rows, columns))
            smooth = gaussian_filter(unit, (0, _STRUCTURE_SIGMA, _STRUCTURE_SIGMA), mode="nearest")
            squares.append((missing > _MAX_MISSING, float(np.clip(smooth, -1.0, 3.0).var(axis=(1, 2)).max()), place))
        complete = [square for square in squares if not square[0]] or squares
        complete.sort(key=lambda square: square[1])
        return complete[round(quantile * (len(complete) - 1))][2]

    def _read(self, place: _Place) -> tuple[Batch, float]:
        """Return a place in units of its range, and the share of its pixels that are missing."""
        pixels, scale = self._source.read(place.plane, place.rows, place.columns), self._ranges[place.plane.range_key]
        missing = scale.missing_mask(pixels)
        return scale.to_unit(pixels), 0.0 if missing is None else float(missing.mean())

    def select(
        self, axes: Sequence[str], counts: Sequence[int], places: Sequence[_Place], *, always: bool
    ) -> ContextPlanes | None:
        """Return the context with the least error; None if none is better than the plane alone, unless `always`.

        The axis is chosen with the first of the counts.
        """
        alone = self._score(None, places)
        remaining = to_six_digits(_HARMLESS_RATIO * max(float(alone.response.mean()), _MIN_RESPONSE))
        first = [ContextPlanes(axis, counts[0], self._shared_noise(axis, places), remaining) for axis in axes]
        scores = [self._score(context, places) for context in first]
        number = int(np.argmin([score.error.mean() for score in scores]))
        best, score = first[number], scores[number]
        if always:
            return best
        chosen: ContextPlanes | None = None
        least = alone
        for count in counts:
            context = replace(best, count=count)
            score = score if count == best.count else self._score(context, places)
            if score.error.mean() > alone.error.mean():
                break
            if score.is_better_than(alone) and (chosen is None or score.is_worth_more_planes_than(least)):
                chosen, least = context, score
        return chosen

    def _shared_noise(self, axis: str, places: Sequence[_Place]) -> float:
        """Return the share of the variance of the noise that adjacent planes have in common.

        It is what lacks in the difference of two planes where they show the same.
        """
        nearest = ContextPlanes(axis, 1)
        blocks: list[float] = []
        for place in places:
            treatment = self._treatments[place.plane.range_key]
            for neighbour in self._neighbours.of(place.plane, nearest):
                scale = self._ranges[place.plane.range_key]
                own, other = (
                    scale.to_unit(self._source.read(plane, place.rows, place.columns))
                    for plane in (place.plane, neighbour)
                )
                difference = relative_difference(own, other, plane_noise(treatment, nearest))
                blocks += _block_means(difference.mean(axis=0))
        if not blocks:
            return 0.0
        shared = 1.0 - _CHANCE - float(np.quantile(blocks, _BLOCK_QUANTILE))
        return to_six_digits(min(shared, 1.0)) if shared > _NEGLIGIBLE else 0.0

    def _score(self, context: ContextPlanes | None, places: Sequence[_Place]) -> _Score:
        removed, response, variance = np.transpose([self._try(context, place) for place in places])
        return _Score(removed + 2.0 * response - 1.0, response, variance)

    def _try(self, context: ContextPlanes | None, place: _Place) -> tuple[float, float, float]:
        """Return what is removed from a place, the share of added noise that is left, and the variance after averaging.

        The first and the last are shares of the variance of the noise.
        """
        key = place.plane.range_key
        pixels = self._source.read(place.plane, place.rows, place.columns)
        origin = (place.rows.start, place.columns.start)
        unit = replace_impulses(self._ranges[key].to_unit(pixels)[None], self._treatments[key], (origin,))[0]
        treatment = replace(self._treatments[key], hot_pixels=())  # they are replaced now
        others = self._neighbours.of(place.plane, context) if context else ()
        neighbours = [
            (self._source.read(other, place.rows, place.columns), self._ranges[other.range_key])
            for other in others
            if not self._ranges[other.range_key].blank
        ]

        variances = [1.0]

        def denoise(tiles: Batch, treatment: NoiseTreatment) -> Batch:
            averaged = None
            if context is not None:
                added = context.shared_noise * (tiles[0] - unit)
                averaged = self._average(pixels, tiles[0], neighbours, added, treatment, context, key, origin)
                variances.append(float((averaged.sigma_share**2).mean()))
            return self._denoiser.submit(tiles, ((0, 0),), treatment, averaged)().mean

        (result,) = run_trials([treatment], [unit], denoise, AddedNoise(treatment.noise_variances, treatment.width))
        return result.removed, result.noise_response, variances[-1]

    def _average(
        self,
        pixels: Pixels,
        tile: Batch,
        neighbours: Sequence[tuple[Pixels, IntensityRange]],
        added: NDArray[np.float32],
        treatment: NoiseTreatment,
        context: ContextPlanes,
        key: int,
        origin: tuple[int, int],
    ) -> Context:
        """Return a tile averaged with its neighbours, to which noise is added."""
        scale = self._ranges[key]
        moved = [(other.astype(np.float64) + added * scale.span, each) for other, each in neighbours]
        mean = average_neighbours(pixels, tile, moved, scale, treatment, context, origin)
        return Context(mean.mean[None], mean.sigma_share[None])


def _block_means(values: NDArray[np.float32]) -> list[float]:
    """Return the means over blocks of [H, W]; blocks that are cut off are left out, unless there are no others."""
    parts = [np.array_split(np.arange(side), max(1, side // _BLOCK)) for side in values.shape]
    return [float(values[np.ix_(ys, xs)].mean()) for ys in parts[0] for xs in parts[1]]
