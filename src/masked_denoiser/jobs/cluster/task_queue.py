"""Task queue: the groups of a job that are submitted to a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from itertools import product
from typing import TYPE_CHECKING, Any, Self

from masked_denoiser.errors import JobError, MaskedDenoiserError
from masked_denoiser.jobs.cluster.worker import GroupReport, denoise_group, stop_worker
from masked_denoiser.jobs.cluster.worker_checks import Run
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.jobs.storage.journal_records import GroupId

if TYPE_CHECKING:
    from distributed import Future

#: Number of groups in flight per worker: one that is computed, one that waits.
_GROUPS_PER_WORKER = 2

#: Number of retries of a group that failed on a worker with an unexpected error.
_RETRIES = 2

#: Seconds between two checks for results and cancellation.
POLL_SECONDS = 0.2

_REMEDY = "finished tiles are kept: restart the cluster and use --resume"

#: Exceptions of dask when scheduler or client are lost: closed connections and cancelled futures.
_CONNECTION_ERRORS = (OSError, CancelledError, asyncio.CancelledError)


class TaskQueue:
    """Queue with few groups in flight at a time; all of them have ended when the `with` block ends."""

    def __init__(self, client: Any, job: Job, journal: Journal, run: Run) -> None:
        """Queue the groups of a job that are not in its journal.

        Args:
            client: `distributed.Client` of the cluster.
            job: the resolved job.
            journal: its finished groups.
            run: description of the run for the workers.
        """
        self._client, self._run = client, run
        done = frozenset(journal.done)
        groups = product(range(len(job.planes)), range(len(job.groups)))
        self._remaining = (group_id for group_id in groups if group_id not in done)
        self._exhausted = False
        self._in_flight: dict[Future[GroupReport | MaskedDenoiserError], GroupId] = {}

    def __enter__(self) -> Self:
        from masked_denoiser.jobs.cluster.worker_plugin import RunPlugin

        self._plugin = RunPlugin(self._run)
        with translate_connection_errors():
            self._client.register_plugin(self._plugin)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the workers, which must not write after the lock is released; a lost cluster no longer writes."""
        futures = list(self._in_flight)
        self._in_flight.clear()
        if self._client.status != "running":
            return
        with suppress(*_CONNECTION_ERRORS):
            self._client.cancel(futures, force=True)
            self._client.run(stop_worker, self._run.name, on_error="ignore")
            self._client.unregister_worker_plugin(self._plugin.name)

    def workers(self) -> dict[str, int]:
        """Return the addresses of the workers and their numbers of threads.

        Raises:
            JobError: if the connection to the cluster is lost.
        """
        if self._client.status not in ("running", "connecting"):
            raise JobError(f"the connection to the cluster is lost ({self._client.status}); {_REMEDY}")
        with translate_connection_errors():
            return dict(self._client.nthreads())

    def fill(self) -> bool:
        """Submit groups until enough are in flight; return False when all are finished.

        Raises:
            JobError: if the connection to the cluster is lost.
        """
        workers = self.workers()
        with translate_connection_errors():
            while not self._exhausted and len(self._in_flight) < _GROUPS_PER_WORKER * len(workers):
                group_id = next(self._remaining, None)
                if group_id is None:
                    self._exhausted = True
                    break
                self._submit(group_id)
        return bool(self._in_flight) or not self._exhausted

    def _submit(self, group_id: GroupId) -> None:
        key = f"denoise-{self._run.name}-{group_id[0]}-{group_id[1]}"
        future = self._client.submit(denoise_group, self._run.name, *group_id, key=key, pure=False, retries=_RETRIES)
        self._in_flight[future] = group_id

    def finished(self) -> Iterator[tuple[GroupId, GroupReport]]:
        """Yield the groups that have been written since the last call, in order.

        Raises:
            MaskedDenoiserError: if a worker reports an error, or the connection to the cluster is lost.
        """
        distributed = import_distributed()
        if not self._in_flight:  # there are no workers
            time.sleep(POLL_SECONDS)
            return
        try:
            with translate_connection_errors():
                done, _ = distributed.wait(list(self._in_flight), timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
        except TimeoutError:
            return
        for future in sorted(done, key=lambda future: self._in_flight[future]):
            group_id = self._in_flight.pop(future)
            yield group_id, self._result(future, group_id)

    def _result(self, future: Future[GroupReport | MaskedDenoiserError], group_id: GroupId) -> GroupReport:
        """Return the report of a worker on a group.

        Raises:
            MaskedDenoiserError: the error that the worker reports, or a JobError if workers died repeatedly.
        """
        try:
            with translate_connection_errors():
                report = _result_of(future)
        except _WorkerFileError as error:
            raise JobError(
                f"a worker cannot read or write ({error.__cause__}); finished tiles are kept: mend it, and use --resume"
            ) from error
        except import_distributed().KilledWorker as error:
            raise JobError(
                f"workers died repeatedly at group {group_id[1]} of plane {group_id[0]}; see their logs, then use "
                "--resume, or a smaller tile with --overwrite if they ran out of memory"
            ) from error
        if isinstance(report, MaskedDenoiserError):
            raise report
        return report


class _WorkerFileError(Exception):
    """An OSError that a worker raised, unlike those of a lost connection."""


def _result_of(future: Future[GroupReport | MaskedDenoiserError]) -> GroupReport | MaskedDenoiserError:
    """Return the result of a group.

    Raises:
        _WorkerFileError: if a worker could not read or write a file, also when it tried again.
    """
    try:
        return future.result()
    except import_distributed().comm.CommClosedError:
        raise
    except OSError as error:
        if future.status == "error":
            raise _WorkerFileError from error
        raise


@contextmanager
def translate_connection_errors() -> Iterator[None]:
    """Translate exceptions of dask on a lost connection.

    Raises:
        JobError: in place of these exceptions.
    """
    try:
        yield
    except TimeoutError:
        raise
    except _CONNECTION_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise JobError(f"the connection to the cluster is lost ({reason}); {_REMEDY}") from error


def import_distributed() -> Any:
    """Return the package `distributed`.

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
