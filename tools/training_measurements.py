"""Measurements of networks and training steps for `train_quarter_hour.py`, on a CPU or a CUDA device."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from masked_denoiser.inference.compilation import compile_layers, release_layers
from masked_denoiser.models.file import Model, read_model
from masked_denoiser.network.exact import exact_float32
from masked_denoiser.network.masks import HashedTokenMask
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import add_noise_to_batch
from masked_denoiser.training.data.batches import BatchMaker
from masked_denoiser.training.data.noise_map import exact_noise_map
from masked_denoiser.training.recipe import TrainingRecipe
from masked_denoiser.training.step import TrainingStep

#: Extensions of the image files that are read.
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")

#: Standard deviations in grey levels of the Gaussian noise of the PSNR figures.
SIGMAS = (15.0, 50.0)

#: Standard deviation in grey levels of the noise that is blurred by 0.7 pixels.
BLURRED = 20.0

#: Side in pixels of the test crops.
CROP = 256

#: Largest number of test crops.
MAX_CROPS = 8


def central_crops(images: list[np.ndarray]) -> torch.Tensor | None:
    """Return the central squares of some images, [B, 3, CROP, CROP] in [0, 1]; None without images."""
    crops = []
    for image in images[:: max(1, len(images) // MAX_CROPS)][:MAX_CROPS]:
        top, left = ((side - CROP) // 2 for side in image.shape[:2])
        if min(top, left) >= 0:
            crops.append(image[top : top + CROP, left : left + CROP])
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255 if crops else None


def compare_with_cpu(folder: Path, device: torch.device) -> dict[str, float]:
    """Return the largest absolute difference between CPU and GPU in float32, for each model of a folder."""
    differences = {}
    for path in sorted(folder.glob("*.safetensors")):
        model = read_model(path)
        images = torch.rand(1, model.card.architecture.channels, 128, 128, generator=torch.Generator().manual_seed(0))
        network = model.build()
        with torch.inference_mode(), exact_float32():
            on_cpu = network(images)
            on_device = network.to(device)(images.to(device)).cpu()
        differences[path.stem] = float((on_device - on_cpu).abs().max())
    return differences


def time_network(models: dict[str, Model], device: torch.device) -> dict[str, Any]:
    """Return the megapixels per second of each network at inference, in float32 and bfloat16."""
    rates: dict[str, Any] = {}
    side = 1024 if device.type == "cuda" else 128
    for name, model in models.items():
        network = model.build().to(device).eval()
        images = torch.rand(1, model.card.architecture.channels, side, side, device=device)
        for precision in (torch.float32, torch.bfloat16):
            autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16)
            with torch.inference_mode(), exact_float32(), autocast:
                seconds = time_call(partial(network, images), device)
            rates[f"{name} {precision}"] = round(side * side / seconds / 1e6, 2)
    return rates


def time_call(run: Callable[[], Any], device: torch.device, repeats: int = 3) -> float:
    """Return the mean seconds of a call, after a warm-up call."""
    run()
    synchronize(device)
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    synchronize(device)
    return (time.perf_counter() - started) / repeats


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compile_trainer(trainer: Any) -> dict[str, Any]:
    """Compile the layers before the time of the training starts; train uncompiled if that fails in any way."""
    started = time.perf_counter()
    try:
        compile_layers(trainer.state.network, dynamic=False)
        with restore_afterwards(trainer):
            run_step(trainer, 0)
        return {"compiled in s": round(time.perf_counter() - started, 1)}
    except Exception as error:
        release_layers(trainer.state.network)
        return {"not compiled": f"{type(error).__name__}: {error}"[:1000]}


def profile_step(trainer: Any, device: torch.device) -> dict[str, Any]:
    """Return the milliseconds of the parts of a training step, and the calls in it that wait for the GPU."""
    maker = make_batch_maker(trainer)
    torch.cuda.reset_peak_memory_stats(device)
    timings: dict[str, Any] = {}
    try:
        with restore_afterwards(trainer):
            timings["patches ms"] = 1e3 * time_call(lambda: trainer.patches.get(0), device)
            timings["patches and noise ms"] = 1e3 * time_call(lambda: maker.make(trainer.patches.get(0), 0), device)
            timings["whole step ms"] = 1e3 * time_call(lambda: run_step(trainer, 0), device)
            timings["memory GiB"] = torch.cuda.max_memory_allocated(device) / 2**30
            with warnings.catch_warnings(record=True) as waits:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                run_step(trainer, 1)
            timings["waits"] = [f"{w.filename}:{w.lineno} {w.message}"[-200:] for w in waits]
    except Exception as error:
        timings["failed"] = f"{type(error).__name__}: {error}"[:1000]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {key: round(value, 2) if isinstance(value, float) else value for key, value in timings.items()}


def make_batch_maker(trainer: Any) -> BatchMaker:
    """Return the batch maker of a training."""
    takes_map = bool(getattr(trainer.state.network.config, "noise_map", False))
    return BatchMaker(trainer.recipe, trainer.device, takes_map)


def run_step(trainer: Any, number: int) -> None:
    """Run a training step at learning rate zero, which leaves the weights unchanged."""
    step = TrainingStep(trainer.recipe, trainer.state, trainer.device, trainer.ranks, trainer.cancel, print)
    step(make_batch_maker(trainer).make(trainer.patches.get(number), number), 0.0, 1.0)


@contextmanager
def restore_afterwards(trainer: Any) -> Iterator[None]:
    """Restore weights, optimiser and step of a training after trial steps."""
    state = trainer.state
    weights = {key: value.clone() for key, value in state.network.state_dict().items()}
    try:
        yield
    finally:
        for network in (state.network, state.average):
            network.load_state_dict(weights)
        state.optimiser.state.clear()
        state.step = 0


@torch.inference_mode()
def measure_psnr(
    network: Any, crops: torch.Tensor | None, recipe: TrainingRecipe, device: torch.device
) -> dict[str, float]:
    """Return the mean PSNR in dB on the test crops by noise, with and without a noise map if the network takes one."""
    if crops is None:
        return {}
    clean = crops.to(device) if network.config.channels == 3 else crops.mean(dim=1, keepdim=True).to(device)
    generator, psnrs = torch.Generator(device).manual_seed(1), {}
    takes_map = bool(getattr(network.config, "noise_map", False))
    ratio = recipe.inference_mask
    tokens = HashedTokenMask(ratio, 0, 0, ((0, 0),), device=device) if ratio else None
    noises = [*(f"gaussian(sigma={sigma:g})" for sigma in SIGMAS), f"blurred(sigma={BLURRED:g}, width=0.7)", "none"]
    for noise in noises:
        noisy = add_noise_to_batch(clean, parse_noise(noise), generator, np.random.default_rng(0))
        noisy = (noisy * 255).round() / 255
        for with_map in (True, False) if takes_map else (False,):
            with exact_float32():
                maps = [exact_noise_map(n[None], c[None]) for n, c in zip(noisy, clean, strict=True) if with_map]
                outs = [network(n[None], tokens, *maps[i : i + 1]) for i, n in enumerate(noisy)]
            out = (torch.cat(outs).float().clamp(0, 1) * 255).round() / 255
            error = (out - clean).square().mean(dim=(1, 2, 3)).clamp(min=1e-8)
            psnrs[noise + (" with map" if with_map else "")] = round(float((-10 * error.log10()).mean()), 3)
    return psnrs
