"""Tuning of `--precision auto`: the fastest precision for a model on a device, measured once and cached.

A measurement at each start could change the bytes of a job from run to run, so the first one is kept
(`measurement_cache`) until device, torch or model change.
"""

from __future__ import annotations

import time
from typing import get_args

import numpy as np
import torch

from masked_denoiser.inference.device import identify
from masked_denoiser.inference.measurement_cache import recall, remember
from masked_denoiser.inference.precision import Precision, RequestedPrecision
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.models.file import Model

#: Least ratio of the speed of half precision to that of float32.
_MIN_SPEEDUP = 1.2

#: Number of runs that are timed per precision, and side in pixels of the square that they denoise.
_RUNS, _SIDE = 2, 256


def resolve_precision(requested: RequestedPrecision, model: Model, device: torch.device) -> tuple[Precision, str]:
    """Return the precision, and a message for the user, which is empty unless "auto" was requested.

    Args:
        requested: by the user.
        model: the model.
        device: where it will run.
    """
    if requested != "auto":
        return requested, ""
    key = f"precision of model {model.digest} on {identify(device)}"
    if (cached := recall(key)) in get_args(Precision):
        return cached, f"computing in {cached}, which was measured to be the fastest here"
    seconds = {kind: _seconds(model, device, kind) for kind in _candidates(device)}
    best = min(seconds, key=lambda kind: seconds[kind] * (1.0 if kind == "float32" else _MIN_SPEEDUP))
    where = remember(key, best)
    speeds = ", ".join(f"{kind} {seconds['float32'] / value:.1f}x" for kind, value in seconds.items())
    return best, f"computing in {best}; measured speeds: {speeds}; {where}"


def _candidates(device: torch.device) -> tuple[Precision, ...]:
    if device.type == "cuda":
        return "float32", "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "float32", "float16" if device.type == "mps" else "bfloat16"


def _seconds(model: Model, device: torch.device, kind: Precision) -> float:
    """Return the shortest time of several runs, after one that is not timed."""
    runner = ModelRunner(model, device, precision=kind)
    side = -(-_SIDE // model.card.architecture.grid) * model.card.architecture.grid
    tile = np.full((1, model.card.architecture.channels, side, side), 0.5, np.float32)
    times = []
    for _ in range(_RUNS + 1):
        start = time.perf_counter()
        runner(tile, ((0, 0),))
        times.append(time.perf_counter() - start)
    return min(times[1:])
