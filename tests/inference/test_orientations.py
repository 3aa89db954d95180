"""Tests of the passes of networks without masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from masked_denoiser.inference.orientations import ORIENTATIONS, orient, restore
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.models.random_weights import random_model
from masked_denoiser.network.ushape_config import UConfig


def test_orientations_are_different_and_restored():
    image = torch.arange(12).view(1, 1, 3, 4)
    oriented = [orient(image, number) for number in range(ORIENTATIONS)]
    for number, other in enumerate(oriented):
        assert torch.equal(restore(other, number), image)
        assert not any(torch.equal(other, earlier) for earlier in oriented[:number])


def test_mean_of_all_orientations_turns_with_image():
    model = random_model(UConfig(channels=1, mean=(0.0,), widths=(8, 8, 8), blocks=(1, 1, 1), attention=1, heads=2))
    generator = torch.Generator().manual_seed(0)  # random weights end in zeros, which would change nothing
    weights = {
        name: value + 0.05 * torch.randn(value.shape, generator=generator) for name, value in model.weights.items()
    }
    model = replace(model, weights=weights)
    runner = ModelRunner(model, torch.device("cpu"), passes=ORIENTATIONS, std=True)
    side = 2 * model.card.architecture.grid
    image = np.random.default_rng(0).random((1, 1, side, side), dtype=np.float32)
    whole = runner(image, ((0, 0),))
    turned = runner(np.ascontiguousarray(np.rot90(image, 1, (2, 3))), ((0, 0),))
    assert whole.std is not None
    assert whole.std.mean() > 1e-4
    np.testing.assert_allclose(np.rot90(whole.mean, 1, (2, 3)), turned.mean, atol=1e-5)
    np.testing.assert_allclose(np.rot90(whole.std, 1, (2, 3)), turned.std, atol=1e-5)
    single = ModelRunner(model, torch.device("cpu"))
    assert (
        np.abs(
            np.rot90(single(image, ((0, 0),)).mean, 1, (2, 3))
            - single(np.ascontiguousarray(np.rot90(image, 1, (2, 3))), ((0, 0),)).mean
        ).max()
        > 1e-4
    )
