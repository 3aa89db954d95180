"""Comparison of an exported model with the network that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from masked_denoiser.errors import ModelError
from masked_denoiser.models.file import Model
from masked_denoiser.network.exact import exact_float32
from masked_denoiser.network.masks import HashedTokenMask
from masked_denoiser.network.ushape_config import UConfig

Batch = NDArray[np.float32]

#: Function of images [B, C, H, W] and, for a network with a noise map, the standard deviation of the noise
#: [B or 1, 1, H or 1, W or 1] or None.
Denoiser = Callable[[Batch, Batch | None], Batch]

#: Largest accepted difference, in units in which white is 1: a fortieth of a grey level of 255.
TOLERANCE = 1e-4

#: Standard deviation of the noise that is given in the check.
_STD = 0.1


def check_export(model: Model, exported: Denoiser, noise_input: bool) -> float:
    """Compare an exported model with the network on images of three sizes, and return the largest difference.

    The images are a square on the grid of the network, a batch of two that is not square and not on the grid, and one
    smaller than the grid. With `noise_input`, they are compared without, with one, and with many standard deviations of
    the noise.

    Raises:
        ModelError: if a result differs by more than `TOLERANCE`, with all differences.
    """
    differences = {}
    for images, noise_std in _examples(model, noise_input):
        expected, actual = reference(model, images, noise_std), exported(images, noise_std)
        same = expected.shape == actual.shape and np.isfinite(actual).all()
        noise = "" if noise_std is None else f" with a noise_std of {' x '.join(map(str, noise_std.shape))}"
        difference = float(np.abs(expected - actual).max()) if same else np.inf
        differences[f"{' x '.join(map(str, images.shape))}{noise}"] = difference
    largest = max(differences.values())
    if not largest <= TOLERANCE:
        listed = ", ".join(f"{difference:.2g} for {shape}" for shape, difference in differences.items())
        raise ModelError(
            f"the export of {model.card.name} was removed: its results differ from those of the network by {listed}; "
            f"at most {TOLERANCE:g} is accepted. Other versions of torch, onnx or onnxruntime may help"
        )
    return largest


def reference(model: Model, images: Batch, noise_std: Batch | None = None) -> Batch:
    """Return what the network of a model makes of images, [B, C, H, W], as the first pass of a job does."""
    config, (batch, _, height, width) = model.card.architecture, images.shape
    padding = ((0, 0), (0, 0), (0, -height % config.grid), (0, -width % config.grid))
    padded = torch.from_numpy(np.pad(images, padding, mode="reflect"))
    share, scale = config.attention_mask, config.scale
    tokens = HashedTokenMask(share, 0, 0, ((0, 0),), scale) if share else None
    arguments: dict[str, Any] = {}
    if isinstance(config, UConfig):
        arguments["masked"] = False
        if noise_std is not None:
            std = np.pad(np.broadcast_to(noise_std, (batch, 1, height, width)), padding, mode="reflect")
            arguments["noise"] = torch.from_numpy(np.concatenate([std, (std > 0).astype(np.float32)], axis=1))
    with torch.inference_mode(), exact_float32():
        out: Batch = model.build()(padded, tokens, **arguments).numpy()
    return out[..., :height, :width]


def _examples(model: Model, noise_input: bool) -> Iterator[tuple[Batch, Batch | None]]:
    """Yield images, and the standard deviation of their noise or None."""
    config, rng = model.card.architecture, np.random.default_rng(0)
    grid = config.grid
    for batch, height, width in ((1, grid, grid), (2, grid + grid // 2 + 1, 2 * grid + 3), (1, grid // 2 + 1, 5)):
        images = rng.random((batch, config.channels, height, width), dtype=np.float32)
        yield images, None
        if noise_input:
            yield images, np.full((1, 1, 1, 1), _STD, np.float32)
            yield images, rng.random((batch, 1, height, width), dtype=np.float32) * _STD


def takes_noise_map(model: Model) -> bool:
    """Return whether the network of a model takes a map of the standard deviation of the noise."""
    config = model.card.architecture
    return isinstance(config, UConfig) and config.noise_map
