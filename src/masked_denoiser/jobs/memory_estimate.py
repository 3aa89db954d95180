"""How much memory a job will take: a function of tile, batch and network, and not of the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import psutil

from masked_denoiser.inference.memory_estimate import network_memory
from masked_denoiser.jobs.pipeline.prefetch import AHEAD
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.network.build import NetworkConfig

#: Bytes for each sample of a tile while it waits: in [0, 1] as float32, what was clipped as float64, its result.
_WAITING = 4 + 8 + 4

#: Bytes for each sample of the tiles that are being converted, in float64.
_CONVERTING = 4 * 8


@dataclass(frozen=True)
class Memory:
    """Bytes that a job takes at its peak.

    Attributes:
        process: resident memory of the process.
        device: memory of the GPU; 0 where the CPU computes. Counted on a CPU, where fewer windows are in work at once:
            a lower bound for GPUs.
    """

    process: int
    device: int


def plan_memory(job: Job, config: NetworkConfig) -> Memory:
    """What a job will take at its peak, in a process like this one.

    Args:
        job: the settled job.
        config: of its model.
    """
    height, width = (max(spans) for spans in zip(*_reads(job), strict=True))
    channels = max(plane.channels for plane in job.planes)
    samples = job.batch * height * width * channels
    pieces = -(-len(job.plan) * len(job.planes) // job.batch)
    waiting = min(pieces, AHEAD + 1) * samples * (_WAITING + np.dtype(job.dtype).itemsize)
    rows, columns = job.group
    gathered = 2 * rows * columns * job.tile**2 * channels * np.dtype(job.dtype).itemsize * (rows * columns > job.batch)
    network = network_memory(config, job.batch * (channels if config.channels == 1 else 1), height, width)
    network += 2 * (job.passes - 1) * samples * 4  # passes wait for each other, and are stacked
    on_cpu = job.device == "cpu"
    now = psutil.Process().memory_info().rss
    process = now + waiting + gathered + samples * _CONVERTING + (network if on_cpu else 0)
    return Memory(int(process), 0 if on_cpu else network)


def _reads(job: Job) -> list[tuple[int, int]]:
    """Heights and widths that are read: a tile in the middle has the largest."""
    rows, columns = job.plan.grid
    middle = job.plan[(rows // 2) * columns + columns // 2]
    return [(len(tile.read[0]), len(tile.read[1])) for tile in (job.plan[0], middle)]
