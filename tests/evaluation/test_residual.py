"""Judgement of residuals: noise looks like noise, removed structure does not, and its place is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from masked_denoiser.evaluation.residual import judge_residual
from masked_denoiser.images.open import open_image

Y, X = np.mgrid[:512, :640]
CLEAN = 120 + 50 * np.sin(X / 25) * np.cos(Y / 31)
NOISE = np.random.default_rng(0).normal(0, 10, CLEAN.shape)


def judge(noisy: np.ndarray[Any, Any], result: np.ndarray[Any, Any], axes: str = "YX") -> Any:
    return judge_residual(open_image(noisy, axes=axes), open_image(result, axes=axes))


def test_removed_noise_looks_like_noise() -> None:
    summary = judge(CLEAN + NOISE, CLEAN)
    assert str(summary).startswith("what was removed looks like noise (standard deviation 10")
    assert abs(summary.channels[0].neighbour_correlation) < 0.02
    assert summary.places == ()


def test_removed_structure_is_found_and_located() -> None:
    grating = np.where((Y >= 128) & (Y < 256) & (X >= 192) & (X < 320), 25 * np.sin(X / 1.5), 0.0)
    summary = judge(CLEAN + grating + NOISE, CLEAN)
    assert "structure" in str(summary)
    assert (summary.places[0].row, summary.places[0].column) == (128, 192)
    assert summary.channels[0].neighbour_correlation > 0.02


def test_blurred_result_has_removed_structure() -> None:
    edges = 100.0 + 80 * ((X // 9 + Y // 9) % 2)
    summary = judge(edges + NOISE, gaussian_filter(edges, 2))
    assert str(summary).startswith("what was removed holds structure")


@pytest.mark.parametrize("axes", ["CYX", "YXC"])
def test_channels_and_axes(axes: str) -> None:
    order = [axes.index(letter) for letter in "CYX"]
    noisy, clean = (np.stack([a, 2 * a]).transpose(np.argsort(order)) for a in (CLEAN + NOISE, CLEAN))
    assert judge(noisy, clean, axes).structure < 0.05


def test_unchanged_image() -> None:
    assert str(judge(CLEAN + NOISE, CLEAN + NOISE)) == "nothing was removed"


@pytest.mark.parametrize("shape", [(8, 400), (9, 9), (1, 200), (200, 1)])
def test_structure_removed_from_too_few_pixels_is_not_called_noise(shape: tuple[int, int]) -> None:
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = 100 + 40 * np.sin(x / 1.5) + 40 * np.sin(y / 1.5)
    summary = judge(waves, np.full(shape, waves.mean()))
    assert summary.structure is None
    assert str(summary).startswith("there are too few pixels to judge")
    assert "nan" not in str(summary)


def test_channels_have_figures_of_their_own() -> None:
    """Structure in a dim channel is not hidden by the noise of a bright one."""
    waves = 3 * np.sin(X / 1.5)
    noisy, clean = np.stack([CLEAN + 12 * NOISE, CLEAN + waves]), np.stack([CLEAN, CLEAN])
    summary = judge(noisy, clean, "CYX")
    bright, dim = summary.channels
    assert (bright.name, dim.name) == ("channel 0", "channel 1")
    assert bright.sigma == pytest.approx(120, rel=0.02)
    assert dim.sigma == pytest.approx(3 / np.sqrt(2), rel=0.02)
    assert bright.structure is not None
    assert bright.structure < 0.05
    assert "holds structure (channel 0: standard deviation 120" in str(summary)
    assert summary.places


def test_repeated_names_of_channels_stay_apart() -> None:
    source = replace(open_image(np.stack([CLEAN + NOISE, CLEAN]), axes="CYX"), channel_names=("DAPI", "DAPI"))
    summary = judge_residual(source, open_image(np.stack([CLEAN, CLEAN]), axes="CYX"))
    assert [channel.name for channel in summary.channels] == ["DAPI (channel 0)", "DAPI (channel 1)"]
