"""A job on a cluster, as the driver sees it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from masked_denoiser.errors import OutputError
from masked_denoiser.jobs.cluster.task_queue import LOOK, TaskQueue
from masked_denoiser.jobs.cluster.worker import GroupDone, Run, pack_model
from masked_denoiser.jobs.pipeline.events import Cancelled, Event, Finished
from masked_denoiser.jobs.pipeline.finalize import run_finalization
from masked_denoiser.jobs.pipeline.progress import ProgressTracker
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.storage.journal import GroupId, Journal, check_complete
from masked_denoiser.jobs.storage.output import Output
from masked_denoiser.messages import Message
from masked_denoiser.models.file import Model

#: Seconds after which a cluster without workers is mentioned.
_NO_WORKERS = 10.0


@dataclass(eq=False)
class ClusterPipeline:
    """A job on a cluster; to be used as a `Pipeline`.

    Attributes:
        job: what to do.
        client: of the cluster that does it.
        model: with what.
        output: where results go.
        device, threads: of each worker.
        torch: version that all workers have.
        cancel: set it from any thread to stop.
    """

    job: Job
    client: Any
    model: Model
    output: Output
    device: str = "auto"
    threads: int | None = None
    torch: str = ""
    cancel: threading.Event = field(default_factory=threading.Event)

    @property
    def journal(self) -> Journal:
        """What is done."""
        return self.output.journal

    def run(self) -> Iterator[Event]:
        """Does the work, and yields events as it goes. The output is finished or closed at the end."""
        clock = ProgressTracker(self.job, self.journal.done)
        finished = False
        try:
            yield clock.progress()
            yield from self._groups(clock)
            if self.cancel.is_set():
                yield Cancelled(clock.kept())
                return
            check_complete(self.job, self.journal)
            if not (yield from run_finalization(self.output.finish, self.cancel)):
                yield Cancelled(clock.kept())
                return
            finished = True
            damage = tuple(map(str, self.journal.damage))
            yield Finished(clock.progress(), skipped=clock.skipped, skipping=bool(self.job.background), damage=damage)
        finally:
            if not finished:
                self.close()

    def close(self) -> None:
        """Closes the output as it is, for a later resume; once it is closed or complete, nothing."""
        self.output.close()

    def _groups(self, clock: ProgressTracker) -> Iterator[Event]:
        lonely = _NoWorkersWarning()
        broken = False
        with TaskQueue(self.client, self.job, self.journal, self._run_description()) as tasks:
            while not self.cancel.is_set() and tasks.fill():
                for piece, done in tasks.finished():
                    self._record(piece, done)
                    yield from map(Message, done.messages)
                    if done.broken and not broken:
                        broken = True
                        yield Message("the image holds NaN or infinite values; they stay as they are in the result")
                    yield from (Message(f"damaged and passed through: {place}") for place in done.damage)
                    clock.add(self.job.groups[piece[1]].tiles, done.skipped)
                    clock.keep()
                    yield clock.progress()
                yield from lonely.check(tasks.workers())

    def _run_description(self) -> Run:
        """Return what workers need to know of this run."""
        return Run(
            self.journal.run,
            self.job.with_absolute_paths().to_json(),
            pack_model(self.model),
            self.device,
            self.torch,
            self.threads,
        )

    def _record(self, piece: GroupId, done: GroupDone) -> None:
        try:
            self.journal.add(piece, done.damage)
        except OSError as error:
            raise OutputError(self.journal.output, error) from error


class _NoWorkersWarning:
    """Says it once when all workers are gone, each time they are."""

    def __init__(self) -> None:
        self._looks = 0

    def check(self, workers: dict[str, int]) -> Iterator[Message]:
        self._looks = 0 if workers else self._looks + 1
        if self._looks == int(_NO_WORKERS / LOOK):
            yield Message("the cluster has no workers left; waiting for new ones, or cancel and go on with --resume")
