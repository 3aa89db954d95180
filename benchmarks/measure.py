"""Measurements that the benchmarks share: time, matrix peak and peak memory."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

#: Side of the square matrices whose product gives the peak of the machine, on a CPU.
_SIDE = 2048


def seconds(run: Callable[[], object], device: torch.device, runs: int = 2) -> float:
    """Return the seconds of the fastest run, after a warm-up run if there are several."""
    times = []
    for _ in range(runs + (runs > 1)):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times[1:] or times)


def measure_matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of a large matrix product."""
    side = _SIDE if device.type == "cpu" else 4 * _SIDE
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / seconds(lambda: a @ b, device, 4)


def peak_memory(device: torch.device) -> int:
    """Return the peak memory of this process in bytes: on the GPU, or resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def describe_machine(device: torch.device) -> str:
    """Return a description of the processor and of torch."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def processor() -> str:
    """Return the name of the processor."""
    try:
        with Path("/proc/cpuinfo").open() as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
