"""Small models of each kind with random weights, and what this program makes of images with them."""

import numpy as np
import torch

from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model
from masked_denoiser.models.random_weights import random_model
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.ushape_config import UConfig

_U = {"unshuffle": 2, "widths": (8, 8), "blocks": (1, 0), "attention": 2, "heads": 2, "window": 4}

CONFIGS = {
    "masked": SwinConfig(embed=8, depths=(2,), heads=(2,), window=4, attention_mask=0.75),
    "rgb": UConfig(**_U),
    "gray": UConfig(channels=1, mean=(0.0,), noise_map=True, limit=3.0, **_U),
}


def make_model(kind):
    """Return a model whose results differ from its input by a multiple of the accepted difference."""
    model = random_model(CONFIGS[kind])
    generator = torch.Generator().manual_seed(1)
    weights = {name: w + 0.1 * torch.randn(w.shape, generator=generator) for name, w in model.weights.items()}
    card = Card(kind, CONFIGS[kind], "Made for a test.", licence="BSD-3-Clause", data=["nothing"])
    return Model(card, weights)


def denoise(model, images, noise_std=None):
    """Return what a job makes of images in its first pass."""
    noise = None if noise_std is None else np.broadcast_to(noise_std, (len(images), 1, *images.shape[2:])).copy()
    return ModelRunner(model, torch.device("cpu"))(images, ((0, 0),) * len(images), noise).mean


def random_images(shape, seed=5):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)
