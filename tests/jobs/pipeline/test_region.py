"""Regions of a job have the pixels of the whole job."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.pipeline.events import Finished, Progress, TileDone
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.region import Region
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.swin import MaskedSwin
from masked_denoiser.tiling.plan import Plan, Span

OPTIONS = Options(noise="none", tile=64, passes=2, std=True)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    config = SwinConfig(channels=1, embed=12, depths=(2,), heads=(2,), mean=(0.0,))
    return Model(Card("tiny", config), MaskedSwin(config).state_dict())


def run(source, model, region=None, options=OPTIONS):
    prepared = prepare_array(source, model=model, options=options, device="cpu", region=region)
    return prepared.pipeline, list(prepared.pipeline.run())


def test_preview_equals_the_full_result_in_its_region(model):
    pixels = np.random.default_rng(0).normal(0, 200, (2, 3, 200, 150)).astype(np.float32)
    source = open_image(pixels, axes="CZYX")
    whole, _ = run(source, model)
    part, events = run(source, model, Region((("C", 1), ("Z", 2)), Span(70, 140), Span(3, 5)))
    assert part.region == Region((("C", 1), ("Z", 2)), Span(64, 192), Span(0, 64))
    assert part.sink.array.shape == (1, 1, 128, 64)
    np.testing.assert_array_equal(part.sink.array[0, 0], whole.sink.array[1, 2, 64:192, :64])
    np.testing.assert_array_equal(part.std_sink.array[0, 0], whole.std_sink.array[1, 2, 64:192, :64])
    assert part.sink.array.std() > 0
    assert sum(isinstance(event, TileDone) for event in events) == 2


@pytest.mark.parametrize("channels", ["auto", "rgb"])
def test_region_of_all_planes_equals_the_full_result(model, channels):
    pixels = np.random.default_rng(0).normal(1000, 200, (3, 2, 100, 70)).astype(np.float32)
    source, options = open_image(pixels, axes="CZYX"), replace(OPTIONS, channels=channels, passes=1, std=False)
    whole, _ = run(source, model, options=options)
    part, events = run(source, model, Region((("Z", 1),), Span(70, 90), Span(3, 5), full_axes="CZ"), options)
    np.testing.assert_array_equal(part.sink.array, whole.sink.array[:, :, 64:100, :64])
    assert events[-1].progress.done == events[-1].progress.total == (6 if channels == "auto" else 2)


def test_progress_counts_only_the_region(model):
    source = open_image(np.zeros((130, 130), np.uint8), axes="YX")
    _, events = run(source, model, Region((), Span(128, 130), Span(0, 130)))
    first = next(event for event in events if isinstance(event, Progress))
    assert (first.done, first.total, first.pixels_left) == (0, 3, 2 * 130)
    assert isinstance(events[-1], Finished)
    assert (events[-1].progress.done, events[-1].progress.pixels_left) == (3, 0)


@pytest.mark.parametrize("channels", ["auto", "each"])
def test_rgb_region_with_alpha(model, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (100, 90, 4), dtype=np.uint8)
    source = open_image(pixels, axes="YXS")
    options = replace(OPTIONS, channels=channels)
    whole, _ = run(source, model, options=options)
    part, _ = run(source, model, Region((), Span(0, 100), Span(64, 90)), options)
    np.testing.assert_array_equal(part.sink.array, whole.sink.array[:, 64:])
    np.testing.assert_array_equal(part.sink.array[..., 3], pixels[:, 64:, 3])


def test_tiles_intersect_the_rectangle():
    plan = Plan((300, 200), 64, 8, 8)
    tiles = Region((), Span(63, 65), Span(128, 200)).tiles(plan)
    assert [tile.core[0].start for tile in tiles] == [0, 0, 64, 64]
    assert [tile.core[1].start for tile in tiles] == [128, 192, 128, 192]
    assert all(plan[tile.number] == tile for tile in tiles)
