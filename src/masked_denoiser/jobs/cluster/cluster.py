"""Executor that runs jobs on the workers of a dask.distributed cluster.

The driver, this process, resolves the job, submits groups of tiles, writes the journal, and completes the output. Only
a few groups per worker are in flight, whatever the size of the image. Each group is the only writer of its chunks or
shards. Workers read and write the files themselves, under the same paths, and so need a shared file system.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

import torch

from masked_denoiser.errors import JobError, MaskedDenoiserError
from masked_denoiser.inference.memory_limits import MemoryLimits
from masked_denoiser.jobs.cluster.driver import ClusterPipeline
from masked_denoiser.jobs.cluster.task_queue import import_distributed, translate_connection_errors
from masked_denoiser.jobs.cluster.worker import WorkerInfo, worker_info
from masked_denoiser.jobs.cluster.worker_checks import Run, find_problem
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.job_file import check_names
from masked_denoiser.jobs.spec.resolved_job import ResolvedJob
from masked_denoiser.jobs.storage.output import Output

#: Settings of a local cluster. Its nanny restarts a worker that dies, but dask checks the worker again after this time
#: and removes it if it has just died again, which ten days prevent.
_LOCAL_SETTINGS = {"distributed.deploy.lost-worker-timeout": "10 days"}

#: Code that local workers run at their start. Ctrl-C reaches all processes, but only the driver handles it.
_IGNORE_SIGINT = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"

#: Seconds to wait for a scheduler, and for its first worker.
_SCHEDULER_SECONDS, _FIRST_WORKER_SECONDS = 10, 60


class Cluster:
    """Executor on the workers of a cluster. Use `connect` or `local`, in a `with` statement."""

    can_measure = False

    def __init__(self, client: Any, threads: int | None = None, local: ExitStack | None = None) -> None:
        """Use a connected client.

        Args:
            client: `distributed.Client` of the cluster.
            threads: CPU threads with which each worker computes; None for as many as the worker has.
            local: closed together with this object: the workers and settings of a local cluster.
        """
        self.client, self._threads, self._local = client, threads, local
        self._device, self._torch, self._bfloat16 = "auto", "", False

    @classmethod
    def connect(cls, address: str) -> Self:
        """Connect to the workers of a scheduler.

        Raises:
            JobError: if there is no scheduler at this address, or it has no workers.
        """
        client_of = import_distributed().Client
        try:
            client = client_of(address, timeout=_SCHEDULER_SECONDS)
        except (OSError, ValueError) as error:
            raise JobError(f"no scheduler answers at {address} ({error}); start one with `dask scheduler`") from error
        cluster = cls(client)
        try:
            client.wait_for_workers(1, timeout=_FIRST_WORKER_SECONDS)
        except TimeoutError as error:
            cluster.close()
            raise JobError(f"the scheduler at {address} has no workers; start some with `dask worker`") from error
        return cluster

    @classmethod
    def local(cls, workers: int, threads: int | None = None) -> Self:
        """Start worker processes on this machine.

        Args:
            workers: number of workers, 1 or more.
            threads: CPU threads of each worker; an even share of the cores by default.

        Raises:
            JobError: if the number of workers is below 1.
        """
        if workers < 1:
            raise JobError(f"--workers is {workers}; give 1 or more")
        distributed = import_distributed()
        import dask  # an optional package, like distributed

        share = threads or max(1, (os.cpu_count() or 1) // workers)
        resources = ExitStack()
        resources.enter_context(dask.config.set(_LOCAL_SETTINGS))
        cluster = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,  # the tile bounds the memory, and dask would pause workers near a limit
            dashboard_address=":0",  # any free port, without a warning
            silence_logs=logging.CRITICAL,
            preload=[_IGNORE_SIGINT],
        )
        resources.callback(cluster.close)
        return cls(distributed.Client(cluster), share, resources)

    def is_bfloat16_fast(self, device: torch.device) -> bool:
        """Return whether bfloat16 is fast on the devices of all workers that `choose_device` has found."""
        return self._bfloat16

    def choose_device(self, device: str) -> tuple[torch.device, str]:
        """Return the kind of device that all workers have, and a message about them.

        Args:
            device: argument of `inference.device.choose_device` on each worker.

        Raises:
            JobError: if a worker lacks the device, or workers differ in kind of device or versions.
        """
        try:
            self.client.wait_for_workers(1, timeout=_FIRST_WORKER_SECONDS)
        except TimeoutError as error:
            raise JobError("the cluster has no workers; start some with `dask worker`") from error
        with translate_connection_errors():
            workers: dict[str, WorkerInfo] = self.client.run(worker_info, device)
        for name in ("device", "program", "torch"):
            values = {getattr(info, name): info.host for info in workers.values()}
            if len(values) > 1:
                listed = ", ".join(f"{value} on {host}" for value, host in values.items())
                raise JobError(f"workers differ in {name} ({listed}), so their pixels would differ; use equal workers")
        self._device, self._torch = device, next(iter(workers.values())).torch
        self._bfloat16 = all(info.is_bfloat16_fast for info in workers.values())
        first = next(iter(workers.values()))
        count = f"{len(workers)} worker{'s' if len(workers) > 1 else ''}"
        return torch.device(first.device), f"computing on {count} of a cluster, each on {first.device_name}"

    def pipeline(
        self, resolved: ResolvedJob, open_output: Callable[[], Output], limits: MemoryLimits | None = None
    ) -> ClusterPipeline:
        """Return a pipeline that runs a job on the workers.

        Args:
            resolved: the job; its model is sent once to each worker, and each worker chooses a device of its kind.
            open_output: creates or reopens the output.
            limits: ignored, since each worker caches the memory limits of its machine.

        Raises:
            JobError: if the image is in memory.
        """
        if resolved.source.path is None and not resolved.source.url:
            raise JobError("an image in memory cannot be sent to a cluster; save it to a file and give its path")
        check_names(resolved.job)
        self._check_workers(resolved.job)
        return ClusterPipeline(
            resolved.job,
            self.client,
            resolved.model,
            open_output(),
            device=self._device,
            threads=self._threads,
            torch=self._torch,
            is_bfloat16_fast=self._bfloat16,
        )

    def _check_workers(self, job: Job) -> None:
        """Check that all workers find the input and the folder of the output, before an earlier output is replaced.

        Raises:
            MaskedDenoiserError: the first error of a worker.
        """
        run = Run("", job.with_absolute_paths().to_json(), ("", b""), self._device, self._torch, self._bfloat16)
        with translate_connection_errors():
            problems: dict[str, MaskedDenoiserError | None] = self.client.run(find_problem, run)
        for problem in problems.values():
            if problem is not None:
                raise problem

    def close(self) -> None:
        """Disconnect from the cluster, and stop local workers."""
        self.client.close()
        if self._local is not None:
            self._local.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
