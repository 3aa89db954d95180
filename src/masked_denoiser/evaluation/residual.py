"""Judgement of the residual: what a denoiser removed from an image, and whether it looks like noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.noise_measurement import NoiseMeasurement, measure_noise
from masked_denoiser.evaluation.safety.removal import Removal, group_by_channel, list_removals
from masked_denoiser.evaluation.safety.removed_structure import predictable_share, structure_share
from masked_denoiser.images.lazy_arrays import with_axes
from masked_denoiser.images.selection import Selection, crop
from masked_denoiser.images.source import Source

#: Largest side in pixels of the part of a plane that is judged, and most planes.
_JUDGED_SIDE, _JUDGED_PLANES = 512, 3

#: Side in pixels of the squares that are searched for structure.
_PLACE_SIDE = 128

#: Shares of structure in the removed variance up to which a residual looks like noise, and from which on it does not.
_NOISE_SHARE, _STRUCTURE_SHARE = 0.05, 0.15

#: Most places with structure that are named.
_MAX_PLACES = 3


@dataclass(frozen=True)
class Place:
    """A square whose residual holds structure.

    Attributes:
        index: position of its plane along the other axes, as (letter, position).
        row, column: first row and column.
        side: height and width in pixels, less at the border.
        share: share of structure in the removed variance, 0 to 1.
    """

    index: tuple[tuple[str, int], ...]
    row: int
    column: int
    side: int
    share: float

    def __str__(self) -> str:
        position = "".join(f", {letter} {at}" for letter, at in self.index)
        rows, columns = (f"{start} to {start + self.side}" for start in (self.row, self.column))
        return f"rows {rows}, columns {columns}{position}"


@dataclass(frozen=True)
class ChannelResidual:
    """Figures of the residual of one channel; red, green and blue of a plane count as one.

    Attributes:
        name: of the channel; empty if the image has no other.
        sigma: standard deviation of the removed values, in units of the image.
        neighbour_correlation: correlation of the removed values of neighbouring pixels, -1 to 1; 0 for white noise,
            None if there are no neighbours.
        structure: estimated share of structure in the removed variance, 0 to 1; None if there are too few pixels to
            estimate it.
    """

    name: str
    sigma: float
    neighbour_correlation: float | None
    structure: float | None

    def __str__(self) -> str:
        parts = [f"standard deviation {self.sigma:.3g}"]
        if self.neighbour_correlation is not None:
            parts.append(f"correlation of neighbours {self.neighbour_correlation:.2f}")
        if self.structure is not None:
            parts.append(f"{self.structure:.0%} predictable from its surroundings")
        return f"{self.name}: {', '.join(parts)}" if self.name else ", ".join(parts)


@dataclass(frozen=True)
class ResidualSummary:
    """Figures of a residual.

    Attributes:
        sigma: standard deviation of the removed values of all channels together, in units of the image.
        channels: figures of each channel.
        places: the squares with most structure, if there is some.
    """

    sigma: float
    channels: tuple[ChannelResidual, ...]
    places: tuple[Place, ...] = ()

    @property
    def structure(self) -> float | None:
        """Largest share of structure of a channel; None if none has some, and one has too few pixels to tell."""
        shares = [channel.structure for channel in self.channels]
        largest = max((share for share in shares if share is not None), default=0.0)
        return None if None in shares and largest < _NOISE_SHARE else largest

    @property
    def holds_structure(self) -> bool:
        """Whether there may be structure in what was removed."""
        return self.structure is not None and self.structure >= _NOISE_SHARE

    def __str__(self) -> str:
        if not self.sigma:
            return "nothing was removed"
        figures, structure = "; ".join(map(str, self.channels)), self.structure
        if structure is None:
            return f"there are too few pixels to judge whether what was removed is noise ({figures})"
        if structure < _NOISE_SHARE:
            return f"what was removed looks like noise ({figures})"
        strength = "holds structure" if structure >= _STRUCTURE_SHARE else "may hold some structure"
        places = f"; most at {'; '.join(map(str, self.places))}" if self.places else ""
        return f"what was removed {strength} ({figures}){places}"


@dataclass(frozen=True, eq=False)
class JudgedPart:
    """Part of an image whose residual is judged.

    Attributes:
        index: position of its planes along T and Z, as (letter, position).
        corner: its first row and column.
        removals: what was removed from each channel.
    """

    index: tuple[tuple[str, int], ...]
    corner: tuple[int, int]
    removals: list[Removal]


def judge_residual(source: Source, result: Source, measured: NoiseMeasurement | None = None) -> ResidualSummary:
    """Return the figures of what was removed from an image, on some planes and at most 512 x 512 pixels of them.

    Args:
        source: the image.
        result: the denoised image; its axes may be ordered otherwise.
        measured: measured noise of the image; measured here by default.

    Raises:
        ImageError: if a pixel cannot be read.
    """
    return summarize(list(judged_removals(source, result, measured or measure_noise(source))))


def judged_removals(source: Source, result: Source, measured: NoiseMeasurement) -> Iterator[JudgedPart]:
    """Yield what was removed from the parts of an image that are judged; see `judge_residual`."""
    result = with_axes(result, source.axes)
    for selection in _judged_parts(source):
        part, denoised = crop(source, selection), crop(result, selection)
        starts = selection.starts
        index = tuple((letter, at) for letter, at in starts.items() if letter not in "YX" and source.sizes[letter] > 1)
        corner = (starts.get("Y", 0), starts.get("X", 0))
        yield JudgedPart(index, corner, list(list_removals(part, np.asarray(denoised.data[...]), measured)))


def summarize(parts: Sequence[JudgedPart]) -> ResidualSummary:
    """Return the figures of the residual of some parts, separately for each channel."""
    removals = [removal for part in parts for removal in part.removals]
    groups = group_by_channel(removals)
    channels = tuple(
        ChannelResidual(
            name if len(groups) > 1 else "", _sigma(group), _neighbour_correlation(group), structure_share(group)
        )
        for name, group in groups.items()
    )
    summary = ResidualSummary(_sigma(removals), channels)
    if not summary.holds_structure:
        return summary
    places = sorted((place for part in parts for place in _places(part)), key=lambda place: -place.share)
    return replace(summary, places=tuple(places[:_MAX_PLACES]))


def _judged_parts(source: Source) -> Iterator[Selection]:
    """Yield the middle of some planes, evenly spaced over T and Z, with all channels."""
    spans = []
    for letter in "YX":
        side = source.sizes[letter]
        start = max(0, (side - _JUDGED_SIDE) // 2)
        spans.append((letter, start, min(side, start + _JUDGED_SIDE)))
    outer = [letter for letter in source.axes if letter in "TZ" and source.sizes[letter] > 1]
    fractions = [(2 * number + 1) / (2 * _JUDGED_PLANES) for number in range(_JUDGED_PLANES)]
    positions = (tuple((letter, int(source.sizes[letter] * fraction)) for letter in outer) for fraction in fractions)
    for position in dict.fromkeys(positions):
        yield Selection((*((letter, at, at + 1) for letter, at in position), *spans))


def _places(part: JudgedPart) -> Iterator[Place]:
    """Yield the squares of a part with structure in any channel."""
    removals, corner = part.removals, part.corner
    height, width = removals[0].before.shape if removals else (0, 0)
    for y in range(0, height, _PLACE_SIDE):
        for x in range(0, width, _PLACE_SIDE):
            key = (slice(y, y + _PLACE_SIDE), slice(x, x + _PLACE_SIDE))
            share = max(predictable_share(_cut(removal, key)) or 0.0 for removal in removals)
            if share >= _NOISE_SHARE:
                yield Place(part.index, corner[0] + y, corner[1] + x, min(_PLACE_SIDE, height - y, width - x), share)


def _cut(removal: Removal, key: tuple[slice, slice]) -> Removal:
    parts = {name: getattr(removal, name)[key] for name in ("before", "after", "valid", "variance")}
    return replace(removal, **parts)


def _sigma(removals: list[Removal]) -> float:
    values: list[NDArray[np.float64]] = [removal.removed[removal.valid] for removal in removals]
    joined = np.concatenate(values) if values else np.zeros(0)
    return float(joined.std()) if joined.size else 0.0


def _neighbour_correlation(removals: list[Removal]) -> float | None:
    """Return the mean correlation of horizontal and vertical neighbours, weighted by variance; None without any."""
    products, squares = 0.0, 0.0
    for removal in removals:
        removed: NDArray[Any] = removal.removed - removal.removed.mean()
        pairs = (removed[:, 1:] * removed[:, :-1], removed[1:] * removed[:-1])
        means = [float(pair.mean()) for pair in pairs if pair.size]
        if not means:
            return None
        products += sum(means) / len(means)
        squares += float((removed**2).mean())
    return products / squares if squares else 0.0
