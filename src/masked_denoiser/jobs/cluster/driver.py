"""Driver of a job on a cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from masked_denoiser.errors import OutputError
from masked_denoiser.jobs.cluster.task_queue import POLL_SECONDS, TaskQueue
from masked_denoiser.jobs.cluster.worker import GroupReport, pack_model
from masked_denoiser.jobs.cluster.worker_checks import Run
from masked_denoiser.jobs.pipeline.events import NONFINITE_MESSAGE, Cancelled, Event, Finished, damage_message
from masked_denoiser.jobs.pipeline.finalize import run_finalization
from masked_denoiser.jobs.pipeline.progress import ProgressTracker
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.storage.journal import Journal, check_complete
from masked_denoiser.jobs.storage.journal_records import GroupId
from masked_denoiser.jobs.storage.output import Output
from masked_denoiser.messages import Message
from masked_denoiser.models.file import Model

#: Seconds after which a cluster without workers is reported.
_NO_WORKERS_SECONDS = 10.0


@dataclass(eq=False)
class ClusterPipeline:
    """Job on a cluster, with the interface of a `Pipeline`.

    Attributes:
        job: the resolved job.
        client: `distributed.Client` of the cluster.
        model: the model.
        output: sinks and journal of the output.
        device, threads: device and CPU threads of each worker.
        torch: version of torch that all workers have.
        is_bfloat16_fast: whether bfloat16 is fast on all workers.
        cancel: set from any thread to stop.
    """

    job: Job
    client: Any
    model: Model
    output: Output
    device: str = "auto"
    threads: int | None = None
    torch: str = ""
    is_bfloat16_fast: bool = False
    cancel: threading.Event = field(default_factory=threading.Event)

    @property
    def journal(self) -> Journal:
        """Journal of the output."""
        return self.output.journal

    def run(self, cancel: threading.Event | None = None) -> Iterator[Event]:
        """Run the job and yield its events, as `Pipeline.run` does. The output is finished or closed at the end."""
        self.cancel = cancel or self.cancel
        tracker = ProgressTracker(self.job, set(self.journal.done))
        finished = False
        try:
            yield tracker.progress()
            yield from self._groups(tracker)
            if self.cancel.is_set():
                yield Cancelled(tracker.saved_progress())
                return
            check_complete(self.job, self.journal)
            if not (yield from run_finalization(self.output.finish, self.cancel)):
                yield Cancelled(tracker.saved_progress())
                return
            finished = True
            damage = tuple(map(str, self.journal.damage))
            skips = bool(self.job.background)
            yield Finished(tracker.progress(), skipped=tracker.skipped, skips_background=skips, damage=damage)
        finally:
            if not finished:
                self.close()

    def close(self) -> None:
        """Close an unfinished output, so that the job can be resumed; a closed or complete one is unaffected."""
        self.output.close()

    def _groups(self, tracker: ProgressTracker) -> Iterator[Event]:
        warning = _NoWorkersWarning()
        nonfinite = False
        with TaskQueue(self.client, self.job, self.journal, self._run_description()) as tasks:
            while not self.cancel.is_set() and tasks.fill():
                for group_id, report in tasks.finished():
                    self._record(group_id, report)
                    yield from map(Message, report.messages)
                    if report.nonfinite and not nonfinite:
                        nonfinite = True
                        yield NONFINITE_MESSAGE
                    yield from map(damage_message, report.damage)
                    tracker.add(self.job.groups[group_id[1]].tiles, report.skipped)
                    tracker.mark_saved()
                    yield tracker.progress()
                yield from warning.check(tasks.workers())

    def _run_description(self) -> Run:
        """Return the description of this run for the workers."""
        return Run(
            self.journal.run,
            self.job.with_absolute_paths().to_json(),
            pack_model(self.model),
            self.device,
            self.torch,
            self.is_bfloat16_fast,
            self.threads,
        )

    def _record(self, group_id: GroupId, report: GroupReport) -> None:
        try:
            self.journal.add(group_id, report.checksums, report.damage)
        except OSError as error:
            raise OutputError(self.journal.output, error) from error


class _NoWorkersWarning:
    """Warning that is issued once each time when all workers have been lost for some time."""

    def __init__(self) -> None:
        self._polls = 0

    def check(self, workers: dict[str, int]) -> Iterator[Message]:
        self._polls = 0 if workers else self._polls + 1
        if self._polls == int(_NO_WORKERS_SECONDS / POLL_SECONDS):
            yield Message("the cluster has no workers left; waiting for new ones, or cancel and use --resume later")
