"""Jobs on the workers of a dask.distributed cluster.

The driver, this process, settles the job, hands out groups of tiles, keeps the journal, and completes the output. A few
groups for each worker are under way at a time, whatever the size of the image. Each group is the only writer of its
chunks or shards. Workers read and write by themselves and need the same paths, a shared file system.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

import dask
import torch

from masked_denoiser.errors import JobError
from masked_denoiser.images.source import Source
from masked_denoiser.inference.memory_limits import Limits
from masked_denoiser.jobs.cluster.driver import ClusterPipeline
from masked_denoiser.jobs.cluster.task_queue import distributed_library, explained
from masked_denoiser.jobs.cluster.worker import WorkerInfo, worker_info
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.storage.output import Output
from masked_denoiser.models.file import Model

#: A local worker that dies is begun anew by its nanny. dask looks for it once more after a time, and gives it up for
#: good if it has just died again: not before ten days.
_WORKER_TIMEOUT = {"distributed.deploy.lost-worker-timeout": "10 days"}

#: What local workers run first. Ctrl-C reaches every process of a terminal, and is for the driver alone to answer.
_IGNORE_SIGINT = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"

#: Seconds to wait for a scheduler, and for its first worker.
_CONNECT, _FIRST = 10, 60


class Cluster:
    """Workers of a cluster. Use `connect` or `local`, in a `with` statement."""

    measures = False

    def __init__(self, client: Any, threads: int | None = None, local: ExitStack | None = None) -> None:
        """Takes a client.

        Args:
            client: of dask.distributed.
            threads: CPU threads of each worker's network; None for as many as the worker has.
            local: closes what ends with this object.
        """
        self.client, self._threads, self._local = client, threads, local
        self._device, self._torch = "auto", ""

    @classmethod
    def connect(cls, address: str) -> Self:
        """The workers of a scheduler.

        Raises:
            JobError: if there is none at this address, or no worker comes.
        """
        client_of = distributed_library().Client
        try:
            client = client_of(address, timeout=_CONNECT)
        except (OSError, ValueError) as error:
            raise JobError(f"no scheduler answers at {address} ({error}); start one with `dask scheduler`") from error
        cluster = cls(client)
        try:
            client.wait_for_workers(1, timeout=_FIRST)
        except TimeoutError as error:
            cluster.close()
            raise JobError(f"the scheduler at {address} has no workers; start some with `dask worker`") from error
        return cluster

    @classmethod
    def local(cls, workers: int, threads: int | None = None) -> Self:
        """So many worker processes on this machine.

        Args:
            workers: 1 or more.
            threads: CPU threads of each; an even share of the cores by default.

        Raises:
            JobError: for less than one worker.
        """
        if workers < 1:
            raise JobError(f"--workers is {workers}; give 1 or more")
        distributed = distributed_library()
        share = threads or max(1, (os.cpu_count() or 1) // workers)
        kept = ExitStack()
        kept.enter_context(dask.config.set(_WORKER_TIMEOUT))
        cluster = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,  # ours is bounded by the tile, and a worker that is paused is no help
            dashboard_address=":0",  # any port that is free, without a word
            silence_logs=logging.CRITICAL,
            preload=[_IGNORE_SIGINT],
        )
        kept.callback(cluster.close)
        return cls(distributed.Client(cluster), share, kept)

    def choose_device(self, device: str) -> tuple[torch.device, str]:
        """The kind of device that all workers have, and a sentence about them.

        Args:
            device: as for `denoising.device.choose_device`, on each worker.

        Raises:
            JobError: if a worker does not have it, is of another version, or they differ.
        """
        try:
            self.client.wait_for_workers(1, timeout=_FIRST)
        except TimeoutError as error:
            raise JobError("the cluster has no workers; start some with `dask worker`") from error
        with explained():
            workers: dict[str, WorkerInfo] = self.client.run(worker_info, device)
        for what in ("device", "program", "torch"):
            kinds = {getattr(about, what): about.host for about in workers.values()}
            if len(kinds) > 1:
                found = ", ".join(f"{kind} on {host}" for kind, host in kinds.items())
                raise JobError(f"workers differ in {what} ({found}), and so would the pixels; use workers of one kind")
        self._device, self._torch = device, next(iter(workers.values())).torch
        first = next(iter(workers.values()))
        count = f"{len(workers)} worker{'s' if len(workers) > 1 else ''}"
        return torch.device(first.device), f"computing on {count} of a cluster, each on {first.device_name}"

    def pipeline(
        self,
        job: Job,
        source: Source,
        model: Model,
        device: torch.device,
        open_output: Callable[[], Output],
        limits: Limits | None = None,
    ) -> ClusterPipeline:
        """What runs a job here.

        Args:
            job: the settled job.
            source: its input, a file or folder.
            model: sent once to each worker.
            device: of its kind; each worker chooses its own.
            open_output: opens where results go.
            limits: of no use here: each worker remembers those of its machine.

        Raises:
            JobError: if the image is in memory.
        """
        if source.path is None and not source.url:
            raise JobError("an image in memory cannot be sent to a cluster; save it first, and give its path")
        return ClusterPipeline(
            job, self.client, model, open_output(), device=self._device, threads=self._threads, torch=self._torch
        )

    def close(self) -> None:
        """Leaves the cluster; local workers end."""
        self.client.close()
        if self._local is not None:
            self._local.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
