"""Prints what fine-tuning gains on the sample slide, on a part of it that was never trained on.

    python scripts/show_fine_tuning.py --way clean --noise "poisson(alpha=3)" --minutes 10
    python scripts/show_fine_tuning.py --way noisy --noise "poisson(alpha=3)" --minutes 10

The upper two thirds of the slide are learned from (noisy, and without any truth, with `--way noisy`); the lower third
is denoised before and after, and compared with the truth, which only this script knows.
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
from masked_denoiser.training.events import Stepped, Trained, Validated
from masked_denoiser.training.fine_tune import fine_tune_recipe
from masked_denoiser.training.prepare import TrainingImages, prepare_training
from masked_denoiser.training.recipe import TrainingRecipe

Image = np.ndarray[Any, Any]


def main() -> None:
    """Measures, trains, measures again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", choices=("clean", "noisy"), default="clean")
    parser.add_argument("--noise", default="poisson(alpha=3)")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--model", default="paper-rgb")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--fill", choices=("neighbour", "constant"), help="of blind spots")
    parser.add_argument("--loss", choices=("l1", "mse", "charbonnier"))
    parser.add_argument("--rate", type=float)
    parser.add_argument("--picture", type=Path, help="PNG of noisy | before | after | truth")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clean = np.asarray(md.open_image(md.sample_path("slide-clean")).data[:])
    noisy = noisy_copy(clean, arguments.noise)
    cut = clean.shape[0] * 2 // 3
    base = md.load_model(arguments.model)
    learned, steps, seconds = train(base, (clean if arguments.way == "clean" else noisy)[:cut], arguments)
    before, after = (md.denoise(noisy[cut:], model=model, axes="YXS") for model in (base, learned))
    print(f"{arguments.model} fine-tuned in the way '{arguments.way}' for {arguments.noise}: {steps} steps")
    print(f"in {readable_time(seconds)} on {arguments.threads} CPU threads, {arguments.precision}")
    print(f"on the {clean.shape[0] - cut} rows of the sample slide that were not learned from:")
    for name, image in (("noisy", noisy[cut:]), ("before", before), ("after", after)):
        a, b = (np.moveaxis(pixels, -1, 0) / 255 for pixels in (image, clean[cut:]))
        print(f"  {name:7} {psnr(a, b):6.2f} dB  SSIM {ssim(a, b):.3f}")
    if arguments.picture:
        row = [np.moveaxis(im[:, :128], -1, 0) / 255 for im in (noisy[cut:], before, after, clean[cut:])]
        save_png(arguments.picture, side_by_side([row]))


def noisy_copy(clean: Image, noise: str) -> Image:
    """[H, W, 3] uint8 with noise, always the same."""
    unit = torch.from_numpy(clean.transpose(2, 0, 1).copy())[None] / 255
    out = add_noise(unit, parse_noise(noise), torch.Generator().manual_seed(1))
    return np.ascontiguousarray(to_8_bit(out[0].numpy()).transpose(1, 2, 0))


def train(base: Model, image: Image, arguments: argparse.Namespace) -> tuple[Model, int, float]:
    """A trained model, its steps and seconds; as many steps as fit into the time, by a short trial."""
    wanted = {"loss": arguments.loss, "pixel_fill": arguments.fill, "rate": arguments.rate}
    settings = {name: value for name, value in wanted.items() if value is not None}
    settings |= {"way": arguments.way, "noise": arguments.noise, "precision": arguments.precision, "unseen": []}
    recipe = fine_tune_recipe(base, settings)
    each = seconds_a_step(base, image, recipe)
    steps = max(1, int(arguments.minutes * 60 / each))
    recipe = replace(recipe, steps=steps, validate_every=max(1, steps // 5))
    began = time.monotonic()
    prepared = prepare_training(TrainingImages((image,), axes="YXS"), recipe, base=base, device="cpu")
    for event in prepared.run():
        if isinstance(event, Validated):
            print(event, flush=True)
        elif isinstance(event, Trained):
            last = event
    return prepared.model(last), last.best_step, time.monotonic() - began


def seconds_a_step(base: Model, image: Image, recipe: TrainingRecipe) -> float:
    """From the last of three steps."""
    short = replace(recipe, steps=3, validate_every=0)
    prepared = prepare_training(TrainingImages((image,), axes="YXS"), short, base=base, device="cpu")
    times = [event.seconds for event in prepared.run() if isinstance(event, Stepped)]
    return times[-1] - times[-2]


if __name__ == "__main__":
    main()
