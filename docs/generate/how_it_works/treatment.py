"""Figure of the treatment by trial: the error that is estimated without the truth, and the true one.

python docs/generate/how_it_works/treatment.py
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

import masked_denoiser as md
from masked_denoiser.denoising.tile_denoiser import TileDenoiser
from masked_denoiser.denoising.treatment_trial import TrialResult, run_trials, select_best
from masked_denoiser.evaluation.plot import COLOURS
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.options import Options

sys.path.insert(0, str(Path(__file__).parents[1] / "site"))
from figures import Image, panels, save

_MODEL = "paper-rgb"


def main() -> None:
    """Try the treatments on three noises and draw."""
    with md.open_image(md.sample_path("slide-clean")) as sample:
        clean = np.asarray(sample.data[:256, :256], np.float64)
    figure, axes = panels(1, 3, side=3.4, height=3.4)
    for panel, (title, noisy) in zip(axes, noisy_images(clean).items(), strict=True):
        job, results = trial(noisy)
        true = [true_error(result, job, noisy, clean) for result in results]
        estimated = [result.score for result in results]
        places = np.arange(len(results))
        panel.bar(places - 0.2, estimated, 0.4, color=COLOURS[0], label="estimated")
        panel.bar(places + 0.2, true, 0.4, color=COLOURS[1], label="true")
        panel.axhline(1.0, color="black", linewidth=0.8)
        panel.set_xticks(places, [_name(result) for result in results], rotation=30, ha="right", fontsize=7)
        best = select_best(results)
        panel.set_title(f"{title}\nchosen: {'no change' if best is None else _name(best)}", fontsize=9)
        print(
            title,
            *(f"{_name(r)}: {e:.3f} {t:.3f}" for r, e, t in zip(results, estimated, true, strict=True)),
            sep="\n  ",
        )
    axes[0].set_ylabel("error; 1 is that of the noisy image")
    axes[0].legend(fontsize=7)
    save(figure, "how-it-works/treatment")


def noisy_images(clean: Image) -> dict[str, Image]:
    """Return images [H, W, 3] uint8 with three kinds of noise."""
    random = np.random.default_rng(0)
    white = random.normal(0, 1, clean.shape)
    blurred = gaussian_filter(random.normal(0, 1, clean.shape), (0.8, 0.8, 0))
    photons = random.poisson(clean / 8.0) * 8.0
    images = {
        "white, sigma 20": clean + 20 * white,
        "blurred by 0.8 pixels, sigma 20": clean + 20 * blurred / blurred.std(),
        "photons, 8 grey levels each": photons,
    }
    return {name: np.clip(np.rint(image), 0, 255).astype(np.uint8) for name, image in images.items()}


def trial(noisy: Image) -> tuple[Job, list[TrialResult]]:
    """Return the job of an image, and the results of its trial, which a job does not keep."""
    recorded: list[TrialResult] = []

    def recording(*arguments: Any, **options: Any) -> list[TrialResult]:
        recorded[:] = run_trials(*arguments, **options)
        return recorded

    with (
        patch("masked_denoiser.denoising.noise_settings.run_trials", recording),
        md.open_image(noisy, axes="YXS") as source,
    ):
        job = prepare_array(source, model=_MODEL, options=Options(), device="cpu").job
    return job, recorded


def true_error(result: TrialResult, job: Job, noisy: Image, clean: Image) -> float:
    """Return the mean square error of a treatment on the whole image, as a share of that of the noisy image."""
    scale = job.range_of(job.planes[0])
    runner = ModelRunner(md.load_model(_MODEL), torch.device("cpu"))
    tile = np.ascontiguousarray(scale.to_unit(noisy).transpose(2, 0, 1), np.float32)[None]
    truth = scale.to_unit(clean).transpose(2, 0, 1)[None]
    treatment = replace(result.treatment, blend=result.blend)
    denoised = TileDenoiser(runner, runner.config.grid)(tile, ((0, 0),), treatment).mean
    return float(np.mean((denoised - truth) ** 2) / np.mean((tile - truth) ** 2))


def _name(result: TrialResult) -> str:
    """Return a short name of a treatment."""
    treatment = result.treatment
    words = ["stabilized"] if treatment.gain else []
    words += [f"strides {' and '.join(map(str, treatment.strides))}"] if treatment.strides else []
    return ", ".join(words) or "directly"


if __name__ == "__main__":
    main()
