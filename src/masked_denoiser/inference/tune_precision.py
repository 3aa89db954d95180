"""The precision that is fastest for a model on a device: measured once, and remembered.

A choice that was made by the clock at each start would change a job's bytes from run to run, so the first measurement
is kept (`measurement_cache`) until device, torch or model change.
"""

from __future__ import annotations

import time
from typing import get_args

import numpy as np
import torch

from masked_denoiser.inference.device import identify
from masked_denoiser.inference.measurement_cache import recall, remember
from masked_denoiser.inference.precision import AskedPrecision, Precision
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.models.file import Model

#: How much faster half precision must be to be taken, and how often each is timed.
_WORTH, _RUNS = 1.2, 2

#: Side of the square that is denoised to measure.
_SIDE = 256


def resolve_precision(asked: AskedPrecision, model: Model, device: torch.device) -> tuple[Precision, str]:
    """The precision, and a sentence for the user; empty where there was nothing to decide.

    Args:
        asked: what the user asked for.
        model: the model.
        device: where it will run.
    """
    if asked != "auto":
        return asked, ""
    key = f"precision of model {model.digest} on {identify(device)}"
    if (known := recall(key)) in get_args(Precision):
        return known, f"computing in {known}, which was measured to be the fastest here"
    speeds = {kind: _seconds(model, device, kind) for kind in _candidates(device)}
    best = min(speeds, key=lambda kind: speeds[kind] * (1.0 if kind == "float32" else _WORTH))
    kept = remember(key, best)
    measured = ", ".join(f"{kind} {speeds['float32'] / seconds:.1f}x" for kind, seconds in speeds.items())
    return best, f"computing in {best}; measured speeds: {measured}; {kept}"


def _candidates(device: torch.device) -> tuple[Precision, ...]:
    if device.type == "mps":
        return "float32", "float16"
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "float32", "float16"
    return "float32", "bfloat16"


def _seconds(model: Model, device: torch.device, kind: Precision) -> float:
    """The best of some runs, after one that does not count."""
    denoiser = ModelRunner(model, device, precision=kind)
    side = -(-_SIDE // model.card.architecture.grid) * model.card.architecture.grid
    tile = np.full((1, model.card.architecture.channels, side, side), 0.5, np.float32)
    times = []
    for _ in range(_RUNS + 1):
        began = time.perf_counter()
        denoiser(tile, ((0, 0),))
        times.append(time.perf_counter() - began)
    return min(times[1:])
