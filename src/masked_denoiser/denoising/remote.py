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
from collections import deque
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load, save

from masked_denoiser.denoising.begin import begin
from masked_denoiser.denoising.device import choose_device, describe
from masked_denoiser.denoising.job import Job, JobError
from masked_denoiser.denoising.job_file import job_from
from masked_denoiser.denoising.journal import Journal
from masked_denoiser.denoising.output import open_sinks
from masked_denoiser.denoising.pipeline import Pipeline
from masked_denoiser.denoising.records import Watch
from masked_denoiser.images.damage import Place, forgiving
from masked_denoiser.images.selection import open_part
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model


class StoppedError(JobError):
    """A run was stopped on request of its driver."""


@dataclass(frozen=True)
class About:
    """What a worker is.

    Attributes:
        host: name of its machine.
        program, torch: versions.
        device: kind of the device that it would use, "cpu", "cuda" or "mps".
        said: the device in words.
    """

    host: str
    program: str
    torch: str
    device: str
    said: str


@dataclass(frozen=True)
class GroupDone:
    """What a worker tells of a group that it has written.

    Attributes:
        skipped: tiles that were passed through as background.
        damage: places of the input that were passed through.
        broken: whether it holds NaN or infinities.
        said: what the denoiser had to do to go on.
    """

    skipped: int
    damage: tuple[Place, ...]
    broken: bool
    said: tuple[str, ...]


def about_worker(device: str) -> About:
    """What this worker is.

    Args:
        device: as for `choose_device`.

    Raises:
        JobError: if this worker has no such device.
    """
    chosen, _ = choose_device(device)
    name = "napari-masked-denoiser"
    return About(platform.node(), version(name), torch.__version__, chosen.type, describe(chosen))


def pack_model(model: Model) -> tuple[str, bytes]:
    """A model as plain text and tensors, for any wire."""
    return model.card.to_json(), save({name: weight.contiguous() for name, weight in model.weights.items()})


def do_group(
    run: str, job: str, packed: tuple[str, bytes], device: str, threads: int, number: int, group: int
) -> GroupDone:
    """Denoises and writes one group of tiles.

    Args:
        run: names this run of the job, so that it can be stopped.
        job: JSON of the job; input and output must be there under the same paths.
        packed: the model, by `pack_model`.
        device: as for `choose_device`.
        threads: CPU threads to compute with.
        number: of the plane.
        group: of its tiles.

    Raises:
        JobError: if this worker is of another version, does not see the files, or was told to stop.
    """
    with _ENGINES.lock:
        pipeline = _ENGINES.get(run, job, packed, device, threads)
        skipped, broken, complete = 0, False, False
        damage: tuple[Place, ...] = ()
        for done in pipeline.denoise(number, group):
            skipped, damage = skipped + done.skipped, damage + done.damage
            broken, complete = broken or done.broken, bool(done.written)
        if not complete:
            raise StoppedError(f"group {group} of plane {number} was stopped")
        return GroupDone(skipped, damage, broken, _said(pipeline))


async def stop_worker(run: str) -> None:
    """Stops what this worker does of a run, after the batch of tiles it is at, and waits until it writes no more."""
    _ENGINES.stop(run)
    await asyncio.to_thread(_ENGINES.wait)


def _said(pipeline: Pipeline) -> tuple[str, ...]:
    said: list[str] = getattr(pipeline.denoiser, "said", [])
    taken = tuple(f"{platform.node()}: {text}" for text in said)
    said.clear()
    return taken


class _Engines:
    """The pipeline of the run that this process works at; one at a time, as devices and memory are."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._run = ""
        self._pipeline: Pipeline | None = None
        self._stopped: deque[str] = deque(maxlen=1000)

    def get(self, run: str, job: str, packed: tuple[str, bytes], device: str, threads: int) -> Pipeline:
        """The pipeline of a run, made anew if the last one was another's; with the lock held."""
        torch.set_num_threads(threads)
        if self._pipeline is None or self._run != run:
            if self._pipeline is not None:
                self._pipeline.close()
                self._pipeline.source.close()
            self._pipeline = None
            settled = job_from(json.loads(job), "the cluster")
            self._run, self._pipeline = run, _make_pipeline(settled, packed, device)
            self._pipeline.allowed = Watch(Journal.beside(Path(settled.output)), run).still_ours
        if run in self._stopped:
            raise StoppedError("this run was stopped")
        return self._pipeline

    def stop(self, run: str) -> None:
        """Makes a run stop, for good."""
        self._stopped.append(run)
        if self._run == run and self._pipeline is not None:
            self._pipeline.cancel.set()

    def wait(self) -> None:
        """Until nothing is being done."""
        with self.lock:
            pass


_ENGINES = _Engines()


def _make_pipeline(job: Job, packed: tuple[str, bytes], device: str) -> Pipeline:
    mine = version("napari-masked-denoiser")
    if mine != job.version:
        raise JobError(f"the worker on {platform.node()} has version {mine} and the job {job.version}; update one")
    for place in (job.input, str(Path(job.output).parent)):
        if "://" not in place and not Path(place).exists():
            raise JobError(f"the worker on {platform.node()} does not see {place}; workers need a shared file system")
    chosen, _ = choose_device(device)
    model = Model(Card.from_json(packed[0]), load(packed[1]))
    denoiser = begin(model, chosen, job, say=logging.getLogger(__name__).info)
    source = open_part(job.input, axes=job.asked_axes, level=job.level, selection=job.selection)
    if source.shape != job.shape:
        raise JobError(f"the worker on {platform.node()} sees {source.shape} in {job.input} instead of {job.shape}")
    source = forgiving(source) if job.on_error == "skip" else source
    sinks = open_sinks(Path(job.output), source, job, resume=True, overwrite=False)
    return Pipeline(job, source, denoiser, *sinks)
