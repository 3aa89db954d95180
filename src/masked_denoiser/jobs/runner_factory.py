"""Creation of the runner of a job, with the cached memory limits of its device."""

from __future__ import annotations

from collections.abc import Callable

import torch

from masked_denoiser.inference.compilation import compile_network
from masked_denoiser.inference.device import free_memory, identify
from masked_denoiser.inference.halo import DEFAULT_HALO
from masked_denoiser.inference.memory_limits import MemoryLimits, recall_limits, remember_limits
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.models.file import Model

#: Receives a message for the user.
Report = Callable[[str], None]


def create_runner(
    model: Model,
    device: torch.device,
    job: Job,
    *,
    report: Report,
    cpu_fallback: bool = False,
    limits: MemoryLimits | None = None,
) -> ModelRunner:
    """Return the runner of a job, with its network compiled if the job requests it.

    The runner starts with the memory limits of earlier jobs of this kind, unless more memory is free now than when they
    were found. The first event of the pipeline reports such limits.

    Args:
        model: the model of the job.
        device: where to compute.
        job: the resolved job.
        report: receives messages on what takes time before the job begins.
        cpu_fallback: whether the CPU takes over if a GPU has too little memory for the smallest part of a tile.
        limits: memory limits of the job when it was interrupted; None for those of earlier jobs.

    Raises:
        DeviceError: if the network cannot be compiled as requested.
    """
    key = f"memory of {identify(device)} for {_kind(job)}"
    free = free_memory(device)
    known = recall_limits(key, free) if limits is None else limits
    runner = ModelRunner(
        model,
        device,
        passes=job.passes,
        seed=job.seed,
        std=job.std,
        precision=job.precision,
        overlap=max(job.halo, DEFAULT_HALO),
        limits=known,
        on_new_limits=lambda limits: remember_limits(key, free_memory(device), limits),
        cpu_fallback=cpu_fallback,
    )
    if known != MemoryLimits():
        when = "when this job was interrupted" if limits is not None else "in an earlier job of this kind"
        runner.add_message(f"memory ran out on {device} {when}, so this one begins with less: {known}")
    if job.compiled:
        compile_network(runner, job.batch, report)
    return runner


def _kind(job: Job) -> str:
    """Return the properties that determine the memory of a job; jobs that share them share their limits."""
    channels = max(plane.channels for plane in job.planes)
    return (
        f"model {job.model_digest}, tile {job.tile}, halo {job.halo}, batch {job.batch}, channels {channels}, "
        f"{job.precision}"
    )
