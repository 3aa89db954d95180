"""Memory limits of a device for a job: detected when memory runs out, and cached for later jobs."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from masked_denoiser.inference.measurement_cache import recall, remember

#: Lower-case parts of torch's messages when memory runs out: of allocators, oneDNN, cuBLAS, cuDNN and Metal.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "unable to find an engine",
    "allocation_failed",
    "could not create a memory",
    "could not create a primitive",
    "could not execute a primitive",
    "invalid buffer size",
    "std::bad_alloc",
)

#: Ratio of the free memory to that when a limit was found, up to which the limit is still used.
_MAX_GROWTH = 1.1


@dataclass(frozen=True)
class MemoryLimits:
    """Largest batch and tile that the network may process in one run.

    Attributes:
        at_once: number of tiles; None for the whole batch.
        side: of the parts into which a tile is split, in pixels; None for whole tiles.
    """

    at_once: int | None = None
    side: int | None = None

    def reduced(self, batch: int, side: int, least: int) -> MemoryLimits | None:
        """Return limits of half as many tiles, or else of parts of half the side; None if neither can be halved.

        Args:
            batch: number of tiles for which memory ran out, if there is no limit yet.
            side: of a tile, in pixels.
            least: smallest useful side of a part.
        """
        count, longest = self.at_once or batch, self.side or side
        if count > 1:
            return MemoryLimits(count // 2, self.side)
        return MemoryLimits(count, max(longest // 2, least)) if longest > least else None

    def __str__(self) -> str:
        tiles = f"{self.at_once} tile{'' if self.at_once == 1 else 's'} at a time"
        if self.side is None:
            return tiles
        return (
            f"1 tile at a time, in parts of at most {self.side} x {self.side} pixels, which differ from whole tiles as "
            "tiles with this halo differ from the whole image"
        )


def recall_limits(key: str, free: int) -> MemoryLimits:
    """Return the cached limits; no limits if more memory is free now than when they were found.

    Args:
        key: identifies device, model and job.
        free: bytes that are free now.
    """
    values = recall(key)
    valid = isinstance(values, dict) and all(_is_valid(values.get(name)) for name in ("at_once", "side", "free"))
    if not valid or free > _MAX_GROWTH * (values["free"] or 0):
        return MemoryLimits()
    return MemoryLimits(values["at_once"], values["side"])


def remember_limits(key: str, free: int, limits: MemoryLimits) -> None:
    """Cache limits for later jobs.

    Args:
        key: identifies device, model and job.
        free: bytes that were free after memory had run out.
        limits: as found.
    """
    remember(key, asdict(limits) | {"free": free})


def is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Return whether an error of NumPy or torch means that memory ran out; of torch, only CUDA has a type for it."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in text for words in _OUT_OF_MEMORY)


def _is_valid(value: object) -> bool:
    return value is None or (type(value) is int and value > 0)
