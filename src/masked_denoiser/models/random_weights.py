"""Models with random weights, as a start of training."""

from __future__ import annotations

from dataclasses import replace

import torch

from masked_denoiser.errors import TrainingError
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model
from masked_denoiser.network.build import NETWORKS, NetworkConfig, build_network
from masked_denoiser.network.config import RGB_MEAN


def random_model(config: NetworkConfig, seed: int = 0) -> Model:
    """Return a model with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = build_network(config).state_dict()
    return Model(Card("random weights", config, "Random weights."), weights)


def start_network(
    channels: int = 3, seed: int = 0, attention_mask: float | None = None, network: str = "paper"
) -> Model:
    """Return a model of a named network with random weights, to start training from.

    Args:
        channels: 3 for RGB, 1 for gray (whose mean is 0).
        seed: seed of the random weights.
        attention_mask: share of tokens that are masked at inference; None for that of the network.
        network: one of `NETWORKS`.

    Raises:
        TrainingError: if no network has that name.
    """
    if network not in NETWORKS:
        raise TrainingError(f"there is no network {network!r}; choose one of: {', '.join(NETWORKS)}")
    config = replace(NETWORKS[network], channels=channels, mean=RGB_MEAN if channels == 3 else (0.0,))
    return random_model(config if attention_mask is None else replace(config, attention_mask=attention_mask), seed)
