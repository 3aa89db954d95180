"""Executors, which run a job in this process or on a cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch

from masked_denoiser.errors import JobError
from masked_denoiser.inference.device import choose_device
from masked_denoiser.inference.memory_limits import MemoryLimits
from masked_denoiser.inference.tune_precision import is_bfloat16_fast
from masked_denoiser.jobs.pipeline.pipeline import Pipeline
from masked_denoiser.jobs.runner_factory import Report, create_runner
from masked_denoiser.jobs.spec.resolved_job import ResolvedJob
from masked_denoiser.jobs.storage.output import Output

if TYPE_CHECKING:
    from masked_denoiser.jobs.cluster.driver import ClusterPipeline

_LOG = logging.getLogger(__name__)

PipelineT = TypeVar("PipelineT", bound="Pipeline | ClusterPipeline", covariant=True)


class Executor(Protocol[PipelineT]):
    """Resource that runs jobs: a `LocalExecutor` or a `Cluster`.

    Attributes:
        can_measure: whether speeds can be measured on its device.
    """

    can_measure: bool

    def is_bfloat16_fast(self, device: torch.device) -> bool:
        """Return whether bfloat16 is fast wherever a job runs: see `inference.tune_precision.is_bfloat16_fast`."""
        ...

    def choose_device(self, device: str) -> tuple[torch.device, str]:
        """Return the device and a message about it."""
        ...

    def pipeline(
        self, resolved: ResolvedJob, open_output: Callable[[], Output], limits: MemoryLimits | None = None
    ) -> PipelineT:
        """Return the pipeline of a job. `open_output` is called last; `limits` are those of an interrupted run."""
        ...


class LocalExecutor:
    """Executor that computes in this process.

    Args:
        report: receives messages on what takes time before a job begins.
        cpu_fallback: whether the CPU takes over if a GPU has too little memory for the smallest part of a tile.
    """

    can_measure = True

    def __init__(self, report: Report = _LOG.info, *, cpu_fallback: bool = False) -> None:
        self._report, self._cpu_fallback = report, cpu_fallback

    def is_bfloat16_fast(self, device: torch.device) -> bool:
        """Return whether bfloat16 is fast on a device."""
        return is_bfloat16_fast(device)

    def choose_device(self, device: str) -> tuple[torch.device, str]:
        """Return the device and a message about it: see `inference.device.choose_device`."""
        return choose_device(device)

    def pipeline(
        self, resolved: ResolvedJob, open_output: Callable[[], Output], limits: MemoryLimits | None = None
    ) -> Pipeline:
        """Return a pipeline that computes on one device."""
        runner = create_runner(
            resolved.model,
            resolved.device,
            resolved.job,
            report=self._report,
            cpu_fallback=self._cpu_fallback,
            limits=limits,
        )
        output = open_output()
        return Pipeline(resolved.job, resolved.source, runner, output.sink, output.std_sink, output.journal)


@contextmanager
def open_executor(
    scheduler: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    local: LocalExecutor | None = None,
) -> Iterator[Executor[Any]]:
    """Open the requested executor; workers that are started here end with the `with` block.

    Args:
        scheduler: address of a dask.distributed scheduler.
        workers: number of worker processes to start on this machine instead.
        threads: CPU threads of each of these workers.
        local: executor that is used if neither is given.

    Raises:
        JobError: if both are requested, or the requested one is not available.
    """
    if scheduler is None and workers is None:
        yield local or LocalExecutor()
        return
    from masked_denoiser.jobs.cluster.cluster import Cluster

    if scheduler is not None and workers is not None:
        raise JobError("a scheduler already has workers; give either a scheduler or a number of workers")
    cluster = Cluster.connect(scheduler) if scheduler is not None else Cluster.local(workers or 0, threads)
    with cluster:
        yield cluster
