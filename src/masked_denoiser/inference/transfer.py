"""Transfer of pixels to a device and back.

On CUDA both directions use page-locked memory and do not block: copies are queued behind the preceding kernels on the
same stream. While the host converts and writes one batch, the GPU proceeds to the following batches without a pause.
Separate streams would only hide the copies, which take milliseconds where a batch takes hundreds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from masked_denoiser.errors import DeviceError
from masked_denoiser.inference.memory_limits import is_out_of_memory

#: Function that waits for an array on the host and returns it, from any thread.
PendingArray = Callable[[], NDArray[np.float32]]


def to_device(pixels: NDArray[np.float32], device: torch.device) -> Tensor:
    """Return pixels on a device. On CUDA the array may be changed afterwards: it is copied to page-locked memory."""
    host = torch.from_numpy(pixels)
    if device.type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)


def to_host(result: Tensor) -> PendingArray:
    """Return a function that returns a float32 result as an array; on CUDA that function waits for it."""
    if not result.is_cuda:
        array: NDArray[np.float32] = result.cpu().numpy()
        return lambda: array
    host = torch.empty(result.shape, dtype=result.dtype, device="cpu", pin_memory=True)
    host.copy_(result, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record(torch.cuda.current_stream(result.device))

    def wait() -> NDArray[np.float32]:
        copied.synchronize()
        array: NDArray[np.float32] = host.numpy()
        return array

    return wait


def place(network: nn.Module, device: torch.device, cpu_fallback: bool) -> tuple[nn.Module, torch.device, list[str]]:
    """Return a network on a device, that device, and messages for the user.

    Args:
        network: on the CPU.
        device: where to place it.
        cpu_fallback: whether it stays on the CPU if the device has too little memory for its weights.

    Raises:
        DeviceError: if the device has too little memory, and it may not stay on the CPU.
    """
    try:
        return network.to(device), device, []
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = f"{device} has too little free memory for the network"
        if not cpu_fallback:
            raise DeviceError(
                f"{reason}; close other programs that use its memory, or continue on the CPU with --cpu-as-last-resort"
            ) from error
    return network.cpu(), torch.device("cpu"), [f"{reason}: computing on the CPU, as requested, which is slower"]
