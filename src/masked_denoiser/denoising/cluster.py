"""Jobs on the workers of a dask.distributed cluster.

The driver, this process, settles the job, hands out groups of tiles, keeps the journal, and completes the output. A few
groups for each worker are under way at a time, whatever the size of the image. Each group is the only writer of its
chunks or shards. Workers read and write by themselves and need the same paths, a shared file system.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from masked_denoiser.denoising.clock import Clock
from masked_denoiser.denoising.events import Cancelled, Event, Finished, Finishing, Message
from masked_denoiser.denoising.job import Job, JobError
from masked_denoiser.denoising.journal import Journal, Piece
from masked_denoiser.denoising.limits import Limits
from masked_denoiser.denoising.output import Output
from masked_denoiser.denoising.remote import About, GroupDone, about_worker, do_group, pack_model, stop_worker
from masked_denoiser.images.source import Source
from masked_denoiser.models.file import Model

if TYPE_CHECKING:
    from distributed import Future

#: Groups under way for each worker: one that it does, one that waits for it.
_EACH = 2

#: How often a group that failed on a worker, other than by a wrong job, is tried again.
_RETRIES = 2

#: What local workers run first. Ctrl-C reaches every process of a terminal, and is for the driver alone to answer.
_DEAF = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"

#: Seconds between looks at a cancel, and after which a cluster without workers is mentioned.
_LOOK, _LONELY = 0.2, 10.0

#: Seconds to wait for a scheduler, and for its first worker.
_CONNECT, _FIRST = 10, 60


class Cluster:
    """Workers of a cluster. Use `connect` or `local`, in a `with` statement."""

    measures = False

    def __init__(self, client: Any, threads: int | None = None, local: Any = None) -> None:
        """Takes a client.

        Args:
            client: of dask.distributed.
            threads: CPU threads of each worker's network; None for as many as the worker has.
            local: the cluster that ends with this object.
        """
        self.client, self._threads, self._local = client, threads, local
        self._device = "auto"

    @classmethod
    def connect(cls, address: str) -> Self:
        """The workers of a scheduler.

        Raises:
            JobError: if there is none at this address, or no worker comes.
        """
        client_of = _distributed().Client
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
        distributed = _distributed()
        share = threads or max(1, (os.cpu_count() or 1) // workers)
        cluster = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,  # ours is bounded by the tile, and a worker that is paused is no help
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            preload=[_DEAF],
        )
        return cls(distributed.Client(cluster), share, cluster)

    def choose_device(self, device: str) -> tuple[torch.device, str]:
        """The kind of device that all workers have, and a sentence about them.

        Args:
            device: as for `denoising.device.choose_device`, on each worker.

        Raises:
            JobError: if a worker does not have it, is of another version, or they differ.
        """
        workers: dict[str, About] = self.client.run(about_worker, device)
        for what in ("device", "program", "torch"):
            kinds = {getattr(about, what): about.host for about in workers.values()}
            if len(kinds) > 1:
                found = ", ".join(f"{kind} on {host}" for kind, host in kinds.items())
                raise JobError(f"workers differ in {what} ({found}), and so would the pixels; use workers of one kind")
        self._device = device
        first = next(iter(workers.values()))
        count = f"{len(workers)} worker{'s' if len(workers) > 1 else ''}"
        return torch.device(first.device), f"computing on {count} of a cluster, each on {first.said}"

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
        return ClusterPipeline(job, self, model, open_output(), device=self._device, threads=self._threads)

    def close(self) -> None:
        """Leaves the cluster; local workers end."""
        self.client.close()
        if self._local is not None:
            self._local.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(eq=False)
class ClusterPipeline:
    """A job on a cluster; to be used as a `Pipeline`.

    Attributes:
        job: what to do.
        cluster: who does it.
        model: with what.
        output: where results go.
        device, threads: of each worker.
        cancel: set it from any thread to stop.
    """

    job: Job
    cluster: Cluster
    model: Model
    output: Output
    device: str = "auto"
    threads: int | None = None
    cancel: threading.Event = field(default_factory=threading.Event)

    @property
    def journal(self) -> Journal:
        """What is done."""
        return self.output.journal

    def run(self) -> Iterator[Event]:
        """Does the work, and yields events as it goes. The output is finished or closed at the end."""
        clock = Clock(self.job, self.journal.done)
        finished = False
        try:
            yield clock.progress()
            yield from self._groups(clock)
            if self.cancel.is_set():
                yield Cancelled(clock.kept())
                return
            yield Finishing()
            damage = tuple(map(str, self.journal.damage))
            self.output.finish()
            finished = True
            yield Finished(clock.progress(), skipped=clock.skipped, skipping=bool(self.job.background), damage=damage)
        finally:
            if not finished:
                self.output.close()

    def _groups(self, clock: Clock) -> Iterator[Event]:
        client = self.cluster.client
        lonely = _Lonely()
        broken = False
        with _Tasks(self, client) as tasks:
            while not self.cancel.is_set() and tasks.fill():
                for piece, done in tasks.finished():
                    self.journal.add(piece, done.damage)
                    yield from map(Message, done.said)
                    if done.broken and not broken:
                        broken = True
                        yield Message("the image holds NaN or infinite values; they stay as they are in the result")
                    yield from (Message(f"damaged and passed through: {place}") for place in done.damage)
                    clock.add(self.job.groups[piece[1]].tiles, done.skipped)
                    clock.keep()
                    yield clock.progress()
                yield from lonely.said(tasks.workers())


class _Tasks:
    """The groups under way, few at a time; none of them runs any more when the `with` statement ends."""

    def __init__(self, pipeline: ClusterPipeline, client: Any) -> None:
        job = pipeline.job
        seen = "://" in job.input
        job = replace(job, input=job.input if seen else str(Path(job.input).absolute()))
        job = replace(job, output=str(Path(job.output).absolute()))
        self._job, self._client, self._pipeline = json.dumps(asdict(job)), client, pipeline
        self._left = (
            (number, group)
            for number in range(len(job.planes))
            for group in range(len(job.groups))
            if (number, group) not in pipeline.journal.done
        )
        self._flying: dict[Future[GroupDone], Piece] = {}
        self._run = pipeline.journal.run
        self._model = client.scatter([pack_model(pipeline.model)], broadcast=True, hash=False)[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nobody may write after the lock is given back."""
        waiting = list(self._flying)
        if waiting:
            self._client.cancel(waiting, force=True)
            self._client.run(stop_worker, self._run, on_error="ignore")
        self._flying.clear()

    def workers(self) -> dict[str, int]:
        """Names of the workers and their threads."""
        return dict(self._client.nthreads())

    def fill(self) -> bool:
        """Hands out groups until enough are under way; whether any is."""
        workers = self.workers()
        for piece in self._left if len(self._flying) < _EACH * len(workers) else ():
            threads = self._pipeline.threads or max(workers.values())
            future = self._client.submit(
                do_group,
                self._run,
                self._job,
                self._model,
                self._pipeline.device,
                threads,
                *piece,
                key=f"denoise-{self._run}-{piece[0]}-{piece[1]}",
                pure=False,
                retries=_RETRIES,
            )
            self._flying[future] = piece
            if len(self._flying) >= _EACH * len(workers):
                break
        return bool(self._flying)

    def finished(self) -> Iterator[tuple[Piece, GroupDone]]:
        """Groups that are on disk since the last look.

        Raises:
            JobError: if a group cannot be done, with what its worker says.
        """
        distributed = _distributed()
        try:
            done, _ = distributed.wait(list(self._flying), timeout=_LOOK, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return
        for future in sorted(done, key=lambda future: self._flying[future]):
            piece = self._flying.pop(future)
            try:
                yield piece, future.result()
            except distributed.KilledWorker as error:
                raise JobError(
                    f"workers died again and again at group {piece[1]} of plane {piece[0]}; see their logs (out of "
                    "memory?), then --resume, with a smaller tile perhaps"
                ) from error


class _Lonely:
    """Says it once when all workers are gone, and when some are back."""

    def __init__(self) -> None:
        self._looks = 0

    def said(self, workers: dict[str, int]) -> Iterator[Message]:
        self._looks = 0 if workers else self._looks + 1
        if self._looks == int(_LONELY / _LOOK):
            yield Message("the cluster has no workers left; waiting for new ones, or cancel and go on with --resume")


def _distributed() -> Any:
    """The library.

    Raises:
        JobError: if it is not installed.
    """
    try:
        import distributed
    except ImportError as error:
        raise JobError(
            "clusters need dask.distributed; install it: pip install 'napari-masked-denoiser[cluster]'"
        ) from error
    return distributed
