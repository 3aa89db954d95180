"""Similarity of the deepest features of a network under different noises: figure 14 of Chen et al., CVPR 2023.

The network gets the same patches with each noise. If it has learned image content, its features hardly depend on the
noise; if it has learned the noise it was trained on, they do. Similarity is linear CKA (Kornblith et al., *Similarity
of Neural Network Representations Revisited*, ICML 2019, eq. 4), which is 1 for equivalent features.
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
from masked_denoiser.evaluation.grid import centre_crop, noise_generator, read_8_bit
from masked_denoiser.evaluation.image_files import check_8_bit, shape_of
from masked_denoiser.evaluation.metrics import to_8_bit
from masked_denoiser.evaluation.plot import COLOURS, new_figure, save_figure
from masked_denoiser.models.file import Model
from masked_denoiser.network.exact import exact_float32
from masked_denoiser.network.masks import HashedTokenMask
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import add_noise

#: Features under one noise, [positions, channels].
Features = NDArray[np.float64]

#: Largest side in pixels of the central square of an image.
_MAX_SIDE = 192

#: Largest number of positions of an image whose features are kept.
_MAX_POSITIONS = 1024


@dataclass(frozen=True, eq=False)
class FeatureSimilarity:
    """Features of one model under several noises.

    Attributes:
        model: name of the model.
        features: features by noise; the first noise is the reference.
        cka: similarity to the features under the reference noise, by noise.
    """

    model: str
    features: dict[str, Features]
    cka: dict[str, float]


def linear_cka(features: Features, reference: Features) -> float:
    """Return the linear centred kernel alignment of features of the same positions, 0 to 1.

    Args:
        features, reference: [positions, channels].
    """
    a, b = (f - f.mean(axis=0) for f in (features, reference))
    norms = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(b.T @ a) ** 2 / norms) if norms else 0.0


def compare_features(
    model: Model, images: Sequence[Path], noises: Sequence[str], device: torch.device, seed: int = 0
) -> FeatureSimilarity:
    """Return the features of the deepest layer, from which the last convolutions reconstruct the image.

    Args:
        model: an RGB model gets gray images repeated in three channels; a gray model gets the green channel of RGB.
        images: clean 8-bit images, of which the central square is used.
        noises: noise recipes; the first is the reference.
        device: device to compute on.
        seed: seed of the noise, which differs between images, and of the attention masks.

    Raises:
        EvaluationError: before any work, if there are fewer than two noises, or an image is too small or of another
            type.
    """
    if len(noises) < 2:
        raise EvaluationError(f"features cannot be compared under {len(noises)} noise; give two or more")
    config = model.card.architecture
    for path in images:
        _check_side(path, config.grid)
    network = model.build().to(device)
    rng = np.random.default_rng(seed)
    parts: dict[str, list[Features]] = {noise: [] for noise in noises}
    with _capture_deepest_layer(network) as layer:
        for number, path in enumerate(images):
            clean = _read_centre(path, config.channels, config.grid)
            positions = None
            for noise in noises:
                generator = noise_generator(seed, number)
                noisy = to_8_bit(add_noise(clean, parse_noise(noise), generator).numpy()) / np.float32(255)
                mask = config.attention_mask
                tokens = HashedTokenMask(mask, seed, 0, ((0, 0),), config.scale) if mask else None
                with torch.inference_mode(), exact_float32():
                    network(torch.from_numpy(noisy).to(device), tokens)
                values = _by_position(layer[-1])
                positions = rng.permutation(len(values))[:_MAX_POSITIONS] if positions is None else positions
                parts[noise].append(values[positions])
    features = {noise: np.concatenate(arrays) for noise, arrays in parts.items()}
    reference = features[noises[0]]
    return FeatureSimilarity(
        model.card.name, features, {noise: linear_cka(reference, features[noise]) for noise in noises}
    )


def plot_features(similarities: Sequence[FeatureSimilarity], path: Path) -> None:
    """Plot the distribution of features along the direction in which noise shifts them most, a panel for each model.

    Raises:
        PlotError: if matplotlib is missing or the file cannot be written.
    """
    figure = new_figure(4.5 * len(similarities), 3.5)
    for number, similarity in enumerate(similarities, start=1):
        axes = figure.add_subplot(1, len(similarities), number)
        projections = _project_on_main_direction(similarity.features)
        low, high = np.percentile(np.concatenate(list(projections.values())), (0.5, 99.5))
        edges = np.linspace(low, high, 60)
        for colour, (noise, values) in zip(COLOURS * len(projections), projections.items(), strict=False):
            heights, _ = np.histogram(values, edges, density=True)
            axes.stairs(heights, edges, color=colour, label=f"{noise}: {similarity.cka[noise]:.3f}")
        axes.set(title=similarity.model, xlabel="feature", ylabel="density")
        axes.legend(fontsize=6, title="linear CKA", title_fontsize=7)
    save_figure(figure, path)


def _project_on_main_direction(features: dict[str, Features]) -> dict[str, NDArray[np.float64]]:
    """Return features projected on the first principal direction of their means under the noises."""
    means = np.stack([values.mean(axis=0) for values in features.values()])
    _, _, directions = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    spread = features[next(iter(features))].std() or 1.0
    return {noise: values @ directions[0] / spread for noise, values in features.items()}


@contextmanager
def _capture_deepest_layer(network: nn.Module) -> Iterator[list[Tensor]]:
    """Capture the output of the deepest layer: the end of the body, or the attention at the lowest resolution."""
    layer = getattr(network, "conv_after_body", None) or network.get_submodule("attention")
    captured: list[Tensor] = []

    def capture(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        captured[:] = [output]

    handle = layer.register_forward_hook(capture)
    try:
        yield captured
    finally:
        handle.remove()


def _by_position(output: Tensor) -> Features:
    """Return [positions, channels] from the [1, C, side, side] of a convolution or [1, side, side, C] of attention."""
    channels_last = output.permute(0, 2, 3, 1) if output.shape[2] == output.shape[3] else output
    return np.asarray(channels_last.reshape(-1, channels_last.shape[-1]).double().cpu().numpy())


def _check_side(path: Path, grid: int) -> None:
    height, width, _ = shape_of(path, check_8_bit)
    if min(height, width) < grid:
        raise EvaluationError(f"{path} has {height} x {width} pixels; this model needs {grid} x {grid} or more")


def _read_centre(path: Path, channels: int, grid: int) -> Tensor:
    """Return the central square [1, channels, side, side] in [0, 1]; the side is a multiple of the grid."""
    pixels = read_8_bit(path)
    side = min(_MAX_SIDE, *pixels.shape[:2]) // grid * grid
    part = centre_crop(pixels, side).astype(np.float32) / np.float32(255)
    if part.shape[2] != channels:
        part = np.repeat(part, 3, axis=2) if channels == 3 else part[..., 1:2]
    return torch.from_numpy(np.moveaxis(part, 2, 0)[None].copy())
