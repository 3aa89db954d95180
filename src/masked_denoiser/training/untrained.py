"""Networks with random weights, to begin a training from nothing."""

from __future__ import annotations

from dataclasses import replace

import torch

from masked_denoiser.errors import TrainingError
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model
from masked_denoiser.network.build import NETWORKS, NetworkConfig, build_network
from masked_denoiser.network.config import RGB_MEAN
from masked_denoiser.training.recipe import PAPER_RECIPE, TrainingRecipe


def untrained(channels: int = 3, seed: int = 0, recipe: TrainingRecipe = PAPER_RECIPE, network: str = "paper") -> Model:
    """A network with random weights.

    Args:
        channels: 3 for RGB, 1 for gray (whose mean is 0).
        seed: of the weights.
        recipe: whose attention mask it is to have.
        network: one of `NETWORKS`.

    Raises:
        TrainingError: if no network is called so.
    """
    if network not in NETWORKS:
        raise TrainingError(f"no network is called {network!r}; there are: {', '.join(NETWORKS)}")
    mean = RGB_MEAN if channels == 3 else (0.0,)
    mask = recipe.inference_mask
    return random_model(replace(NETWORKS[network], channels=channels, mean=mean, attention_mask=mask), seed)


def random_model(config: NetworkConfig, seed: int = 0) -> Model:
    """A network with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = build_network(config).state_dict()
    return Model(Card("untrained", config, "Random weights.", licence="BSD-3-Clause"), weights)
