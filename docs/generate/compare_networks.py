"""Comparison of candidate architectures of the general model, trained for the same time each, as a Markdown table.

    python docs/generate/compare_networks.py ../data/natural ../data/histology --test ../kodak24 --minutes 12

Each candidate is trained with the recipe `general`, limited to the number of steps that it can do in the time. The
table gives operations, parameters, seconds per megapixel, steps, and the mean PSNR on four test images per noise.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.models.file import Model
from masked_denoiser.models.random_weights import random_model
from masked_denoiser.network.ushape_config import UConfig
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import add_noise
from masked_denoiser.training.data.dataset import TrainingImages
from masked_denoiser.training.events import Stepped, Trained
from masked_denoiser.training.prepare import prepare_training
from masked_denoiser.training.recipe import GENERAL, TrainingRecipe

CANDIDATES = {
    "u3-24": UConfig(widths=(24, 48, 96), blocks=(2, 2, 1)),
    "u2-64 on 2x unshuffle": UConfig(unshuffle=2, widths=(64, 96), blocks=(3, 1)),
    "u3-64 on 2x unshuffle": UConfig(unshuffle=2, widths=(64, 96, 128), blocks=(2, 1, 0), heads=8, attention=4),
    "u4-24": UConfig(widths=(24, 48, 64, 96), blocks=(1, 1, 2, 0)),
    "u4-32": UConfig(widths=(32, 64, 96, 128), blocks=(1, 1, 2, 0), heads=8, attention=4),
}
NOISES = (
    "gaussian(sigma=15)",
    "gaussian(sigma=50)",
    "poisson(alpha=2)",
    "poisson(alpha=3.5)",
    "speckle(variance=0.04)",
    "salt_and_pepper(density=0.02)",
    "correlated(sigma=60)",
    "none",
)


def main() -> None:
    """Train and measure each candidate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--test", type=Path, required=True, help="folder of clean PNG images; every sixth is used")
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--only", nargs="*", default=list(CANDIDATES), metavar="NAME")
    parser.add_argument("--save", type=Path, help="folder to save the models to")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    test_images = [_read(path) for path in sorted(arguments.test.glob("*.png"))[::6]]
    print("| network | parameters (M) | TFLOP/Mpx | s/Mpx | steps | " + " | ".join(NOISES) + " |", flush=True)
    print("| --- " * (5 + len(NOISES)) + "|", flush=True)
    for name in arguments.only:
        start = random_model(CANDIDATES[name])
        model, steps = train(start, TrainingImages(tuple(arguments.images)), arguments.minutes)
        if arguments.save:
            model.save(arguments.save / f"{name.replace(' ', '-')}.safetensors")
        print(f"| {name} | {_costs(model)} | {steps} | " + " | ".join(_scores(model, test_images)) + " |", flush=True)


def train(start: Model, images: TrainingImages, minutes: float) -> tuple[Model, int]:
    """Train for about this many minutes with a full cycle of the learning rate; return the model and its steps."""
    trial = _recipe(12)
    seconds = [e.seconds for e in prepare_training(images, trial, base=start).run() if isinstance(e, Stepped)]
    seconds_per_step = (seconds[-1] - seconds[3]) / (len(seconds) - 4)
    recipe = _recipe(max(1, round(60 * minutes / seconds_per_step)))
    prepared = prepare_training(images, recipe, base=start)
    *_, last_event = prepared.run()
    assert isinstance(last_event, Trained)
    # The final average instead of the best one, so that all candidates are treated alike.
    return Model(start.card, prepared.trainer.state.average.state_dict()), recipe.steps


def _recipe(steps: int) -> TrainingRecipe:
    return replace(GENERAL, steps=steps, validate_every=0, save_every=10**9, ema=0.995)


def _costs(model: Model) -> str:
    """Return parameters, and operations and time per megapixel."""
    network, image = model.build(), torch.rand(1, 3, 512, 512)
    pixels = 512 * 512 / 1e6
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            network(image)
        started = time.monotonic()
        for _ in range(3):
            network(image)
    seconds = (time.monotonic() - started) / 3 / pixels
    return f"{sum(w.numel() for w in model.weights.values()) / 1e6:.2f} | " + (
        f"{counter.get_total_flops() / pixels / 1e12:.3f} | {seconds:.2f}"
    )


def _scores(model: Model, test_images: list[NDArray[np.float32]]) -> list[str]:
    """Return the mean PSNR for each of `NOISES`."""
    denoiser = ModelRunner(model, torch.device("cpu"))
    scores = []
    for noise in NOISES:
        psnrs = []
        for number, clean in enumerate(test_images):
            generator = torch.Generator().manual_seed(number)
            noisy = add_noise(torch.from_numpy(clean)[None], parse_noise(noise), generator).numpy()
            out = np.round(np.clip(denoiser(noisy, ((0, 0),)).mean[0], 0, 1) * 255) / 255
            psnrs.append(-10 * np.log10(max(float(np.mean((out - clean) ** 2)), 1e-10)))  # at most 100 dB
        scores.append(f"{np.mean(psnrs):.2f}")
    return scores


def _read(path: Path) -> NDArray[np.float32]:
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32) / np.float32(255)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


if __name__ == "__main__":
    main()
