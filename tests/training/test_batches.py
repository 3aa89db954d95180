"""Masked pixels and tokens really are masked: by gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.masks import MASKED_PIXEL, HashedTokenMask, blind_spots
from masked_denoiser.network.swin import MaskedSwin
from masked_denoiser.training.batches import make_batch, token_mask
from masked_denoiser.training.losses import loss_sum
from masked_denoiser.training.recipe import PAPER_RECIPE, WITHOUT_TRUTH

CPU = torch.device("cpu")
PATCHES = np.random.default_rng(0).random((6, 3, 32, 32), np.float32)


def network(**changes):
    torch.manual_seed(0)
    return MaskedSwin(SwinConfig(embed=12, depths=(2,), heads=(2,), **changes)).eval()


def test_the_papers_batch():
    batch = make_batch(PATCHES, None, PAPER_RECIPE, 7, range(6), CPU)
    masked = (batch.given == MASKED_PIXEL).all(dim=1)
    share = masked.flatten(1).float().mean(dim=1)
    assert ((share > 0.75) & (share < 0.95)).all()
    np.testing.assert_array_equal(batch.wanted, PATCHES)
    noise = (batch.given - batch.wanted).permute(0, 2, 3, 1)[~masked] * 255
    assert abs(float(noise.std()) - 15) < 1.5
    assert batch.counted is None


def test_batches_are_keyed_by_seed_step_and_number():
    whole = make_batch(PATCHES, None, PAPER_RECIPE, 7, range(6), CPU)
    part = make_batch(PATCHES[2:4], None, PAPER_RECIPE, 7, (2, 3), CPU)
    assert torch.equal(whole.given[2:4], part.given)
    other = make_batch(PATCHES, None, PAPER_RECIPE, 8, range(6), CPU)
    assert not torch.equal(whole.given, other.given)


def test_nothing_downstream_hears_of_a_masked_pixel():
    """Noise, clip, mask, network, loss: the gradient at masked pixels of the noisy image is zero, at others not."""
    recipe = replace(PAPER_RECIPE, noise="none")
    images = torch.rand(2, 3, 32, 32).requires_grad_()
    from masked_denoiser.network.masks import mask_pixels

    given, masked = mask_pixels(images, *recipe.pixel_mask, torch.Generator().manual_seed(1))
    network()(given, HashedTokenMask(0.75, 0, 0, ((0, 0),))).square().sum().backward()
    hidden = masked.expand_as(images)
    assert (images.grad[hidden] == 0).all()
    assert (images.grad[~hidden] != 0).any()


def test_blind_spots_hold_a_neighbour_and_never_themselves():
    images = torch.arange(2 * 24 * 24, dtype=torch.float32).view(2, 1, 24, 24)
    given, masked = blind_spots(images, 0.5, 0.5, torch.Generator().manual_seed(0))
    assert 0.4 < masked.float().mean() < 0.6
    assert torch.equal(given[~masked], images[~masked])
    taken = given[masked].long() % 576
    own = images[masked].long() % 576
    dy, dx = taken // 24 - own // 24, taken % 24 - own % 24
    assert ((dy != 0) | (dx != 0)).all()
    assert dy.abs().max() == dx.abs().max() == 2
    steps = torch.stack([dy, dx], 1).unique(dim=0)
    assert len(steps) == 24


def test_without_truth_only_blind_spots_count():
    recipe = replace(PAPER_RECIPE, way="noisy", **WITHOUT_TRUTH)
    batch = make_batch(PATCHES, None, recipe, 0, range(6), CPU)
    assert batch.counted is not None
    assert 0.02 < batch.counted.float().mean() < 0.08
    np.testing.assert_array_equal(batch.wanted, PATCHES)
    out = torch.rand(6, 3, 32, 32, requires_grad=True)
    loss_sum("mse", out, batch.wanted, batch.counted)[0].backward()
    assert ((out.grad != 0) == batch.counted.expand_as(out)).all()


@pytest.mark.parametrize(("low", "high"), [(0.75, 0.75), (0.2, 0.6), (0.0, 0.0)])
def test_attention_ratios(low, high):
    recipe = replace(PAPER_RECIPE, attention_mask=(low, high))
    masks = [token_mask(recipe, step, 0, CPU) for step in range(40)]
    if not high:
        assert masks == [None] * 40
        return
    ratios = [mask.ratio for mask in masks]
    assert low <= min(ratios) <= max(ratios) <= high
    assert len(set(ratios)) == (1 if low == high else 40)


def test_attention_is_masked_in_a_share_of_the_steps():
    recipe = replace(PAPER_RECIPE, masked_steps=0.25)
    masked = [token_mask(recipe, step, 0, CPU) is not None for step in range(2000)]
    assert 0.21 < np.mean(masked) < 0.29
    assert recipe.inference_mask == 0.0


@pytest.mark.parametrize("kind", ["l1", "mse", "charbonnier"])
def test_losses_against_their_formula(kind):
    out, wanted = torch.rand(2, 3, 8, 8, dtype=torch.float64), torch.rand(2, 3, 8, 8, dtype=torch.float64)
    where = torch.rand(2, 1, 8, 8) < 0.3
    d = (out - wanted).numpy()
    each = {"l1": abs(d), "mse": d**2, "charbonnier": np.sqrt(d**2 + 1e-6)}[kind]
    total, count = loss_sum(kind, out, wanted)
    assert float(total / count) == pytest.approx(each.mean())
    total, count = loss_sum(kind, out, wanted, where)
    assert float(total / count) == pytest.approx(each[np.broadcast_to(where.numpy(), d.shape)].mean())


def test_gray_patches_have_the_same_noise_in_all_channels():
    recipe = replace(PAPER_RECIPE, gray=0.5, masked_patches=0.0)
    batch = make_batch(np.repeat(PATCHES, 4, axis=0), None, recipe, 7, range(24), CPU)
    gray = (batch.given == batch.given[:, :1]).flatten(1).all(dim=1)
    assert 5 < int(gray.sum()) < 19
    assert torch.equal((batch.wanted == batch.wanted[:, :1]).flatten(1).all(dim=1), gray)
    assert float((batch.given - batch.wanted)[gray].std()) * 255 == pytest.approx(15, rel=0.15)
