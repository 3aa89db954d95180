"""Worker of a cluster, which reads, denoises and writes one group of tiles at a time.

A worker keeps the network, the input and the output of its job open between groups. Only the driver writes the journal.
A group that is computed twice, because a worker was considered dead, is written twice with the same bytes.
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
from masked_denoiser.images.readers.damage import DamagedRegion
from masked_denoiser.images.writers.output_path import output_exists
from masked_denoiser.inference.device import choose_device, describe
from masked_denoiser.inference.tune_precision import is_bfloat16_fast
from masked_denoiser.jobs.cluster.worker_checks import REMEDY, Run, check_worker, choose_worker_device, open_input
from masked_denoiser.jobs.pipeline.pipeline import Pipeline
from masked_denoiser.jobs.runner_factory import create_runner
from masked_denoiser.jobs.spec.job_file import job_from_json
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.jobs.storage.journal_records import Checksums, RunGuard
from masked_denoiser.jobs.storage.output import open_sinks
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model
from masked_denoiser.version import program_version

#: Seconds to wait for a worker that is to stop.
_STOP_SECONDS = 60


@dataclass(frozen=True)
class WorkerInfo:
    """Description of a worker.

    Attributes:
        host: name of its machine.
        program, torch: versions of this program and of torch.
        device: kind of its device, "cpu", "cuda" or "mps".
        device_name: model of the device, for messages.
        is_bfloat16_fast: see `inference.tune_precision.is_bfloat16_fast`.
    """

    host: str
    program: str
    torch: str
    device: str
    device_name: str
    is_bfloat16_fast: bool


@dataclass(frozen=True)
class GroupReport:
    """Report of a worker on a group that it has written.

    Attributes:
        checksums: checksums of the group in the input and in the outputs.
        skipped: number of tiles that were copied unchanged as background.
        damage: regions of the input that could not be read.
        nonfinite: whether the input contains NaN or infinities.
        messages: messages of the runner, such as on smaller batches after memory ran out.
    """

    checksums: Checksums
    skipped: int
    damage: tuple[DamagedRegion, ...]
    nonfinite: bool
    messages: tuple[str, ...]


def worker_info(device: str) -> WorkerInfo:
    """Return the description of this worker.

    Args:
        device: argument of `choose_device`.

    Raises:
        JobError: if this worker lacks the device.
    """
    chosen, _ = choose_device(device)
    fast = is_bfloat16_fast(chosen)
    return WorkerInfo(platform.node(), program_version(), torch.__version__, chosen.type, describe(chosen), fast)


def pack_model(model: Model) -> tuple[str, bytes]:
    """Return a model as JSON and safetensors, which need no pickle."""
    return model.card.to_json(), save({name: weight.contiguous() for name, weight in model.weights.items()})


def denoise_group(run: str, number: int, group: int) -> GroupReport | MaskedDenoiserError:
    """Denoise and write one group of tiles.

    Args:
        run: name of a registered run.
        number: index of the plane.
        group: index of the group in `Job.groups`.

    Returns:
        A report; or an error, which is not raised so that dask does not retry: this worker has another version or
        device or does not see the files, the input is damaged, or the run was stopped.
    """
    with _STATE.lock:
        try:
            return _denoise(_STATE.pipeline_of(run), number, group)
        except MaskedDenoiserError as error:
            return error


def _denoise(pipeline: Pipeline, number: int, group: int) -> GroupReport:
    skipped, nonfinite, checksums = 0, False, None
    damage: tuple[DamagedRegion, ...] = ()
    for batch in pipeline.denoise(number, group):
        skipped, damage = skipped + batch.skipped, damage + batch.damage
        nonfinite, checksums = nonfinite or batch.nonfinite, batch.checksums
    if checksums is None:
        raise StoppedError(f"group {group} of plane {number} was stopped")
    messages = tuple(f"{platform.node()}: {text}" for text in pipeline.runner.take_messages())
    return GroupReport(checksums, skipped, damage, nonfinite, messages)


def register_run(run: Run, threads: int) -> None:
    """Register a run on this worker.

    Args:
        run: the run.
        threads: CPU threads of this worker.
    """
    _STATE.runs[run.name] = run if run.threads else replace(run, threads=threads)


async def stop_worker(run: str) -> None:
    """Stop a run on this worker after its current batch of tiles, and free the memory and files of the run.

    The wait is limited to a minute, since a worker may hang on a file system that does not respond.
    """
    _STATE.stop(run)
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.to_thread(_STATE.release, run), _STOP_SECONDS)


class _WorkerState:
    """Registered runs, and the pipeline of the current run: only one, since it takes device and memory."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs: dict[str, Run] = {}
        self._run = ""
        self._pipeline: Pipeline | None = None

    def pipeline_of(self, name: str) -> Pipeline:
        """Return the pipeline of a run, which replaces that of another run; the caller must hold `lock`.

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
        """Unregister a run and cancel its pipeline."""
        self.runs.pop(name, None)
        if self._run == name and self._pipeline is not None:
            self._pipeline.cancel.set()

    def release(self, name: str) -> None:
        """Wait for the current group, and free network, input and output of a run."""
        with self.lock:
            if self._run == name:
                self._close()

    def _close(self) -> None:
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline.source.close()
        self._run, self._pipeline = "", None


_STATE = _WorkerState()


def _make_pipeline(run: Run) -> Pipeline:
    job = job_from_json(json.loads(run.job), "the cluster")
    check_worker(run, job)
    chosen = choose_worker_device(run, job)
    model = Model(Card.from_json(run.model[0]), load(run.model[1]))
    runner = create_runner(model, chosen, job, report=logging.getLogger(__name__).info)
    with ExitStack() as undo:
        source = open_input(job)
        undo.callback(source.close)
        if not output_exists(Path(job.output)):
            raise JobError(f"the worker on {platform.node()} does not find {job.output}; {REMEDY}")
        sinks = open_sinks(Path(job.output), source, job, resume=True, overwrite=False)
        undo.pop_all()
    guard = RunGuard(Journal.path_for(Path(job.output)), run.name)
    return Pipeline(job, source, runner, *sinks, may_write=guard.is_current)
