"""The precision that is fastest for a model on a device: measured once, and remembered.

A choice that was made by the clock at each start would change a job's bytes from run to run, so the first measurement
is kept in the user's cache folder until device, torch or model change.
"""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_path

from masked_denoiser.denoising.denoiser import Denoiser
from masked_denoiser.denoising.device import describe
from masked_denoiser.denoising.precision import AskedPrecision, Precision
from masked_denoiser.models.file import Model
from masked_denoiser.plain_json import parse_json

#: How much faster half precision must be to be taken, and how often each is timed.
_WORTH, _RUNS = 1.2, 2

#: Side of the square that is denoised to measure.
_SIDE = 256


def settle_precision(asked: AskedPrecision, model: Model, device: torch.device) -> tuple[Precision, str]:
    """The precision, and a sentence for the user; empty where there was nothing to decide.

    Args:
        asked: what the user asked for.
        model: the model.
        device: where it will run.
    """
    if asked != "auto":
        return asked, ""
    key = f"{_name(device)}, torch {torch.__version__}, model {model.digest}"
    known = _remembered()
    if key in known:
        return known[key], f"computing in {known[key]}, which was measured to be the fastest here"
    speeds = {kind: _seconds(model, device, kind) for kind in _candidates(device)}
    best = min(speeds, key=lambda kind: speeds[kind] * (1.0 if kind == "float32" else _WORTH))
    kept = _remember(known | {key: best})
    measured = ", ".join(f"{kind} {speeds['float32'] / seconds:.1f}x" for kind, seconds in speeds.items())
    return best, f"computing in {best}; measured speeds: {measured}; {kept}"


def _name(device: torch.device) -> str:
    """What must be the same for a measurement to hold."""
    if device.type != "cpu":
        return describe(device)
    return f"{describe(device)}, {platform.machine()} with {torch.backends.cpu.get_cpu_capability()}"


def _candidates(device: torch.device) -> tuple[Precision, ...]:
    if device.type == "mps":
        return "float32", "float16"
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "float32", "float16"
    return "float32", "bfloat16"


def _seconds(model: Model, device: torch.device, kind: Precision) -> float:
    """The best of some runs, after one that does not count."""
    denoiser = Denoiser(model, device, precision=kind)
    side = -(-_SIDE // model.card.architecture.grid) * model.card.architecture.grid
    tile = np.full((1, model.card.architecture.channels, side, side), 0.5, np.float32)
    times = []
    for _ in range(_RUNS + 1):
        began = time.perf_counter()
        denoiser(tile, ((0, 0),))
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _file() -> Path:
    return user_cache_path("masked-denoiser") / "precision.json"


def _remembered() -> dict[str, Precision]:
    """What was measured before; nothing where the file is missing or damaged, since it can be measured again."""
    try:
        values = parse_json(_file().read_bytes())
    except (OSError, ValueError):
        return {}
    allowed = ("float32", "bfloat16", "float16")
    return {key: value for key, value in values.items() if value in allowed} if isinstance(values, dict) else {}


def _remember(values: dict[str, Precision]) -> str:
    """Keeps what was measured; says where, or that it could not be kept."""
    path = _file()
    making = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        making.write_text(json.dumps(values, indent=1, sort_keys=True))
        making.replace(path)
    except OSError as error:
        return f"{path} cannot be written ({error.strerror}), so the next job measures again"
    return f"kept in {path}"
