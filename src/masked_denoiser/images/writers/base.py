"""Base class of sinks, which receive rectangles of planes in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from masked_denoiser.images.planes import Plane

#: Receives the fraction of work that is done, 0 to 1. An exception raised by it stops the work, which can be repeated.
ProgressCallback = Callable[[float], None]


def no_progress(_: float) -> None:
    """Ignore progress."""


def subrange(progress: ProgressCallback, number: int, total: int) -> ProgressCallback:
    """Return a callback for the progress of step `number`, from 0, of `total` steps of equal length."""
    return lambda fraction: progress((number + fraction) / total)


class Sink(ABC):
    """A destination to which a result is written, rectangle by rectangle, in any order.

    A sink is created for one source and adopts its axes, shape, dtype, pixel size, units, channel names
    and colour. `write` may be called again for the same rectangle, as a resumed job does.
    """

    @abstractmethod
    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Write [channels, height, width], in the sink's dtype, with its top left pixel at (y, x).

        `plane` is a plane of the source; y and x are multiples of the sink's chunk side.
        """

    @abstractmethod
    def finish(self, progress: ProgressCallback = no_progress) -> None:
        """Build pyramid and metadata, and give the output its final name, once all rectangles are written.

        This may take long. An exception raised by `progress` stops it; a resumed job can finish the output.
        """

    @abstractmethod
    def close(self) -> None:
        """Close files without finishing; a resumed job can continue the output."""

    def note(self, values: Mapping[str, Any]) -> None:  # noqa: B027 (a sink in memory stores none)
        """Store further JSON values with the image; may be called before `finish` only."""
