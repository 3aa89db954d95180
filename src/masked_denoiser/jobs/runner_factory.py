"""The denoiser of a job, with what is known of its device's memory."""

from __future__ import annotations

from collections.abc import Callable

import torch

from masked_denoiser.inference.compilation import compile_network
from masked_denoiser.inference.device import free_memory, identify
from masked_denoiser.inference.halo import DEFAULT_HALO
from masked_denoiser.inference.memory_limits import Limits, recall_limits, remember_limits
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.models.file import Model

#: Is told a sentence for the user.
Say = Callable[[str], None]


def create_runner(
    model: Model,
    device: torch.device,
    job: Job,
    *,
    say: Say,
    or_cpu: bool = False,
    limits: Limits | None = None,
) -> ModelRunner:
    """A denoiser as the job wants it.

    Where the job wants it, its network is compiled first. Memory that ran out in an earlier job of this kind is not
    tried again, unless more of it is free than was then; that is said by the first event of the pipeline.

    Args:
        model: the job's.
        device: where to compute.
        job: the settled job.
        say: is told at once what takes its time.
        or_cpu: whether the CPU may take over where a GPU's memory does not hold the smallest part.
        limits: those that the job went on with when it was interrupted; None for those of earlier jobs.

    Raises:
        DeviceError: if the network is to be compiled and cannot be.
    """
    key = f"memory of {identify(device)} for {_kind(job)}"
    free = free_memory(device)
    known = recall_limits(key, free) if limits is None else limits
    denoiser = ModelRunner(
        model,
        device,
        passes=job.passes,
        seed=job.seed,
        std=job.std,
        precision=job.precision,
        overlap=max(job.halo, DEFAULT_HALO),
        limits=known,
        keep=lambda limits: remember_limits(key, free_memory(device), limits),
        or_cpu=or_cpu,
    )
    if known != Limits():
        when = "when this job was interrupted" if limits is not None else "in an earlier job of this kind"
        denoiser.messages.append(f"memory ran out on {device} {when}, so this one begins with less: {known}")
    if job.compiled:
        compile_network(denoiser, job.batch, say)
    return denoiser


def _kind(job: Job) -> str:
    """What decides how much memory a job takes at once."""
    channels = max(plane.channels for plane in job.planes)
    return (
        f"model {job.model_digest}, tile {job.tile}, halo {job.halo}, batch {job.batch}, channels {channels}, "
        f"{job.precision}"
    )
