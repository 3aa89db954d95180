"""What every sink does: take rectangles of planes as they come, and end complete or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from masked_denoiser.images.planes import Plane

#: Is told what share of a piece of work is done, 0 to 1. What it raises ends the work, which can be done again.
ProgressCallback = Callable[[float], None]


def no_progress(_: float) -> None:
    """Follows nothing."""


def subrange(follow: ProgressCallback, number: int, total: int) -> ProgressCallback:
    """Follows piece `number`, from 0, of `total` pieces of equal length."""
    return lambda share: follow((number + share) / total)


class Sink(ABC):
    """Where a result is written, piece by piece, in any order.

    A sink is made for one source: it takes over axes, shape, dtype, pixel size, units, channel names
    and colour. `write` may be called again for the same rectangle (a resumed job does).
    """

    @abstractmethod
    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Puts [channels, height, width], already in the sink's dtype, with its top left pixel at (y, x).

        `plane` is a plane of the source; y and x are multiples of the sink's chunk side.
        """

    @abstractmethod
    def finish(self, follow: ProgressCallback = no_progress) -> None:
        """Builds pyramid and metadata, and gives the output its final name. Called when all is written.

        It may take long. What `follow` raises stops it, and leaves everything for a resumed job to finish.
        """

    @abstractmethod
    def close(self) -> None:
        """Frees files without finishing: what was written stays for a resumed job."""

    def note(self, values: Mapping[str, Any]) -> None:  # noqa: B027 (memory has no place for them)
        """Keeps more JSON values with the image; called before `finish`, if at all."""
