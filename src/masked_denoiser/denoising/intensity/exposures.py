"""Exposures: one image shown to the network at several contrasts, so that neither end of its intensities is lost.

The finest exposure shows the bulk of the image; what is brighter or darker than that is clipped in it, and is taken
from the next one, which shows four times as much. Every pixel takes the finest exposure in which nothing around it is
clipped. That depends on the pixels near it alone, so that tiles agree, and bright objects that no sample has seen are
handled where they are met.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, uniform_filter

Batch = NDArray[np.float32]

#: Ratio of the intensities that one exposure and the next show.
FACTOR = 4.0

#: Ends of what the network is shown: it was trained on clipped images.
_LOW, _HIGH = 0.0, 1.0

#: Side of the square in which nothing may be clipped, and of the one that exposures are blended over.
_AROUND, _BLENDED = 5, 3

#: Distance in pixels that decides which exposure a pixel takes.
REACH = _AROUND // 2 + _BLENDED // 2

#: No more exposures than this: 4 ** 12 is beyond the precision of float32.
_MOST = 12


@dataclass(frozen=True, eq=False)
class Exposure:
    """One exposure of a batch of tiles.

    Attributes:
        number: 0 for the finest.
        seen: [B, C, H, W] as the network sees it, clipped.
        weight: [B, 1, H, W], the share of each pixel that is taken from this exposure.
    """

    number: int
    seen: Batch
    weight: Batch

    @property
    def contrast(self) -> float:
        """What differences of the values are multiplied by."""
        return FACTOR**-self.number

    def to_values(self, seen: NDArray[Any]) -> NDArray[Any]:
        """Return what the network gave in the units of the values that were exposed."""
        return seen * FACTOR**self.number + _darkest(self.number)


def _darkest(number: int) -> float:
    """What an exposure shows as 0: exposures reach three times farther up than down, as bright objects do."""
    return -(FACTOR**number - 1.0) / 4.0


def expose(values: Batch) -> list[Exposure]:
    """Return the exposures that the pixels of some tiles need; only the finest for most tiles.

    The finest comes first even where no pixel takes it: a tile must not depend on the others of its batch.

    Args:
        values: [B, C, H, W], the bulk in [0, 1] and all else anywhere.
    """
    found: list[Exposure] = []
    left = np.ones((len(values), 1, *values.shape[2:]), np.float32)
    for number in range(_MOST):
        seen = (values - np.float32(_darkest(number))) / np.float32(FACTOR**number)
        clipped = ((seen < _LOW) | (seen > _HIGH)).any(axis=1, keepdims=True)
        if not clipped.any() or number == _MOST - 1:
            found.append(Exposure(number, np.clip(seen, _LOW, _HIGH), left))
            break
        near = maximum_filter(clipped.astype(np.float32), (1, 1, _AROUND, _AROUND), mode="nearest")
        inside = 1.0 - uniform_filter(near, (1, 1, _BLENDED, _BLENDED), mode="nearest")
        weight = np.minimum(left, inside).astype(np.float32)
        left = left - weight
        if weight.any() or number == 0:
            found.append(Exposure(number, np.clip(seen, _LOW, _HIGH), weight))
    return found
