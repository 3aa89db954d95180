"""Fixtures of a tiny model, a textured image to train it on, a short recipe, and little memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.data import immunohistochemistry

from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.models.file import Model
from masked_denoiser.training.recipe import TrainingRecipe
from masked_denoiser.training.step import TrainingStep


@pytest.fixture(scope="session")
def tissue() -> np.ndarray:
    """Return an RGB image, uint8 [128, 160, 3]."""
    return np.ascontiguousarray(immunohistochemistry()[100:228, 60:220])


@pytest.fixture(scope="session")
def tiny() -> Model:
    """Return an RGB model."""
    return tiny_model(1)


@pytest.fixture
def quick() -> TrainingRecipe:
    """Return a recipe that takes a second."""
    return TrainingRecipe(
        batch=4,
        patch=16,
        steps=8,
        rate=1e-3,
        validate_every=4,
        save_every=1,
        unseen=("speckle(variance=0.04)",),
        keep="best",
    )


@pytest.fixture
def allow_one_patch(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which memory runs out for more than one patch at a time."""
    original = TrainingStep._loss

    def limited(self, batch, at, share):
        if len(batch.inputs) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, batch, at, share)

    return lambda: monkeypatch.setattr(TrainingStep, "_loss", limited)
