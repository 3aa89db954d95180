"""Resolution of the tile and the batch of a job: as given, or the fastest ones measured on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from masked_denoiser.inference.device import describe, identify
from masked_denoiser.inference.halo import resolve_halo
from masked_denoiser.inference.measurement_cache import recall, remember
from masked_denoiser.inference.precision import Precision
from masked_denoiser.inference.tune_tile import TIME_BUDGET_SECONDS, Probe, Size, measure_sizes
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.file import Model


def resolve_tile(
    options: Options, model: Model, device: torch.device, precision: Precision, report: Callable[[str], None]
) -> Options:
    """Return options with a measured tile and batch in place of "auto"; other options are returned unchanged.

    Args:
        options: what the user asked for. A batch that is given is kept.
        model: the model.
        device: where it will run.
        precision: precision of the network.
        report: receives messages before a measurement and on its result.
    """
    if options.tile != "auto":
        return options
    halo = resolve_halo(options.halo, model)
    batch = options.batch or "auto"
    key = f"tile of model {model.digest} on {identify(device)}, {precision}, halo {halo}, batch {batch}"
    cached = _parse_size(recall(key))
    if cached is not None:
        report(f"tiles of {cached}, which was measured to be the fastest here")
        return replace(options, tile=cached.tile, batch=cached.batch)
    duration = f"at most about {TIME_BUDGET_SECONDS:.0f} s"
    report(f"measuring which tiles are fastest for {model.card.name} on {describe(device)}: {duration}")
    probe = Probe(model, device, precision, halo)
    best, speeds = measure_sizes(probe, options.batch)
    if probe.out_of_time and len(speeds) < 2:
        default = Options().tile
        report(f"this device is too slow to compare tiles; using tiles of {default}, which is not cached")
        return replace(options, tile=default, batch=options.batch)
    if not speeds:
        report(f"there was too little memory to measure; using tiles of {best}, which is not cached")
        return replace(options, tile=best.tile, batch=best.batch)
    where = remember(key, [best.tile, best.batch])
    measured = "; ".join(f"{size}: {speed:.3g}" for size, speed in speeds.items())
    report(f"tiles of {best}; measured megapixels/s: {measured}; {where}")
    return replace(options, tile=best.tile, batch=best.batch)


def _parse_size(value: Any) -> Size | None:
    """Return a cached value as a size; None if it is not one."""
    if isinstance(value, list) and len(value) == 2 and all(type(n) is int and n > 0 for n in value):
        return Size(*value)
    return None
