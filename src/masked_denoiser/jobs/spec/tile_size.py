"""Tile and batch of a job: as given, or as measured to be the fastest on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from masked_denoiser.inference.device import describe, identify
from masked_denoiser.inference.halo import resolve_halo
from masked_denoiser.inference.measurement_cache import recall, remember
from masked_denoiser.inference.precision import Precision
from masked_denoiser.inference.tune_tile import _SECONDS, Probe, Size, _measured
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.file import Model


def resolve_tile(
    options: Options, model: Model, device: torch.device, precision: Precision, say: Callable[[str], None]
) -> Options:
    """Options with a tile and a batch in place of "auto"; others as they are.

    Args:
        options: what the user asked for. A batch that is given stays as it is.
        model: the model.
        device: where it will run.
        precision: in which it will compute.
        say: is told before something is measured, and what came out.
    """
    if options.tile != "auto":
        return options
    halo = resolve_halo(options.halo, model)
    batch = options.batch or "auto"
    key = f"tile of model {model.digest} on {identify(device)}, {precision}, halo {halo}, batch {batch}"
    known = _size(recall(key))
    if known is not None:
        say(f"tiles of {known}, which was measured to be the fastest here")
        return replace(options, tile=known.tile, batch=known.batch)
    say(
        f"measuring which tiles are fastest for {model.card.name} on {describe(device)}: about {_SECONDS:.0f} s at most"
    )
    probe = Probe(model, device, precision, halo)
    best, speeds = _measured(probe, options.batch)
    if probe.hurried and len(speeds) < 2:
        default = Options().tile
        say(f"there was no time to compare tiles on so slow a device; taking those of {default}, and keeping nothing")
        return replace(options, tile=default, batch=options.batch)
    kept = remember(key, [best.tile, best.batch])
    figures = "; ".join(f"{size}: {speed:.3g}" for size, speed in speeds.items())
    say(f"tiles of {best}; measured megapixels/s: {figures or 'none, for want of memory'}; {kept}")
    return replace(options, tile=best.tile, batch=best.batch)


def _size(value: Any) -> Size | None:
    """What was remembered, if it is a size."""
    if isinstance(value, list) and len(value) == 2 and all(type(n) is int and n > 0 for n in value):
        return Size(*value)
    return None
