"""Memory sink: one numpy array, for results that fit into memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.base import ProgressCallback, Sink, no_progress
from masked_denoiser.images.writers.layout import same_layout


class MemorySink(Sink):
    """A sink that fills a numpy array.

    Attributes:
        array: with the source's axes and shape, in its dtype or the requested one; zero where nothing was written.
    """

    def __init__(self, source: Source, dtype: Any = None) -> None:
        """Allocate the whole result."""
        self._layout = same_layout(source, dtype)
        self.array: np.ndarray[Any, Any] = np.zeros(self._layout.shape, self._layout.dtype)

    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Write [channels, height, width] at (y, x) of `plane`."""
        key, block = self._layout.place(plane, y, x, pixels)
        self.array[key] = block

    def finish(self, progress: ProgressCallback = no_progress) -> None:
        """Do nothing: `array` is the result."""

    def close(self) -> None:
        """Do nothing: no file is open."""
