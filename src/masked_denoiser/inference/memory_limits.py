"""What a device's memory holds of a job: found when it runs out, and begun with the next time."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from masked_denoiser.inference.measurement_cache import recall, remember

#: What torch says, in small letters, when memory runs out: the allocators of CPUs and GPUs, cuBLAS, cuDNN, and Metal.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "unable to find an engine",
    "invalid buffer size",
)

#: What is free may grow by this factor before a limit that was found with less is doubted.
_AS_LITTLE = 1.1


@dataclass(frozen=True)
class Limits:
    """How much of a batch goes through the network at once.

    Attributes:
        at_once: tiles; None for all that are given.
        side: of the parts that a tile is cut into, in pixels; None for whole tiles.
    """

    at_once: int | None = None
    side: int | None = None

    def less(self, batch: int, side: int, least: int) -> Limits | None:
        """Half as many tiles, then parts of half the side; None if nothing is left to halve.

        Args:
            batch: tiles that were too much, if there is no limit yet.
            side: of a tile, in pixels.
            least: the smallest side of a part that makes sense.
        """
        count, longest = self.at_once or batch, self.side or side
        if count > 1:
            return Limits(count // 2, self.side)
        return Limits(count, max(longest // 2, least)) if longest > least else None

    def __str__(self) -> str:
        tiles = f"{self.at_once} tile{'' if self.at_once == 1 else 's'} at once"
        if self.side is None:
            return tiles
        return (
            f"tiles are denoised one by one, in parts of at most {self.side} x {self.side} pixels, which differ from "
            "whole tiles as tiles with this halo differ from the whole image"
        )


def recall_limits(key: str, free: int) -> Limits:
    """What memory held when it ran out last; none if more is free now than then.

    Args:
        key: names device, model and job.
        free: bytes that are free now.
    """
    values = recall(key)
    if not isinstance(values, dict) or not all(_fits(values.get(name)) for name in ("at_once", "side", "free")):
        return Limits()
    if free > _AS_LITTLE * (values["free"] or 0):
        return Limits()
    return Limits(values["at_once"], values["side"])


def remember_limits(key: str, free: int, limits: Limits) -> None:
    """Keeps limits for the next job.

    Args:
        key: names device, model and job.
        free: bytes that were free when memory had run out.
        limits: that were found.
    """
    remember(key, asdict(limits) | {"free": free})


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch says, in the words of any device, that memory ran out; only CUDA has a type for it."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(words in text for words in _OUT_OF_MEMORY)


def _fits(value: object) -> bool:
    return value is None or (type(value) is int and value > 0)
