"""Exposures: one image shown to the network at several contrasts, so that neither end of its intensities is lost.

The finest exposure shows the bulk of the image. Anything brighter or darker is clipped in it, and taken from the next
exposure, which shows a range four times as large. Each pixel uses the finest exposure in which nothing near it is
clipped. As this depends on the neighbourhood alone, tiles agree, and bright objects need not occur in the sample on
which the range was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, uniform_filter

Batch = NDArray[np.float32]

#: Ratio of the intensity ranges of successive exposures.
FACTOR = 4.0

#: Lowest and highest value of the network input, as in training on clipped images.
_LOW, _HIGH = 0.0, 1.0

#: Side in pixels of the square in which nothing may be clipped, and of the square over which exposures are blended.
_UNCLIPPED_SIDE, _BLEND_SIDE = 5, 3

#: Distance in pixels up to which pixels affect the choice of exposure.
REACH = _UNCLIPPED_SIDE // 2 + _BLEND_SIDE // 2

#: Largest number of exposures: 4 ** 12 exceeds the precision of float32.
_MAX_EXPOSURES = 12

#: Largest distance from 0, in units of the intensity range, that the coarsest exposure shows.
LARGEST_VALUE = FACTOR ** (_MAX_EXPOSURES - 1)


@dataclass(frozen=True, eq=False)
class Exposure:
    """One exposure of a batch of tiles.

    Attributes:
        number: 0 for the finest.
        network_input: [B, C, H, W], clipped to the range of the network.
        weight: [B, 1, H, W], share of this exposure in each pixel.
    """

    number: int
    network_input: Batch
    weight: Batch

    @property
    def contrast(self) -> float:
        """Factor by which differences of values are multiplied."""
        return FACTOR**-self.number

    def to_values(self, output: NDArray[Any]) -> NDArray[Any]:
        """Return a network output in the units of the values that were exposed."""
        return output * FACTOR**self.number + _black_level(self.number)


def _black_level(number: int) -> float:
    """Return the value that an exposure shows as 0: exposures extend three times farther upwards than downwards."""
    return -(FACTOR**number - 1.0) / 4.0


def expose(values: Batch, first: int = 0) -> list[Exposure]:
    """Return the exposures that the pixels of some tiles need; for most tiles the finest alone.

    The finest comes first even if no pixel uses it, because a tile must not depend on the others of its batch.

    Args:
        values: [B, C, H, W], unlimited, with the bulk in [0, 1].
        first: number of the finest exposure to use.
    """
    exposures: list[Exposure] = []
    remaining = np.ones((len(values), 1, *values.shape[2:]), np.float32)
    for number in range(first, _MAX_EXPOSURES):
        shown = (values - np.float32(_black_level(number))) / np.float32(FACTOR**number)
        clipped = ((shown < _LOW) | (shown > _HIGH)).any(axis=1, keepdims=True)
        if not clipped.any() or number == _MAX_EXPOSURES - 1:
            exposures.append(Exposure(number, np.clip(shown, _LOW, _HIGH), remaining))
            break
        near = maximum_filter(clipped.astype(np.float32), (1, 1, _UNCLIPPED_SIDE, _UNCLIPPED_SIDE), mode="nearest")
        unclipped = 1.0 - uniform_filter(near, (1, 1, _BLEND_SIDE, _BLEND_SIDE), mode="nearest")
        weight = np.minimum(remaining, unclipped).astype(np.float32)
        remaining = remaining - weight
        if weight.any() or number == first:
            exposures.append(Exposure(number, np.clip(shown, _LOW, _HIGH), weight))
    return exposures
