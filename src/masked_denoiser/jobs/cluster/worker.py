"""What the workers of a cluster do: one group of tiles at a time, read, denoised and written by the worker itself.

A worker keeps the network, the input and the output of its job open between groups. It writes no journal: that is the
driver's. A group that is done twice, because a worker was thought dead, is written twice with the same bytes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import platform
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load, save

from masked_denoiser.errors import JobError, MaskedDenoiserError, StoppedError
from masked_denoiser.images.readers.damage import DamagedRegion, zero_fill_damage
from masked_denoiser.images.selection import open_part
from masked_denoiser.images.writers.output_path import has_begun
from masked_denoiser.inference.device import choose_device, describe
from masked_denoiser.jobs.pipeline.pipeline import Pipeline
from masked_denoiser.jobs.runner_factory import create_runner
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.job_file import job_from
from masked_denoiser.jobs.spec.resolve import fingerprint
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.jobs.storage.journal_records import Watch
from masked_denoiser.jobs.storage.output import open_sinks
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model
from masked_denoiser.version import program_version

#: Seconds after which a worker that hangs is left alone.
_PATIENCE = 60

_SHARED = "workers need the same files under the same paths, a shared file system"


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker is.

    Attributes:
        host: name of its machine.
        program, torch: versions.
        device: kind of the device that it would use, "cpu", "cuda" or "mps".
        device_name: model of the device, for messages.
    """

    host: str
    program: str
    torch: str
    device: str
    device_name: str


@dataclass(frozen=True)
class GroupDone:
    """The report of a worker on a group that it has written.

    Attributes:
        skipped: tiles that were copied as background.
        damage: regions of the input that could not be read.
        broken: whether it holds NaN or infinities.
        messages: what the runner had to change, such as smaller batches when memory ran out.
    """

    skipped: int
    damage: tuple[DamagedRegion, ...]
    broken: bool
    messages: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """A run of a job, as every worker is told of it once, those that come later too.

    Attributes:
        name: names it, so that it can be stopped.
        job: JSON of the job; input and output must be there under the same paths.
        model: card as JSON, and tensors as safetensors.
        device: as for `choose_device`; it must come to the kind that the job is for.
        torch: version that all workers have.
        threads: CPU threads to compute with; None for as many as the worker has.
    """

    name: str
    job: str
    model: tuple[str, bytes]
    device: str
    torch: str
    threads: int | None = None


def worker_info(device: str) -> WorkerInfo:
    """What this worker is.

    Args:
        device: as for `choose_device`.

    Raises:
        JobError: if this worker has no such device.
    """
    chosen, _ = choose_device(device)
    return WorkerInfo(platform.node(), program_version(), torch.__version__, chosen.type, describe(chosen))


def pack_model(model: Model) -> tuple[str, bytes]:
    """A model as plain text and tensors, for any wire."""
    return model.card.to_json(), save({name: weight.contiguous() for name, weight in model.weights.items()})


def do_group(run: str, number: int, group: int) -> GroupDone | MaskedDenoiserError:
    """Denoises and writes one group of tiles.

    Args:
        run: name of a run that this worker was told of.
        number: of the plane.
        group: of its tiles.

    Returns:
        What there is to tell; or, rather than raising it, an error that another attempt would meet again: this worker
        is of another version or device, does not see the files, the input is damaged, or the run was stopped.
    """
    with _RUNNERS.lock:
        try:
            return _done(_RUNNERS.get(run), number, group)
        except MaskedDenoiserError as error:
            return error


def _done(pipeline: Pipeline, number: int, group: int) -> GroupDone:
    skipped, broken, complete = 0, False, False
    damage: tuple[DamagedRegion, ...] = ()
    for done in pipeline.denoise(number, group):
        skipped, damage = skipped + done.skipped, damage + done.damage
        broken, complete = broken or done.broken, bool(done.written)
    if not complete:
        raise StoppedError(f"group {group} of plane {number} was stopped")
    return GroupDone(skipped, damage, broken, _take_messages(pipeline))


def register_run(run: Run, threads: int) -> None:
    """Tells this worker of a run.

    Args:
        run: that is begun.
        threads: of this worker.
    """
    _RUNNERS.runs[run.name] = run if run.threads else replace(run, threads=threads)


async def stop_worker(run: str) -> None:
    """Ends a run on this worker: after the batch of tiles it is at, it writes no more and frees what it held.

    A worker that hangs, on a file system that does not answer, is not waited for longer than a minute.
    """
    _RUNNERS.stop(run)
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.to_thread(_RUNNERS.release, run), _PATIENCE)


def _take_messages(pipeline: Pipeline) -> tuple[str, ...]:
    taken, pipeline.denoiser.messages = pipeline.denoiser.messages, []
    return tuple(f"{platform.node()}: {text}" for text in taken)


class _Runners:
    """The pipeline of the run that this process works at; one at a time, as devices and memory are."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs: dict[str, Run] = {}
        self._run = ""
        self._pipeline: Pipeline | None = None

    def get(self, name: str) -> Pipeline:
        """The pipeline of a run, made anew if the last one was another's; with the lock held.

        Raises:
            StoppedError: if the run was stopped.
        """
        run = self.runs.get(name)
        if run is None:
            raise StoppedError("this run was stopped")
        torch.set_num_threads(run.threads or 1)
        if self._pipeline is None or self._run != name:
            self._close()
            self._run, self._pipeline = name, _make_pipeline(run)
        return self._pipeline

    def stop(self, name: str) -> None:
        """Makes a run stop, for good."""
        self.runs.pop(name, None)
        if self._run == name and self._pipeline is not None:
            self._pipeline.cancel.set()

    def release(self, name: str) -> None:
        """Waits until nothing is being done, and frees network, input and output of a run."""
        with self.lock:
            if self._run == name:
                self._close()

    def _close(self) -> None:
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline.source.close()
        self._run, self._pipeline = "", None


_RUNNERS = _Runners()


def _make_pipeline(run: Run) -> Pipeline:
    job = job_from(json.loads(run.job), "the cluster")
    _check_worker(run, job)
    chosen, _ = choose_device(run.device)
    if chosen.type != job.device:
        raise JobError(f"the worker on {platform.node()} computes on {chosen.type}, and the job is for {job.device}")
    model = Model(Card.from_json(run.model[0]), load(run.model[1]))
    denoiser = create_runner(model, chosen, job, say=logging.getLogger(__name__).info)
    with ExitStack() as undo:
        source = open_part(job.input, axes=job.asked_axes, level=job.level, selection=job.selection)
        undo.callback(source.close)
        source = zero_fill_damage(source) if job.on_error == "skip" else source
        seen = fingerprint(source, job.planes) if source.shape == job.shape else None
        if seen is None or (seen[0], seen[2]) != (job.stamp[0], job.stamp[2]):
            raise JobError(f"the worker on {platform.node()} sees another image in {job.input}; {_SHARED}")
        if not has_begun(Path(job.output)):
            raise JobError(f"the worker on {platform.node()} does not see {job.output}; {_SHARED}")
        sinks = open_sinks(Path(job.output), source, job, resume=True, overwrite=False)
        undo.pop_all()
    allowed = Watch(Journal.beside(Path(job.output)), run.name).still_ours
    return Pipeline(job, source, denoiser, *sinks, allowed=allowed)


def _check_worker(run: Run, job: Job) -> None:
    """Refuses what would give other pixels, and files that are not there."""
    mine = {"version": (program_version(), job.version), "torch": (torch.__version__, run.torch)}
    for what, (here, there) in mine.items():
        if here != there:
            raise JobError(f"the worker on {platform.node()} has {what} {here} and the others {there}; update one")
    for place in (job.input, str(Path(job.output).parent)):
        if "://" not in place and not Path(place).exists():
            raise JobError(f"the worker on {platform.node()} does not see {place}; {_SHARED}")
