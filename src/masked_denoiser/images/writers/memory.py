"""Memory sink: a result as one numpy array, for images that fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.base import ProgressCallback, Sink, no_progress
from masked_denoiser.images.writers.layout import same_layout


class MemorySink(Sink):
    """A result in memory.

    Attributes:
        array: the source's axes and shape, in its dtype or the one asked for; zero where nothing was written.
    """

    def __init__(self, source: Source, dtype: Any = None) -> None:
        """Makes room for the whole result."""
        self._layout = same_layout(source, dtype)
        self.array: np.ndarray[Any, Any] = np.zeros(self._layout.shape, self._layout.dtype)

    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Puts [channels, height, width] at (y, x) of `plane`."""
        key, block = self._layout.place(plane, y, x, pixels)
        self.array[key] = block

    def finish(self, follow: ProgressCallback = no_progress) -> None:
        """Nothing is left to do: `array` is the result."""

    def close(self) -> None:
        """Nothing is held open."""
