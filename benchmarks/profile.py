"""Profile of a tile in bfloat16: the operators that take the time, by layers in turn and by fused kernels.

python -m benchmarks profile

With one thread, since operators of other threads are not recorded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.models.catalogue import load_model

#: Side of a tile with its halo, and number of operators that are shown.
_SIDE, _SHOWN = 576, 6


def measure_profile() -> dict[str, Any]:
    """Return the seconds of each operator by its name, of a tile of `general-rgb` by layers and by fused kernels."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = load_model("general-rgb")
        layers, fused = (ModelRunner(model, torch.device("cpu"), precision="bfloat16") for _ in range(2))
        layers.use_layers()
        return {"layers": _operators(layers), "fused": _operators(fused)}
    finally:
        torch.set_num_threads(threads)


def profile_table(figures: dict[str, Any]) -> list[str]:
    """Return the operators that take most of the time as a Markdown table."""
    lines = ["| a tile of `general-rgb` in bfloat16, one thread | seconds | operators that take most of it |"]
    lines += ["| --- | --- | --- |"]
    for key, name in (("layers", "layers in turn"), ("fused", "fused kernels")):
        total = sum(figures[key].values())
        largest = sorted(figures[key].items(), key=lambda item: -item[1])[:_SHOWN]
        shares = ", ".join(f"`{operator.split('::')[-1]}` {seconds / total:.0%}" for operator, seconds in largest)
        lines.append(f"| {name} | {total:.2f} | {shares} |")
    return lines


def _operators(runner: ModelRunner) -> dict[str, float]:
    tile = np.random.default_rng(0).random((1, 3, _SIDE, _SIDE), np.float32)
    runner(tile, ((0, 0),))  # without what happens only once
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        runner(tile, ((0, 0),))
    return {event.key: event.self_cpu_time_total / 1e6 for event in recorded.key_averages()}
