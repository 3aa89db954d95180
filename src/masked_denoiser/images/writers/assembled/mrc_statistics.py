"""Statistics of pixels that are collected plane by plane, for the header of an MRC."""

from __future__ import annotations

from math import inf, sqrt
from typing import Any

import numpy as np

#: Pixels that are converted to float64 at a time.
_BLOCK = 2**18


class Statistics:
    """Extremes, mean and deviation of all finite pixels.

    Deviations are added up around the mean of each block (Chan, Golub and LeVeque, The American Statistician 37 (1983)
    242-247), since the difference of large sums of squares would lose small ones.

    Attributes:
        count: number of pixels.
        low, high, mean: of their values.
    """

    def __init__(self) -> None:
        self.count, self.low, self.high, self.mean = 0, inf, -inf, 0.0
        self._squares = 0.0

    @property
    def deviation(self) -> float:
        """Root of the mean squared deviation from the mean; 0 without pixels."""
        return sqrt(self._squares / self.count) if self.count else 0.0

    def add(self, pixels: np.ndarray[Any, Any]) -> None:
        """Add pixels of any shape; those that are not finite are left out."""
        flat = pixels.reshape(-1)
        for start in range(0, flat.size, _BLOCK):
            values = flat[start : start + _BLOCK].astype(np.float64)
            finite = values[np.isfinite(values)]
            if finite.size:
                self._add(finite)

    def _add(self, values: np.ndarray[Any, Any]) -> None:
        mean, count = float(values.mean()), self.count + values.size
        shift = mean - self.mean
        self._squares += float(np.square(values - mean).sum()) + shift**2 * self.count * values.size / count
        self.mean += shift * values.size / count
        self.count = count
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
