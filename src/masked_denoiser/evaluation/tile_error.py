"""Difference between denoising in tiles and denoising the whole image, by halo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from masked_denoiser.jobs.api import denoise
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model
from masked_denoiser.network.config import RGB_MEAN, SwinConfig
from masked_denoiser.network.reach import exact_halo
from masked_denoiser.network.swin import MaskedSwin

Image = np.ndarray[Any, Any]


@dataclass(frozen=True)
class HaloDifference:
    """Difference from the whole image with one halo, in units of the image's full scale.

    Attributes:
        halo: context in pixels.
        largest: largest absolute difference.
        rms: root mean square difference.
    """

    halo: int
    largest: float
    rms: float


def measure_halo_errors(
    image: Image, model: Model, tile: int, halos: list[int], device: str
) -> Iterator[HaloDifference]:
    """Denoise an image whole and in tiles, and yield the difference for each halo.

    Args:
        image: [H, W, 3] or [H, W] float32 in [0, 1], so that nothing is rounded.
        model: model to denoise with.
        tile: side of a core in pixels.
        halos: halos in pixels, multiples of the window.
        device: device to compute on.
    """
    axes = "YXS" if image.ndim == 3 else "YX"
    window = model.card.architecture.grid
    side = -(-max(image.shape[:2]) // window) * window

    def run(options: Options) -> Image:
        return np.asarray(denoise(image, model=model, axes=axes, device=device, options=options))

    whole = run(Options(tile=side, halo=0, intensity=(0.0, 1.0), noise="none"))
    for halo in halos:
        difference = np.abs(run(Options(tile=tile, halo=halo, intensity=(0.0, 1.0), noise="none")) - whole)
        yield HaloDifference(halo, float(difference.max()), float(np.sqrt(np.mean(difference**2))))


def self_test(device: str) -> HaloDifference:
    """Compare tiles with the exact halo against the whole image, with a small random network; takes a second."""
    model = tiny_model()
    image = np.random.default_rng(0).random((128, 128, 3), dtype=np.float32)
    halo = exact_halo(model.card.architecture)
    return next(measure_halo_errors(image, model, 32, [halo], device))


def tiny_model(seed: int = 0, channels: int = 3) -> Model:
    """Return a model with random weights and the architecture of the paper, a hundred times as fast."""
    mean = RGB_MEAN if channels == 3 else (0.0,)
    config = SwinConfig(channels=channels, embed=12, depths=(2,), heads=(2,), mean=mean)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = MaskedSwin(config).state_dict()
    return Model(Card(name="tiny", architecture=config, description="random weights, for tests"), weights)
