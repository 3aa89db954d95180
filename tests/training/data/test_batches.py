"""Tests of training batches: noise, masks, noise maps and losses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.masks import MASKED_PIXEL, HashedTokenMask, blind_spots
from masked_denoiser.network.swin import MaskedSwin
from masked_denoiser.training.data.batches import BatchMaker, token_mask
from masked_denoiser.training.data.noise_map import exact_noise_map
from masked_denoiser.training.data.patch_source import Patches
from masked_denoiser.training.recipe import GENERAL, PAPER_RECIPE, WITHOUT_TRUTH
from masked_denoiser.training.step import loss_sum

CPU = torch.device("cpu")
PATCHES = np.random.default_rng(0).random((6, 3, 32, 32), np.float32)


def make_batch(recipe, patches=PATCHES, step=7, noise_map=False, share=1.0):
    return BatchMaker(recipe, CPU, noise_map).make(
        Patches(torch.from_numpy(patches), None, torch.tensor([[1.0, 0.0]] * len(patches))), step, share
    )


def network(**changes):
    torch.manual_seed(0)
    return MaskedSwin(SwinConfig(embed=12, depths=(2,), heads=(2,), **changes)).eval()


def test_batch_of_paper_recipe():
    batch = make_batch(PAPER_RECIPE)
    masked = (batch.inputs == MASKED_PIXEL).all(dim=1)
    share = masked.flatten(1).float().mean(dim=1)
    assert ((share > 0.75) & (share < 0.95)).all()
    np.testing.assert_array_equal(batch.targets, PATCHES)
    noise = (batch.inputs - batch.targets).permute(0, 2, 3, 1)[~masked] * 255
    assert abs(float(noise.std()) - 15) < 1.5
    assert batch.loss_mask is None


def test_batches_are_keyed_by_seed_and_step():
    assert torch.equal(make_batch(PAPER_RECIPE).inputs, make_batch(PAPER_RECIPE).inputs)
    assert not torch.equal(make_batch(PAPER_RECIPE).inputs, make_batch(PAPER_RECIPE, step=8).inputs)
    assert not torch.equal(make_batch(PAPER_RECIPE).inputs, make_batch(replace(PAPER_RECIPE, seed=1)).inputs)


def test_masks_ramp_up_at_start_of_training():
    recipe = replace(PAPER_RECIPE, noise="none", mask_rise=0.2)
    shares = [
        float((make_batch(recipe, share=share).inputs == MASKED_PIXEL).float().mean()) for share in (0.0, 0.1, 0.2)
    ]
    assert shares[0] == 0
    assert shares[1] == pytest.approx(0.425, abs=0.02)
    assert shares[2] == pytest.approx(0.85, abs=0.02)
    assert token_mask(recipe, 3, 0, CPU, 0.1).ratio == pytest.approx(0.375)


def test_general_batch_contains_clean_patches():
    """Every batch has the same share of each noise, including the unchanged clean patches of the recipe."""
    recipe = replace(GENERAL, batch=92, masked_patches=0.0, gray=0.0, microscope=0.0)  # 4 of each of 23 noises
    batch = make_batch(recipe, np.random.default_rng(0).random((92, 3, 32, 32), np.float32) * 0.8 + 0.1)
    unchanged = (batch.inputs == batch.targets).flatten(1).all(dim=1)
    assert int(unchanged.sum()) == 8
    assert torch.isfinite(batch.inputs).all()


def test_share_of_masked_patches():
    recipe = replace(PAPER_RECIPE, noise="none", masked_patches=0.25)
    inputs = make_batch(recipe, np.random.default_rng(0).random((400, 1, 16, 16), np.float32)).inputs
    masked = (inputs == MASKED_PIXEL).flatten(1).any(dim=1)
    assert 60 < int(masked.sum()) < 140


@pytest.mark.parametrize("sigma", [5.0, 40.0])
def test_noise_map_equals_noise_strength(sigma):
    recipe = replace(PAPER_RECIPE, noise=f"gaussian(sigma={sigma})", masked_patches=0.0)
    patches = np.full((200, 1, 48, 48), 0.5, np.float32)
    batch = make_batch(recipe, patches, noise_map=True)
    known = batch.noise_map[:, 1, 0, 0] > 0
    assert 130 < int(known.sum()) < 190, "a sixth is unknown"
    assert (batch.noise_map[~known] == 0).all()
    errors = (batch.noise_map[known, 0].mean(dim=(1, 2)) * 255 / sigma).log()
    assert abs(float(errors.mean())) < 0.05
    assert float(errors.std()) == pytest.approx(0.15, rel=0.2)
    exact = exact_noise_map(batch.inputs, batch.targets)[:, 0] * 255
    assert float(exact.mean()) == pytest.approx(sigma, rel=0.05)


def test_noise_map_is_local():
    noisy = torch.full((1, 1, 96, 96), 0.5)
    noisy[..., 48:] += 0.1 * torch.randn(1, 1, 96, 48, generator=torch.Generator().manual_seed(0))
    deviation = exact_noise_map(noisy, torch.full_like(noisy, 0.5))[0, 0]
    assert float(deviation[:, :30].max()) == pytest.approx(0, abs=1e-6)
    assert float(deviation[:, 70:].mean()) == pytest.approx(0.1, rel=0.05)


def test_masked_pixels_have_zero_gradient():
    """Gradients through mask, network and loss are zero at masked pixels of the noisy image, and not at others."""
    recipe = replace(PAPER_RECIPE, noise="none")
    images = torch.rand(2, 3, 32, 32).requires_grad_()
    from masked_denoiser.network.masks import mask_pixels

    inputs, masked = mask_pixels(images, *recipe.pixel_mask, torch.Generator().manual_seed(1))
    network()(inputs, HashedTokenMask(0.75, 0, 0, ((0, 0),))).square().sum().backward()
    hidden = masked.expand_as(images)
    assert (images.grad[hidden] == 0).all()
    assert (images.grad[~hidden] != 0).any()


def test_blind_spots_are_replaced_by_neighbours():
    images = torch.arange(2 * 24 * 24, dtype=torch.float32).view(2, 1, 24, 24)
    inputs, masked = blind_spots(images, 0.5, 0.5, torch.Generator().manual_seed(0))
    assert 0.4 < masked.float().mean() < 0.6
    assert torch.equal(inputs[~masked], images[~masked])
    source_pixels = inputs[masked].long() % 576
    own = images[masked].long() % 576
    dy, dx = source_pixels // 24 - own // 24, source_pixels % 24 - own % 24
    assert ((dy != 0) | (dx != 0)).all()
    assert dy.abs().max() == dx.abs().max() == 2
    steps = torch.stack([dy, dx], 1).unique(dim=0)
    assert len(steps) == 24


def test_loss_without_truth_is_limited_to_blind_spots():
    recipe = replace(PAPER_RECIPE, way="noisy", **WITHOUT_TRUTH)
    batch = make_batch(recipe)
    assert batch.loss_mask is not None
    assert 0.02 < batch.loss_mask.float().mean() < 0.08
    np.testing.assert_array_equal(batch.targets, PATCHES)
    out = torch.rand(6, 3, 32, 32, requires_grad=True)
    loss_sum("mse", out, batch.targets, batch.loss_mask)[0].backward()
    assert ((out.grad != 0) == batch.loss_mask.expand_as(out)).all()


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


def test_share_of_steps_with_attention_mask():
    recipe = replace(PAPER_RECIPE, masked_steps=0.25)
    masked = [token_mask(recipe, step, 0, CPU) is not None for step in range(2000)]
    assert 0.21 < np.mean(masked) < 0.29
    assert recipe.inference_mask == 0.0


@pytest.mark.parametrize("kind", ["l1", "mse", "charbonnier"])
def test_losses_equal_formulas(kind):
    out, target = torch.rand(2, 3, 8, 8, dtype=torch.float64), torch.rand(2, 3, 8, 8, dtype=torch.float64)
    mask = torch.rand(2, 1, 8, 8) < 0.3
    d = (out - target).numpy()
    each = {"l1": abs(d), "mse": d**2, "charbonnier": np.sqrt(d**2 + 1e-6)}[kind]
    total, count = loss_sum(kind, out, target)
    assert float(total / count) == pytest.approx(each.mean())
    total, count = loss_sum(kind, out, target, mask)
    assert float(total / count) == pytest.approx(each[np.broadcast_to(mask.numpy(), d.shape)].mean())


def test_gray_patches_share_noise_across_channels():
    recipe = replace(PAPER_RECIPE, gray=0.5, masked_patches=0.0)
    batch = make_batch(recipe, np.repeat(PATCHES, 4, axis=0))
    gray = (batch.inputs == batch.inputs[:, :1]).flatten(1).all(dim=1)
    assert 5 < int(gray.sum()) < 19
    assert torch.equal((batch.targets == batch.targets[:, :1]).flatten(1).all(dim=1), gray)
    assert float((batch.inputs - batch.targets)[gray].std()) * 255 == pytest.approx(15, rel=0.15)
