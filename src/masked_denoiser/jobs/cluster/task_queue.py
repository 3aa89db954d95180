"""The groups of a job that are under way on a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from itertools import product
from typing import TYPE_CHECKING, Any, Self

from masked_denoiser.errors import JobError, MaskedDenoiserError
from masked_denoiser.jobs.cluster.worker import GroupDone, Run, do_group, stop_worker
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.storage.journal import GroupId, Journal

if TYPE_CHECKING:
    from distributed import Future

#: Groups under way for each worker: one that it does, one that waits for it.
_EACH = 2

#: How often a group that failed on a worker, other than by a wrong job, is tried again.
_RETRIES = 2

#: Seconds between looks at a cancel.
LOOK = 0.2

_AGAIN = "what is done is kept: begin the cluster anew, and --resume"

#: What dask raises when scheduler or client are gone: connections that are closed, and futures that are cancelled.
LOST = (OSError, CancelledError, asyncio.CancelledError)


class TaskQueue:
    """The groups under way, few at a time; none of them runs any more when the `with` statement ends."""

    def __init__(self, client: Any, job: Job, journal: Journal, run: Run) -> None:
        """Takes what is left to do.

        Args:
            client: of the cluster.
            job: what to do.
            journal: what is done of it.
            run: what workers are told.
        """
        self._client, self._run = client, run
        done = frozenset(journal.done)
        everything = product(range(len(job.planes)), range(len(job.groups)))
        self._left = (piece for piece in everything if piece not in done)
        self._exhausted = False
        self._flying: dict[Future[GroupDone | MaskedDenoiserError], GroupId] = {}

    def __enter__(self) -> Self:
        from masked_denoiser.jobs.cluster.worker_plugin import RunPlugin

        self._plugin = RunPlugin(self._run)
        with explained():
            self._client.register_plugin(self._plugin)
        return self

    def __exit__(self, *_: object) -> None:
        """Nobody may write after the lock is given back. A cluster that is gone writes nothing any more."""
        flying = list(self._flying)
        self._flying.clear()
        if self._client.status != "running":
            return
        with suppress(*LOST):
            self._client.cancel(flying, force=True)
            self._client.run(stop_worker, self._run.name, on_error="ignore")
            self._client.unregister_worker_plugin(self._plugin.name)

    def workers(self) -> dict[str, int]:
        """Names of the workers and their threads.

        Raises:
            JobError: if the cluster is gone.
        """
        if self._client.status not in ("running", "connecting"):
            raise JobError(f"the cluster is gone ({self._client.status}); {_AGAIN}")
        with explained():
            return dict(self._client.nthreads())

    def fill(self) -> bool:
        """Hands out groups until enough are under way; False when all are done.

        Raises:
            JobError: if the cluster is gone.
        """
        workers = self.workers()
        with explained():
            while not self._exhausted and len(self._flying) < _EACH * len(workers):
                piece = next(self._left, None)
                if piece is None:
                    self._exhausted = True
                    break
                self._submit(piece)
        return bool(self._flying) or not self._exhausted

    def _submit(self, piece: GroupId, again: int = 0) -> None:
        key = f"denoise-{self._run.name}-{piece[0]}-{piece[1]}-{again}"
        future = self._client.submit(do_group, self._run.name, *piece, key=key, pure=False, retries=_RETRIES)
        self._flying[future] = piece

    def finished(self) -> Iterator[tuple[GroupId, GroupDone]]:
        """Groups that are on disk since the last look.

        Raises:
            MaskedDenoiserError: if a group cannot be done, as its worker says, or the cluster is gone.
        """
        distributed = distributed_library()
        if not self._flying:  # no worker is there to do anything
            time.sleep(LOOK)
            return
        try:
            with explained():
                done, _ = distributed.wait(list(self._flying), timeout=LOOK, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return
        for future in sorted(done, key=lambda future: self._flying[future]):
            piece = self._flying.pop(future)
            yield piece, self._result(future, piece)

    def _result(self, future: Future[GroupDone | MaskedDenoiserError], piece: GroupId) -> GroupDone:
        """What a worker tells of a group.

        Raises:
            MaskedDenoiserError: what the worker says, or that workers die of it.
        """
        try:
            with explained():
                told = future.result()
        except distributed_library().KilledWorker as error:
            raise JobError(
                f"workers died again and again at group {piece[1]} of plane {piece[0]}; see their logs (out of "
                "memory?), then --resume, with a smaller tile perhaps"
            ) from error
        if isinstance(told, MaskedDenoiserError):
            raise told
        return told


@contextmanager
def explained() -> Iterator[None]:
    """Says in a line that the cluster is gone.

    Raises:
        JobError: for what dask raises then.
    """
    try:
        yield
    except TimeoutError:
        raise
    except LOST as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise JobError(f"the cluster is gone ({reason}); {_AGAIN}") from error


def distributed_library() -> Any:
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
