"""How far noise moves the features of a network's deepest layer: figure 14 of Chen et al., CVPR 2023.

The same patches are given to a network under each noise. A network that has learned images has nearly the same
features whatever the noise; one that has learned its training noise has not. The likeness is linear CKA (Kornblith et
al., *Similarity of Neural Network Representations Revisited*, ICML 2019, eq. 4), 1 for features that are alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from masked_denoiser.errors import EvaluationError
from masked_denoiser.evaluation.grid import read_8_bit
from masked_denoiser.evaluation.metrics import to_8_bit
from masked_denoiser.evaluation.plot import COLOURS, new_figure, save_figure
from masked_denoiser.models.file import Model
from masked_denoiser.network.exact import exact_float32
from masked_denoiser.network.masks import HashedTokenMask
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import add_noise

#: Features of a noise: [positions, channels].
Features = NDArray[np.float64]

#: Side of the middle part of an image that is looked at, and positions of its features that are kept.
_SIDE, _POSITIONS = 192, 1024


@dataclass(frozen=True, eq=False)
class Likeness:
    """The features of one model under several noises.

    Attributes:
        model: its name.
        features: by noise; the first is what the others are compared with.
        cka: by noise, likeness to the features of the first.
    """

    model: str
    features: dict[str, Features]
    cka: dict[str, float]


def linear_cka(one: Features, other: Features) -> float:
    """Linear centred kernel alignment of features of the same positions; 0 to 1.

    Args:
        one, other: [positions, channels].
    """
    a, b = (f - f.mean(axis=0) for f in (one, other))
    within = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(b.T @ a) ** 2 / within) if within else 0.0


def compare_features(
    model: Model, images: Sequence[Path], noises: Sequence[str], device: torch.device, seed: int = 0
) -> Likeness:
    """Features of a model's deepest layer: what its last convolutions rebuild the image from.

    Args:
        model: gray images are given to an RGB model three times, of RGB ones a gray model sees green.
        images: clean 8-bit images, of which the middle is taken.
        noises: recipes; the first is what the others are compared with.
        device: where to compute.
        seed: of the noise, which is new for each image, and the attention masks.

    Raises:
        EvaluationError: with less than two noises, or an image that is too small.
    """
    if len(noises) < 2:
        raise EvaluationError(f"{len(noises)} noise; give two or more to compare features")
    config = model.card.architecture
    network = model.build().to(device)
    rng = np.random.default_rng(seed)
    found: dict[str, list[Features]] = {noise: [] for noise in noises}
    with _deepest(network) as layer:
        for number, path in enumerate(images):
            clean = _middle(path, config.channels, config.grid)
            kept = None
            for noise in noises:
                generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
                noisy = to_8_bit(add_noise(clean, parse_noise(noise), generator).numpy()) / np.float32(255)
                mask = config.attention_mask
                tokens = HashedTokenMask(mask, seed, 0, ((0, 0),), config.scale) if mask else None
                with torch.inference_mode(), exact_float32():
                    network(torch.from_numpy(noisy).to(device), tokens)
                values = _flat(layer[-1])
                kept = rng.permutation(len(values))[:_POSITIONS] if kept is None else kept
                found[noise].append(values[kept])
    features = {noise: np.concatenate(parts) for noise, parts in found.items()}
    first = features[noises[0]]
    return Likeness(model.card.name, features, {noise: linear_cka(first, features[noise]) for noise in noises})


def plot_features(likenesses: Sequence[Likeness], path: Path) -> None:
    """Draws the distribution of features along the direction in which noise moves them most, a panel a model.

    Raises:
        PlotError: if matplotlib is missing or the file cannot be written.
    """
    figure = new_figure(4.5 * len(likenesses), 3.5)
    for number, likeness in enumerate(likenesses, start=1):
        axes = figure.add_subplot(1, len(likenesses), number)
        along = _along(likeness.features)
        low, high = np.percentile(np.concatenate(list(along.values())), (0.5, 99.5))
        edges = np.linspace(low, high, 60)
        for colour, (noise, values) in zip(COLOURS * len(along), along.items(), strict=False):
            heights, _ = np.histogram(values, edges, density=True)
            axes.stairs(heights, edges, color=colour, label=f"{noise}: {likeness.cka[noise]:.3f}")
        axes.set(title=likeness.model, xlabel="feature", ylabel="density")
        axes.legend(fontsize=6, title="linear CKA", title_fontsize=7)
    save_figure(figure, path)


def _along(features: dict[str, Features]) -> dict[str, NDArray[np.float64]]:
    """Features along the first principal direction of how their means differ between noises."""
    means = np.stack([values.mean(axis=0) for values in features.values()])
    _, _, directions = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    spread = features[next(iter(features))].std() or 1.0
    return {noise: values @ directions[0] / spread for noise, values in features.items()}


@contextmanager
def _deepest(network: nn.Module) -> Iterator[list[Tensor]]:
    """Catches what the deepest layer gives: the end of the body, or of the attention at the lowest level."""
    layer = getattr(network, "conv_after_body", None) or network.get_submodule("attention")
    caught: list[Tensor] = []

    def catch(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        caught[:] = [output]

    handle = layer.register_forward_hook(catch)
    try:
        yield caught
    finally:
        handle.remove()


def _flat(output: Tensor) -> Features:
    """[positions, channels]; convolutions give [1, C, side, side], attentions [1, side, side, C]."""
    channels_last = output.permute(0, 2, 3, 1) if output.shape[2] == output.shape[3] else output
    return np.asarray(channels_last.reshape(-1, channels_last.shape[-1]).double().cpu().numpy())


def _middle(path: Path, channels: int, grid: int) -> Tensor:
    """[1, channels, side, side] in [0, 1], a multiple of the grid."""
    pixels = read_8_bit(path)
    height, width = pixels.shape[:2]
    side = min(_SIDE, height, width) // grid * grid
    if not side:
        raise EvaluationError(f"{path} has {height} x {width} pixels; this model's features need {grid} x {grid}")
    top, left = (height - side) // 2, (width - side) // 2
    part = pixels[top : top + side, left : left + side].astype(np.float32) / np.float32(255)
    if part.shape[2] != channels:
        part = np.repeat(part, 3, axis=2) if channels == 3 else part[..., 1:2]
    return torch.from_numpy(np.moveaxis(part, 2, 0)[None].copy())
