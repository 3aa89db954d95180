"""Where bfloat16 is fast, and what it loses: measurements for `--precision auto` (`jobs.job_precision`).

Its loss depends on the model, and grows as the noise becomes weaker (`python -m benchmarks precision`). So it is
measured on the clean sample slide with the weakest noise for which it is used, and cached. On a quarter of the slide it
varies by 0.003 dB from place to place. Nothing is timed: the choice must not change from run to run.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from masked_denoiser.inference.cpu.kernels import unavailable_reason
from masked_denoiser.inference.device import computes_bfloat16
from masked_denoiser.inference.measurement_cache import recall, remember
from masked_denoiser.inference.precision import Precision
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.models.file import Model
from masked_denoiser.samples import sample_path

#: Largest loss of PSNR in dB for which bfloat16 is chosen.
MAX_LOSS = 0.02

#: Standard deviation of the noise, in units of the intensity range, below which jobs use float32.
MIN_NOISE = 5 / 255


def is_bfloat16_fast(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16 and, for a CPU, torch has kernels that use them well."""
    return computes_bfloat16(device) and (device.type != "cpu" or not unavailable_reason(torch.bfloat16))


def bfloat16_loss(model: Model, report: Callable[[str], None]) -> float:
    """Return the loss of bfloat16 in dB on the sample slide, measured once per model, on the CPU.

    Args:
        model: the model.
        report: receives a message before a measurement.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    key = f"loss of model {model.digest} in bfloat16, {capability}, torch {torch.__version__}"
    cached = recall(key)
    if isinstance(cached, float):
        return cached
    report(f"measuring once what bfloat16 loses with {model.card.name}, for seconds to minutes")
    loss = round(measure_loss(model, torch.device("cpu"), "bfloat16"), 6)
    report(f"bfloat16 loses {loss:.4f} dB; {remember(key, loss)}")
    return loss


def measure_loss(model: Model, device: torch.device, precision: Precision) -> float:
    """Return the loss of PSNR in dB in half precision, compared with float32, on the sample slide with weak noise."""
    clean = clean_sample(model.card.architecture.channels)
    noise = np.random.default_rng(0).normal(0.0, MIN_NOISE, clean.shape)
    noisy = np.clip(clean + noise, 0.0, 1.0).astype(np.float32)
    errors = []
    for kind in ("float32", precision):
        runner = ModelRunner(model, device, precision=kind)
        noise_map = np.full_like(noisy[:, :1], MIN_NOISE) if runner.takes_noise_map else None
        errors.append(float(np.square(runner(noisy, ((0, 0),), noise_map).mean.clip(0, 1) - clean).mean()))
    return 10 * float(np.log10(errors[1] / errors[0]))


def clean_sample(channels: int) -> NDArray[np.float32]:
    """Return the clean sample slide in [0, 1], [1, channels, height, width]."""
    from tifffile import imread

    slide: NDArray[np.float64] = np.moveaxis(imread(sample_path("slide-clean")), 2, 0)[None] / 255
    return (slide if channels == 3 else slide.mean(axis=1, keepdims=True)).astype(np.float32)
