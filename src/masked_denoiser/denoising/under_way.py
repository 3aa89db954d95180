"""The groups of a job that are under way on a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from masked_denoiser.denoising.job import Job, JobError
from masked_denoiser.denoising.journal import Journal, Piece
from masked_denoiser.denoising.remote import GroupDone, do_group, pack_model, stop_worker
from masked_denoiser.models.file import Model

if TYPE_CHECKING:
    from distributed import Future

#: Groups under way for each worker: one that it does, one that waits for it.
_EACH = 2

#: How often a group that failed on a worker, other than by a wrong job, is tried again.
_RETRIES = 2

#: Seconds between looks at a cancel.
LOOK = 0.2


class UnderWay:
    """The groups under way, few at a time; none of them runs any more when the `with` statement ends."""

    def __init__(self, client: Any, job: Job, journal: Journal, model: Model, device: str, threads: int | None) -> None:
        """Sends the model to the workers.

        Args:
            client: of the cluster.
            job: what to do.
            journal: what is done of it.
            model: with what.
            device, threads: of each worker; None for as many threads as it has.
        """
        self._client, self._run, self._device, self._threads = client, journal.run, device, threads
        here = job.input if "://" in job.input else str(Path(job.input).absolute())
        self._job = replace(job, input=here, output=str(Path(job.output).absolute())).to_json()
        done = frozenset(journal.done)
        everything = product(range(len(job.planes)), range(len(job.groups)))
        self._left = (piece for piece in everything if piece not in done)
        self._exhausted = False
        self._flying: dict[Future[GroupDone], Piece] = {}
        self._model = client.scatter([pack_model(model)], broadcast=True, hash=False)[0]

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
        """Hands out groups until enough are under way; False when all are done."""
        workers = self.workers()
        while not self._exhausted and len(self._flying) < _EACH * len(workers):
            piece = next(self._left, None)
            if piece is None:
                self._exhausted = True
                break
            self._flying[self._submit(piece, self._threads or max(workers.values()))] = piece
        return bool(self._flying) or not self._exhausted

    def _submit(self, piece: Piece, threads: int) -> Future[GroupDone]:
        future: Future[GroupDone] = self._client.submit(
            do_group,
            self._run,
            self._job,
            self._model,
            self._device,
            threads,
            *piece,
            key=f"denoise-{self._run}-{piece[0]}-{piece[1]}",
            pure=False,
            retries=_RETRIES,
        )
        return future

    def finished(self) -> Iterator[tuple[Piece, GroupDone]]:
        """Groups that are on disk since the last look.

        Raises:
            JobError: if a group cannot be done, with what its worker says.
        """
        distributed = distributed_library()
        if not self._flying:  # no worker is there to do anything
            time.sleep(LOOK)
            return
        try:
            done, _ = distributed.wait(list(self._flying), timeout=LOOK, return_when="FIRST_COMPLETED")
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
