"""Tiny models in a temporary user folder, and test images."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from masked_denoiser.jobs.pipeline.pipeline import Pipeline
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model
from masked_denoiser.network.config import RGB_MEAN, SwinConfig
from masked_denoiser.network.swin import MaskedSwin


def save_tiny_model(folder: Path, name: str, channels: int) -> None:
    """Save a model with random weights: the tests check positions of pixels, not the quality of the result."""
    config = SwinConfig(
        channels=channels,
        embed=12,
        depths=(2,),
        heads=(2,),
        global_skip=True,
        mean=RGB_MEAN if channels == 3 else (0.0,),
    )
    torch.manual_seed(0)
    Model(Card(name, config, description=f"tiny, {channels} channels"), MaskedSwin(config).state_dict()).save(
        folder / f"{name}.safetensors"
    )


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Return a user folder with tiny models, two of them named like the defaults; hide the bundled models."""
    folder, no_models = tmp_path / "models", tmp_path / "none"
    folder.mkdir()
    no_models.mkdir()
    for name, channels in (("tiny-gray", 1), ("tiny-rgb", 3), ("general-gray", 1), ("general-rgb", 3)):
        save_tiny_model(folder, name, channels)
    monkeypatch.setattr("masked_denoiser.models.catalogue.user_folder", lambda: folder)
    monkeypatch.setattr("masked_denoiser.models.catalogue._BUNDLED_FOLDER", no_models)
    return folder


@pytest.fixture
def plane() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (100, 120), dtype=np.uint8)


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (100, 120, 3), dtype=np.uint8)


@pytest.fixture
def paused_after_tile(monkeypatch):
    """Pause jobs after each tile; yield the events "a tile is done" and "proceed"."""
    proceed, tile_done, original = threading.Event(), threading.Event(), Pipeline.run

    def run(self, cancel=None):
        for event in original(self, cancel):
            yield event
            if type(event).__name__ == "TileDone":
                tile_done.set()
                proceed.wait(20)

    monkeypatch.setattr(Pipeline, "run", run)
    yield tile_done, proceed
    proceed.set()
