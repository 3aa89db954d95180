"""Resolution of a request to a job: channels, model, device, precision, tile and noise treatment."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from masked_denoiser.errors import JobError
from masked_denoiser.images.readers.damage import zero_fill_damage
from masked_denoiser.images.source import Source
from masked_denoiser.inference.precision import Precision
from masked_denoiser.jobs.executor import Executor, LocalExecutor
from masked_denoiser.jobs.job_precision import choose_precision
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.resolve import make_job, resolve_channels
from masked_denoiser.jobs.spec.resolved_job import ResolvedJob
from masked_denoiser.jobs.spec.tile_size import resolve_tile
from masked_denoiser.models.catalogue import AUTO, load_model, resolve_auto
from masked_denoiser.models.file import Model

_LOG = logging.getLogger(__name__)


def resolve_job(
    source: Source,
    output: str | Path = "",
    *,
    model: Model | str | Path = AUTO,
    options: Options | None = None,
    device: str = "auto",
    executor: Executor[Any] | None = None,
    report: Callable[[str], None] = _LOG.info,
) -> ResolvedJob:
    """Resolve options to a job, without touching the output.

    Args:
        source: the image; a sample of it is read.
        output: where the result will go; "" for memory.
        model: a model, its name or its path; "auto" takes general-rgb or general-gray, depending on the image.
        options: how to denoise.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        executor: where the job will run; this process by default.
        report: receives messages on measurements that take time, before they begin.

    Raises:
        MaskedDenoiserError: if model, options, device and image do not fit together.
    """
    executor, options = executor or LocalExecutor(), options or Options()
    source = readable_source(source, options)
    options = resolve_channels(source, model, options)
    chosen, device_message = executor.choose_device(device)
    name = "" if isinstance(model, Model) else str(model_name(model, source, options))
    loaded = model if isinstance(model, Model) else load_model(name)
    if options.tile == "auto" and not executor.can_measure:
        raise JobError("tile 'auto' is measured on one device; give its value for a cluster")
    if options.cpu_as_last_resort and not executor.can_measure:
        raise JobError("--cpu-as-last-resort is for one process; on a cluster, choose a smaller tile, or leave it out")
    # Speeds are measured in float32 if the precision is only chosen when the noise is known.
    precision: Precision = "float32" if options.precision == "auto" else options.precision
    options = resolve_tile(options, loaded, chosen, precision, report)
    job = make_job(source, loaded, options, chosen.type, str(output), precision, name)
    precision_message = ""
    if options.precision == "auto":
        precision, precision_message = choose_precision(job, loaded, executor.is_bfloat16_fast(chosen), report)
        job = replace(job, precision=precision)
    return ResolvedJob(job, source, loaded, chosen, (device_message,), precision_message)


def readable_source(source: Source, options: Options) -> Source:
    """Return the source as a job reads it: with zeros for damaged regions if they are to be skipped."""
    return zero_fill_damage(source) if options.on_error == "skip" else source


def model_name(model: str | Path, source: Source, options: Options) -> str | Path:
    """Return the named model, or the default model for the channels of the image's planes."""
    return resolve_auto(model, source.rgb if options.channels == "auto" else options.channels == "rgb")
