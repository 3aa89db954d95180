"""Loss of half precision and of 8-bit integers, by the strength of the noise.

python -m benchmarks precision

The clean sample slide gets Gaussian noise of several strengths, and the PSNR of the network's result is compared with
that in float32. Integers are simulated: weights and inputs of convolutions and linear layers are rounded to 8 bits,
with one scale for each output channel of the weights and one for each layer's input, taken from the very image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from masked_denoiser.evaluation.metrics import psnr
from masked_denoiser.inference.precision import Precision
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.inference.tune_precision import clean_sample
from masked_denoiser.models.catalogue import load_model
from masked_denoiser.models.file import Model

#: Models and standard deviations of the noise, in gray levels of 8 bits.
_MODELS, _SIGMAS = ("general-rgb", "general-gray", "paper-rgb"), (1.0, 2.5, 5.0, 15.0, 50.0)

_CPU = torch.device("cpu")


def measure_precision() -> list[dict[str, Any]]:
    """Return for each model and noise the PSNR in float32, and the losses in dB."""
    return [_losses(name, load_model(name), sigma) for name in _MODELS for sigma in _SIGMAS]


def precision_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the rows as a Markdown table."""
    lines = ["| model | noise, of 255 | PSNR, dB | bfloat16 loses, dB | float16 | 8-bit integers |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        losses = " | ".join(f"{row[kind]:.4f}" for kind in ("bfloat16", "float16", "int8"))
        lines.append(f"| {row['model']} | {row['sigma']:g} | {row['psnr']:.2f} | {losses} |")
    return lines


def _losses(name: str, model: Model, sigma: float) -> dict[str, Any]:
    clean = clean_sample(model.card.architecture.channels)
    noise = np.random.default_rng(0).normal(0.0, sigma / 255.0, clean.shape)
    noisy = np.clip(clean + noise, 0.0, 1.0).astype(np.float32)
    exact = _psnr(ModelRunner(model, _CPU), noisy, clean, sigma)
    kinds: tuple[Precision, ...] = ("bfloat16", "float16")
    losses: dict[str, float] = {
        kind: exact - _psnr(ModelRunner(model, _CPU, precision=kind), noisy, clean, sigma) for kind in kinds
    }
    runner = ModelRunner(model, _CPU)
    runner.use_layers()
    with _eight_bit_layers(runner.network):
        losses["int8"] = exact - _psnr(runner, noisy, clean, sigma)
    return {"model": name, "sigma": sigma, "psnr": exact, **losses}


def _psnr(runner: ModelRunner, noisy: NDArray[np.float32], clean: NDArray[np.float32], sigma: float) -> float:
    noise_map = np.full_like(noisy[:, :1], sigma / 255.0) if runner.takes_noise_map else None
    return float(psnr(np.clip(runner(noisy, ((0, 0),), noise_map).mean, 0.0, 1.0), clean))


@contextmanager
def _eight_bit_layers(network: nn.Module) -> Iterator[None]:
    """Round weights and inputs of a network's layers to 8 bits; the weights remain rounded."""
    handles = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            with torch.no_grad():
                module.weight.copy_(_rounded(module.weight, tuple(range(1, module.weight.dim()))))
            handles.append(module.register_forward_pre_hook(lambda _, inputs: (_rounded(inputs[0], None),)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _rounded(values: Tensor, axes: tuple[int, ...] | None) -> Tensor:
    """Return values rounded to 255 steps around zero, with one scale for the given axes, or for all."""
    largest = values.abs().amax() if axes is None else values.abs().amax(axes, keepdim=True)
    step = largest.clamp(min=1e-12) / 127.0
    return (values / step).round() * step
