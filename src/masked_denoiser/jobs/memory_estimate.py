"""Estimate of the memory of a job, which depends on tile, batch and network, and not on the size of the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import psutil

from masked_denoiser.inference.memory_estimate import network_memory
from masked_denoiser.jobs.pipeline.prefetch import READ_AHEAD
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.network.build import NetworkConfig

#: Bytes per sample of a waiting tile without its pixels: float32 in [0, 1], clipped parts in float64, float32 result.
_WAITING_BYTES = 4 + 8 + 4

#: Bytes per sample of a waiting tile that is averaged with its neighbours, and of one tile while it is averaged.
_CONTEXT_BYTES, _AVERAGING_BYTES = 2 * 4, 16 * 4

#: Bytes per sample of a tile while it is converted in float64.
_CONVERSION_BYTES = 4 * 8

#: Ratio of the memory of a job to that of its live arrays: glibc keeps freed blocks, separately for each thread.
_RETAINED = 1.6


@dataclass(frozen=True)
class MemoryEstimate:
    """Peak memory of a job, in bytes.

    Attributes:
        process: resident memory of the process.
        device: memory of the GPU; 0 if the CPU computes. It is a lower bound, since it was counted on a CPU, which
            processes fewer windows simultaneously.
    """

    process: int
    device: int


def estimate_memory(job: Job, config: NetworkConfig) -> MemoryEstimate:
    """Return the peak memory of a job in this process.

    Args:
        job: the resolved job.
        config: configuration of the network of its model.
    """
    height, width = (max(spans) for spans in zip(*_read_sizes(job), strict=True))
    channels = max(plane.channels for plane in job.planes)
    samples = job.batch * height * width * channels
    batches = -(-len(job.plan) * len(job.planes) // job.batch)
    waiting_bytes = _WAITING_BYTES + np.dtype(job.dtype).itemsize + _CONTEXT_BYTES * bool(job.context_planes)
    waiting = min(batches, READ_AHEAD + 1) * samples * waiting_bytes
    waiting += height * width * channels * _AVERAGING_BYTES * bool(job.context_planes)
    rows, columns = job.group
    group = 2 * rows * columns * job.tile**2 * channels * np.dtype(job.dtype).itemsize * (rows * columns > job.batch)
    network = network_memory(config, job.batch * (channels if config.channels == 1 else 1), height, width)
    network += 2 * (job.passes - 1) * samples * 4  # the results of all passes are kept, and then stacked
    on_cpu = job.device == "cpu"
    now = psutil.Process().memory_info().rss
    process = now + _RETAINED * (waiting + group + samples * _CONVERSION_BYTES + (network if on_cpu else 0))
    return MemoryEstimate(int(process), 0 if on_cpu else network)


def _read_sizes(job: Job) -> list[tuple[int, int]]:
    """Return the height and width that are read for the first and a central tile, which has the largest halo."""
    rows, columns = job.plan.grid
    central = job.plan[(rows // 2) * columns + columns // 2]
    return [(len(tile.read[0]), len(tile.read[1])) for tile in (job.plan[0], central)]
