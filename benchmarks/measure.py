"""Timing, the matrix peak of the machine, and peak memory: what the benchmarks are made of."""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

#: Side of the square matrices whose product is the hardware's peak.
_SIDE = 2048


def seconds(run: Callable[[], object], device: torch.device, runs: int = 2) -> float:
    """The best of some runs, after one that does not count; or the only one, if there is to be one."""
    times = []
    for _ in range(runs + (runs > 1)):
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return min(times[1:] or times)


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product."""
    side = _SIDE if device.type == "cpu" else 4 * _SIDE
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / seconds(lambda: a @ b, device, 4)


def peak_memory(device: torch.device) -> int:
    """Most bytes that this process has held so far: on the GPU, or of resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def machine(device: torch.device) -> str:
    """The machine, in words."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"{_processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open() as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
