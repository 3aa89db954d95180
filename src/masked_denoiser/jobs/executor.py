"""Who computes a job: this process, or a cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch

from masked_denoiser.errors import JobError
from masked_denoiser.images.source import Source
from masked_denoiser.inference.device import choose_device
from masked_denoiser.inference.memory_limits import Limits
from masked_denoiser.jobs.pipeline.pipeline import Pipeline
from masked_denoiser.jobs.runner_factory import Say, create_runner
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.storage.output import Output
from masked_denoiser.models.file import Model

if TYPE_CHECKING:
    from masked_denoiser.jobs.cluster.driver import ClusterPipeline

_LOG = logging.getLogger(__name__)

P = TypeVar("P", bound="Pipeline | ClusterPipeline", covariant=True)


class Executor(Protocol[P]):
    """Whoever computes: this process, or a `Cluster`.

    Attributes:
        measures: whether speeds can be measured on its device.
    """

    measures: bool

    def choose_device(self, device: str) -> tuple[torch.device, str]:
        """The device, and a sentence about it."""
        ...

    def pipeline(
        self,
        job: Job,
        source: Source,
        model: Model,
        device: torch.device,
        open_output: Callable[[], Output],
        limits: Limits | None = None,
    ) -> P:
        """What runs a job; the output is opened when all else is ready. `limits` are those of the run before."""
        ...


class LocalExecutor:
    """This process computes.

    Args:
        say: is told at once what takes its time before a job begins.
        or_cpu: whether the CPU takes over where a GPU's memory does not hold the smallest part of a tile.
    """

    measures = True

    def __init__(self, say: Say = _LOG.info, *, or_cpu: bool = False) -> None:
        self._say, self._or_cpu = say, or_cpu

    def choose_device(self, device: str) -> tuple[torch.device, str]:
        """As `denoising.device.choose_device`."""
        return choose_device(device)

    def pipeline(
        self,
        job: Job,
        source: Source,
        model: Model,
        device: torch.device,
        open_output: Callable[[], Output],
        limits: Limits | None = None,
    ) -> Pipeline:
        """Tile by tile on one device."""
        denoiser = create_runner(model, device, job, say=self._say, or_cpu=self._or_cpu, limits=limits)
        output = open_output()
        return Pipeline(job, source, denoiser, output.sink, output.std_sink, output.journal)


@contextmanager
def open_executor(
    scheduler: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    here: LocalExecutor | None = None,
) -> Iterator[Executor[Any]]:
    """Whoever is asked for; workers that are begun here end with the `with` statement.

    Args:
        scheduler: address of a dask.distributed scheduler.
        workers: so many processes of this machine instead.
        threads: CPU threads of each of those.
        here: this process, which computes where neither is given.

    Raises:
        JobError: if two of them are asked for, or they cannot be had.
    """
    if scheduler is None and workers is None:
        yield here or LocalExecutor()
        return
    from masked_denoiser.jobs.cluster.cluster import Cluster

    if scheduler is not None and workers is not None:
        raise JobError("a scheduler has workers that are there, and others are asked for here; give only one of them")
    cluster = Cluster.connect(scheduler) if scheduler is not None else Cluster.local(workers or 0, threads)
    with cluster:
        yield cluster
