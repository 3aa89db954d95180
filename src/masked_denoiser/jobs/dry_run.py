"""What a job would do and need, said before it is done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.output_path import estimate_bytes
from masked_denoiser.inference.device import choose_device
from masked_denoiser.inference.tune_precision import resolve_precision
from masked_denoiser.jobs.memory_estimate import plan_memory
from masked_denoiser.jobs.messages import what_is_done
from masked_denoiser.jobs.pipeline.background_tiles import BackgroundTiles, write_preview
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.resolve import make_job, resolve_channels
from masked_denoiser.jobs.spec.tile_size import resolve_tile
from masked_denoiser.models.catalogue import load_model, suited

_LOG = logging.getLogger(__name__)

#: Tiles that are looked at to say how many are background.
_LOOKED_AT = 64


def plan_job(
    source: Source,
    model: str,
    options: Options,
    device: str,
    say: Callable[[str], None] = _LOG.info,
    preview: Path | None = None,
) -> dict[str, Any]:
    """The plan of a job, as plain JSON values.

    Args:
        source: the image; a sample of it is read.
        model: name, path or "auto".
        options: how to denoise.
        device: as for `choose_device`.
        say: is told at once what takes its time.
        preview: where a picture of the tiles that may be passed through goes, a PNG; None for none.

    Returns:
        Among others `tiles`, `tile` and `halo` in pixels, `memory`, `device_memory` and `output` in bytes, and
        `background`, the share of some tiles that would be passed through, or None where none is.

    Raises:
        MaskedDenoiserError: if the job cannot be done as asked, or the preview not be written.
    """
    chosen, said = choose_device(device)
    options = resolve_channels(source, model, options)
    together = source.rgb if options.channels == "auto" else options.channels == "rgb"
    loaded = load_model(suited(model, together))
    precision, _ = resolve_precision(options.precision, loaded, chosen)
    options = resolve_tile(options, loaded, chosen, precision, say)
    job = make_job(source, loaded, options, chosen.type, "out.ome.zarr", precision)
    if preview is not None:
        write_preview(source, job, preview)
    memory = plan_memory(job, loaded.card.architecture)
    looked, background = _background(source, job)
    return {
        "model": loaded.card.name,
        "device": said,
        "precision": precision,
        "noise": job.noise,
        "done": " / ".join(what_is_done(job)),
        "tiles": len(job.plan) * len(job.planes),
        "tile": job.tile,
        "halo": job.halo,
        "batch": job.batch,
        "memory": memory.process,
        "device_memory": memory.device,
        "output": estimate_bytes(source, Path("out.ome.zarr"), None),
        "background": background,
        "looked_at": looked,
    }


def _background(source: Source, job: Job) -> tuple[int, float | None]:
    """Of how many tiles which share is background."""
    if not job.background:
        return 0, None
    rng = np.random.default_rng(job.seed)
    planes = [plane for plane in job.planes if not plane.copied and not job.treatment_of(plane).is_identity]
    if not planes:
        return 0, None
    count = len(job.plan) * len(planes)
    numbers = range(count) if count <= _LOOKED_AT else sorted(rng.choice(count, _LOOKED_AT, replace=False).tolist())
    found, skipping = 0, BackgroundTiles(source, job)
    for number in numbers:
        plane, tile = planes[number // len(job.plan)], job.plan[number % len(job.plan)]
        unit = job.range_of(plane).to_unit(source.read(plane, *(span.index for span in tile.read)))
        found += skipping.skips(plane, tile, unit)
    return len(numbers), found / len(numbers)
