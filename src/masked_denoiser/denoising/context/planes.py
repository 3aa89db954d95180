"""Neighbouring planes that are averaged with a plane before it is denoised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from masked_denoiser.images.planes import Plane

#: Axes along which planes may show the same structure, in the order in which they are tried.
CONTEXT_AXES = "TZ"

#: Largest number of neighbouring planes on each side.
MAX_PLANES = 4


@dataclass(frozen=True)
class ContextPlanes:
    """Neighbouring planes that are the context of each plane of a channel.

    Attributes:
        axis: along which they are neighbours, "T" or "Z".
        count: largest number of planes on each side.
        shared_noise: share of the variance of the noise that neighbouring planes have in common, such as a fixed
            pattern of the detector, or the noise of slices that were interpolated; 0 to 1.
        remaining: squared difference of two planes that is as harmful as the noise that the network leaves without
            context, as a share of the variance of the noise; greater than 0.
    """

    axis: str
    count: int
    shared_noise: float = 0.0
    remaining: float = 0.1


class PlaneNeighbours:
    """The planes of an image by their position, to find the neighbours of a plane.

    Args:
        planes: of the image; copied planes are no neighbours.
    """

    def __init__(self, planes: Sequence[Plane]) -> None:
        self._planes: Mapping[tuple[tuple[tuple[str, int], ...], int], Plane] = {
            (plane.index, plane.start): plane for plane in planes if not plane.copied
        }

    def of(self, plane: Plane, context: ContextPlanes) -> tuple[Plane, ...]:
        """Return the neighbours of a plane, the nearest first; fewer at the ends of the axis."""
        distances = (sign * step for step in range(1, context.count + 1) for sign in (-1, 1))
        found = (self._at(plane, context.axis, distance) for distance in distances)
        return tuple(neighbour for neighbour in found if neighbour is not None)

    def _at(self, plane: Plane, axis: str, distance: int) -> Plane | None:
        index = tuple((letter, at + distance * (letter == axis)) for letter, at in plane.index)
        return None if index == plane.index else self._planes.get((index, plane.start))
