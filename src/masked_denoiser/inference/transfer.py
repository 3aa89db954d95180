"""Pixels to a device and back.

On CUDA both ways go through page-locked memory and wait for nothing: copies are queued behind the kernels before them,
on the same stream, so that while the host converts and writes one batch, the GPU goes from the next to the one after
without a pause. Streams of their own would gain the copies alone: milliseconds, where a batch takes hundreds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Waiting = Callable[[], NDArray[np.float32]]


def to_device(pixels: NDArray[np.float32], device: torch.device) -> Tensor:
    """Pixels on a device. The array may be changed at once: page-locked memory gets a copy of it."""
    host = torch.from_numpy(pixels)
    if device.type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)


def to_host(result: Tensor) -> Waiting:
    """What gives a result, float32, as an array when it is called, from any thread; on CUDA it waits for it then."""
    if not result.is_cuda:
        done: NDArray[np.float32] = result.cpu().numpy()
        return lambda: done
    host = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
    host.copy_(result, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record(torch.cuda.current_stream(result.device))

    def wait() -> NDArray[np.float32]:
        copied.synchronize()
        array: NDArray[np.float32] = host.numpy()
        return array

    return wait
