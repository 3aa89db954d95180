"""Self-tests: that tiles leave no trace on this machine, and what a smaller halo costs."""

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
class HaloError:
    """What a halo costs, in units of the image's full scale.

    Attributes:
        halo: pixels of context.
        largest: largest absolute difference from the whole image.
        rms: root mean square difference.
    """

    halo: int
    largest: float
    rms: float


def halo_errors(image: Image, model: Model, tile: int, halos: list[int], device: str) -> Iterator[HaloError]:
    """Denoises an image whole and in tiles, and compares.

    Args:
        image: [H, W, 3] or [H, W] float32 in [0, 1], so that nothing is rounded.
        model: whose halo is measured.
        tile: side of a core.
        halos: what to try, multiples of the window.
        device: where to compute.
    """
    axes = "YXS" if image.ndim == 3 else "YX"
    window = model.card.architecture.grid
    side = -(-max(image.shape[:2]) // window) * window

    def run(options: Options) -> Image:
        return denoise(image, model=model, axes=axes, device=device, options=options)

    whole = run(Options(tile=side, halo=0, intensity=(0.0, 1.0), noise="none"))
    for halo in halos:
        difference = np.abs(run(Options(tile=tile, halo=halo, intensity=(0.0, 1.0), noise="none")) - whole)
        yield HaloError(halo, float(difference.max()), float(np.sqrt(np.mean(difference**2))))


def self_test(device: str) -> HaloError:
    """A second of work: a small random network, tiles with its exact halo against the whole image."""
    model = tiny_model()
    image = np.random.default_rng(0).random((128, 128, 3), dtype=np.float32)
    halo = exact_halo(model.card.architecture)
    return next(halo_errors(image, model, 32, [halo], device))


def tiny_model(seed: int = 0, channels: int = 3) -> Model:
    """A random network that computes as the paper's does, in a hundredth of the time."""
    mean = RGB_MEAN if channels == 3 else (0.0,)
    config = SwinConfig(channels=channels, embed=12, depths=(2,), heads=(2,), mean=mean)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = MaskedSwin(config).state_dict()
    return Model(Card(name="tiny", architecture=config, description="random weights, for tests"), weights)
