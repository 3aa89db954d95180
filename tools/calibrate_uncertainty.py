"""Calibrate the standard deviation that a model predicts for its error, and check it on other images.

    python tools/calibrate_uncertainty.py general-rgb --images kodak24 --output general-rgb.safetensors

Gaussian noise of several strengths is added to clean images on which the model was not trained. Every second image
determines the calibration: factor and share are those with the highest likelihood, scaled such that 90 % of the errors
are within 1.645 standard deviations. On the others, images are denoised as by `masked_denoiser.denoise`, and the share
of errors within that interval is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import uniform_filter
from scipy.optimize import minimize

import masked_denoiser as md
from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Source
from masked_denoiser.inference.orientations import ORIENTATIONS
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.file import Model
from masked_denoiser.models.uncertainty import SMOOTHING, Uncertainty
from masked_denoiser.noise.synthetic import recipe
from masked_denoiser.noise.synthetic.parse import parse_noise

#: Standard deviations of the noise in grey levels.
STRENGTHS = (2, 5, 10, 15, 25, 40, 60)

#: Side in pixels of the middle of each image that is used.
SIDE = 192

#: Half width of the interval that holds 90 % of a normal distribution, in standard deviations.
INTERVAL = 1.645


def main() -> None:
    """Calibrate a model and print the coverage on images that did not determine the calibration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name or path of a model")
    parser.add_argument("--images", type=Path, required=True, help="folder of clean images")
    parser.add_argument("--output", type=Path, help="model file to write with the calibration")
    arguments = parser.parse_args()
    model = md.load_model(arguments.model)
    files = sorted(path for path in arguments.images.iterdir() if path.suffix.lower() in (".png", ".tif", ".tiff"))
    calibration = calibrate(model, list(read(files[::2], model)))
    print(calibration)
    calibrated = Model(replace(model.card, uncertainty=calibration.to_dict()), model.weights)
    if arguments.output:
        halves = all(bool((weight == weight.half().float()).all()) for weight in model.weights.values())
        calibrated.save(arguments.output, torch.float16 if halves else torch.float32)
    check(calibrated, list(read(files[1::2], model)))


def read(files: list[Path], model: Model) -> Iterator[np.ndarray]:
    """Yield the middle of each image, [C, SIDE, SIDE] in [0, 1], with the channels of the model."""
    for path in files:
        pixels = np.asarray(Image.open(path).convert("RGB"), np.float32).transpose(2, 0, 1) / 255
        top, left = ((side - SIDE) // 2 for side in pixels.shape[1:])
        crop = pixels[:, top : top + SIDE, left : left + SIDE]
        yield crop if model.card.architecture.channels == 3 else crop.mean(axis=0, keepdims=True)


def calibrate(model: Model, images: list[np.ndarray]) -> Uncertainty:
    """Return the calibration of a model."""
    runner = ModelRunner(model, torch.device("cpu"), passes=ORIENTATIONS, std=True)
    rows = []
    for strength in STRENGTHS:
        sigma, generator = strength / 255, np.random.default_rng(strength)
        errors, spreads = [], []
        for clean in images:
            noisy = np.clip(clean + generator.normal(0, sigma, clean.shape), 0, 1).astype(np.float32)[None]
            noise = np.full((1, 1, SIDE, SIDE), sigma, np.float32) if runner.takes_noise_map else None
            denoised = runner(noisy, ((0, 0),), noise)
            assert denoised.std is not None
            spreads.append(np.sqrt(uniform_filter(denoised.std**2, (1, 1, SMOOTHING, SMOOTHING), mode="reflect")))
            errors.append(np.abs(denoised.mean - clean))
        rows.append((sigma, *fit(np.concatenate(errors) / sigma, np.concatenate(spreads) / sigma)))
    sigmas, factors, shares = (tuple(round(float(value), 6) for value in column) for column in zip(*rows, strict=True))
    return Uncertainty(sigmas, factors, shares)


def fit(errors: np.ndarray, spreads: np.ndarray) -> tuple[float, float]:
    """Return factor and share for errors and spreads in units of the noise."""

    def variance(logarithms: Any) -> np.ndarray:
        return np.asarray(np.exp(logarithms[0]) * spreads**2 + np.exp(logarithms[1]))

    def loss(logarithms: Any) -> float:
        return float(np.mean(np.log(variance(logarithms)) + errors**2 / variance(logarithms)))

    best = minimize(loss, [2.0, -3.0], method="Nelder-Mead").x
    scale = np.quantile(errors / np.sqrt(variance(best)), 0.9) / INTERVAL
    return float(scale * np.exp(best[0] / 2)), float(scale * np.exp(best[1] / 2))


def check(model: Model, images: list[np.ndarray]) -> None:
    """Print the share of errors within the interval, for noises of several strengths and kinds."""
    for noise in (*(f"gaussian(sigma={strength})" for strength in (5, 15, 30, 50)), "poisson(alpha=2)"):
        shares, widths = [], []
        for number, clean in enumerate(images):
            noisy = add_noise(clean, noise, number)
            axes = "CYX" if len(clean) == 3 else "YX"
            array = noisy if len(clean) == 3 else noisy[0]
            mean, std = denoise(
                open_image(array, axes=axes), model, Options(channels="rgb" if len(clean) == 3 else "auto", std=True)
            )
            inside = np.abs(mean - 255 * (clean if len(clean) == 3 else clean[0])) <= INTERVAL * std
            shares.append(float(inside.mean()))
            widths.append(float(std.mean()))
        print(
            f"{noise}: {np.mean(shares):.1%} within the 90 % interval, {min(shares):.0%} to {max(shares):.0%} in "
            f"single images; mean standard deviation {np.mean(widths):.2f} grey levels"
        )


def add_noise(clean: np.ndarray, noise: str, seed: int) -> np.ndarray:
    """Return an image with synthetic noise as uint8."""
    generator = torch.Generator().manual_seed(seed)
    noisy: np.ndarray = recipe.add_noise(torch.from_numpy(clean)[None], parse_noise(noise), generator)[0].numpy()
    return np.asarray(np.clip(np.rint(255 * noisy), 0, 255), np.uint8)


def denoise(source: Source, model: Model, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """Return the result and its standard deviation, in grey levels."""
    with prepare_array(source, model=model, options=replace(options, dtype="float32"), device="cpu") as prepared:
        for _ in prepared.pipeline.run():
            pass
        sinks: Any = (prepared.pipeline.sink, prepared.pipeline.std_sink)
        return sinks[0].array, sinks[1].array


if __name__ == "__main__":
    main()
