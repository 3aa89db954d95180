"""Plan of a job and its requirements, without running it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.output_path import estimate_bytes
from masked_denoiser.jobs.memory_estimate import estimate_memory
from masked_denoiser.jobs.pipeline.background_tiles import BackgroundTiles, write_preview
from masked_denoiser.jobs.resolve_job import resolve_job
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.treatments import describe_treatments

_LOG = logging.getLogger(__name__)

#: Largest number of tiles that are read to estimate the share of background.
_MAX_TILES = 64


def plan_job(
    source: Source,
    model: str,
    options: Options,
    device: str,
    report: Callable[[str], None] = _LOG.info,
    preview: Path | None = None,
) -> dict[str, Any]:
    """Return the plan of a job, as plain JSON values.

    Args:
        source: the image; a sample of it is read.
        model: its name or its path, or "auto".
        options: how to denoise.
        device: see `choose_device`.
        report: receives messages on measurements that take time.
        preview: PNG to write, with a picture of the tiles that may be copied; None for no picture.

    Returns:
        Among others the number of `tiles`, `tile` and `halo` in pixels, `memory`, `device_memory` and `output` in
        bytes, and `background`, the share of `looked_at` sampled tiles that would be copied unchanged, or None if
        background is not skipped.

    Raises:
        MaskedDenoiserError: if the job cannot be run with these settings, or the preview cannot be written.
    """
    resolved = resolve_job(source, "out.ome.zarr", model=model, options=options, device=device, report=report)
    job, source = resolved.job, resolved.source
    if preview is not None:
        write_preview(source, job, preview)
    memory = estimate_memory(job, resolved.model.card.architecture)
    sampled, background = _measure_background(source, job)
    return {
        "model": job.model,
        "device": resolved.messages[0],
        "precision": job.precision,
        "noise": job.noise,
        "done": " / ".join(describe_treatments(job)),
        "tiles": len(job.plan) * len(job.planes),
        "tile": job.tile,
        "halo": job.halo,
        "batch": job.batch,
        "memory": memory.process,
        "device_memory": memory.device,
        "output": estimate_bytes(source, Path("out.ome.zarr"), None),
        "background": background,
        "looked_at": sampled,
    }


def _measure_background(source: Source, job: Job) -> tuple[int, float | None]:
    """Return the number of sampled tiles and the share of them that is background; None if it is not skipped."""
    if not job.background:
        return 0, None
    rng = np.random.default_rng(job.seed)
    planes = [plane for plane in job.planes if not plane.copied and not job.treatment_of(plane).is_identity]
    if not planes:
        return 0, None
    count = len(job.plan) * len(planes)
    numbers = range(count) if count <= _MAX_TILES else sorted(rng.choice(count, _MAX_TILES, replace=False).tolist())
    skipped, background = 0, BackgroundTiles(source, job)
    for number in numbers:
        plane, tile = planes[number // len(job.plan)], job.plan[number % len(job.plan)]
        unit = job.range_of(plane).to_unit(source.read(plane, *(span.index for span in tile.read)))
        skipped += background.skips(plane, tile, unit)
    return len(numbers), skipped / len(numbers)
