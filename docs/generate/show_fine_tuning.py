"""Gain of fine-tuning on a part of the sample slide that was not trained on.

    python docs/generate/show_fine_tuning.py --way clean --noise "poisson(alpha=3)" --minutes 10
    python docs/generate/show_fine_tuning.py --way noisy --noise "poisson(alpha=3)" --minutes 10

The upper two thirds of the slide are used for training (noisy and without the truth with `--way noisy`); the lower
third is denoised before and after it and compared with the truth.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import masked_denoiser as md
from masked_denoiser.evaluation.metrics import psnr, ssim, to_8_bit
from masked_denoiser.evaluation.pictures import save_png, side_by_side
from masked_denoiser.messages import readable_time
from masked_denoiser.models.file import Model
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import add_noise
from masked_denoiser.training.data.dataset import TrainingImages
from masked_denoiser.training.events import Stepped, Trained, Validated
from masked_denoiser.training.fine_tune import fine_tune_recipe
from masked_denoiser.training.prepare import prepare_training
from masked_denoiser.training.recipe import TrainingRecipe

Image = np.ndarray[Any, Any]


def main() -> None:
    """Measure, train and measure again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", choices=("clean", "noisy"), default="clean")
    parser.add_argument("--noise", default="poisson(alpha=3)")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--model", default="paper-rgb")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--fill", choices=("neighbour", "constant"), help="fill of blind spots")
    parser.add_argument("--loss", choices=("l1", "mse", "charbonnier"))
    parser.add_argument("--rate", type=float)
    parser.add_argument("--picture", type=Path, help="PNG of noisy | before | after | truth")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clean = np.asarray(md.open_image(md.sample_path("slide-clean")).data[:])
    noisy = noisy_copy(clean, arguments.noise)
    train_rows = clean.shape[0] * 2 // 3
    base = md.load_model(arguments.model)
    tuned, steps, seconds = train(base, (clean if arguments.way == "clean" else noisy)[:train_rows], arguments)
    noisy, clean = noisy[train_rows:], clean[train_rows:]
    before, after = (md.denoise(noisy, model=model, axes="YXS") for model in (base, tuned))
    print(f"{arguments.model} fine-tuned with --way {arguments.way} for {arguments.noise}: {steps} steps")
    print(f"in {readable_time(seconds)} on {arguments.threads} CPU threads, {arguments.precision}")
    print(f"on the {clean.shape[0]} rows of the sample slide that were not used for training:")
    for name, image in (("noisy", noisy), ("before", before), ("after", after)):
        a, b = (np.moveaxis(pixels, -1, 0) / 255 for pixels in (image, clean))
        print(f"  {name:7} {psnr(a, b):6.2f} dB  SSIM {ssim(a, b):.3f}")
    if arguments.picture:
        row = [np.moveaxis(im[:, :128], -1, 0) / 255 for im in (noisy, before, after, clean)]
        save_png(arguments.picture, side_by_side([row]))


def noisy_copy(clean: Image, noise: str) -> Image:
    """Return [H, W, 3] uint8 with reproducible noise."""
    unit = torch.from_numpy(clean.transpose(2, 0, 1).copy())[None] / 255
    out = add_noise(unit, parse_noise(noise), torch.Generator().manual_seed(1))
    return np.ascontiguousarray(to_8_bit(out[0].numpy()).transpose(1, 2, 0))


def train(base: Model, image: Image, arguments: argparse.Namespace) -> tuple[Model, int, float]:
    """Return a trained model, its steps and seconds; a short trial determines the steps that fit into the time."""
    choices = {"loss": arguments.loss, "pixel_fill": arguments.fill, "rate": arguments.rate}
    settings = {name: value for name, value in choices.items() if value is not None}
    settings |= {"way": arguments.way, "noise": arguments.noise, "precision": arguments.precision, "unseen": []}
    recipe = fine_tune_recipe(base, settings)
    steps = max(1, int(arguments.minutes * 60 / seconds_per_step(base, image, recipe)))
    recipe = replace(recipe, steps=steps, validate_every=max(1, steps // 5))
    started = time.monotonic()
    prepared = prepare_training(TrainingImages((image,), axes="YXS"), recipe, base=base, device="cpu")
    for event in prepared.run():
        if isinstance(event, Validated):
            print(event, flush=True)
        elif isinstance(event, Trained):
            trained = event
    return prepared.model(trained), trained.best_step, time.monotonic() - started


def seconds_per_step(base: Model, image: Image, recipe: TrainingRecipe) -> float:
    """Return the duration of the last of three steps."""
    short = replace(recipe, steps=3, validate_every=0)
    prepared = prepare_training(TrainingImages((image,), axes="YXS"), short, base=base, device="cpu")
    times = [event.seconds for event in prepared.run() if isinstance(event, Stepped)]
    return times[-1] - times[-2]


if __name__ == "__main__":
    main()
