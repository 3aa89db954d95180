"""Tests that resident and lazy patches follow the same rules."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from masked_denoiser.denoising.intensity.ranges import measure_ranges
from masked_denoiser.errors import TrainingError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.tiling.plan import Span
from masked_denoiser.training.data.batches import BatchMaker
from masked_denoiser.training.data.lazy_patches import LazyPatches
from masked_denoiser.training.data.patches import PatchSampler, TrainingImage
from masked_denoiser.training.data.resident_patches import ResidentPatches, fits_on_device
from masked_denoiser.training.data.validation_split import split_for_validation
from masked_denoiser.training.recipe import PAPER_RECIPE

CPU = torch.device("cpu")
RECIPE = replace(PAPER_RECIPE, batch=40, patch=16)
both_sources = pytest.mark.parametrize("kind", [ResidentPatches, LazyPatches])


def image(pixels, axes="YX", channels=1, **kwargs):
    return TrainingImage(open_image(pixels, axes=axes), channels, **kwargs)


def draw(kind, pool, recipe=RECIPE, steps=(0,)):
    source = kind(pool, recipe, CPU)
    try:
        return [source.get(step) for step in steps]
    finally:
        source.close()


@both_sources
def test_all_eight_orientations_are_drawn(kind):
    pixels = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4) * 9, np.ones((4, 4), np.uint8))
    pool = PatchSampler((image(pixels),), 16)
    patches = torch.cat([images for images, *_ in draw(kind, pool, steps=range(4))])
    whole = pixels.astype(np.float32) / 255
    expected = {np.ascontiguousarray(np.rot90(w, k)).tobytes() for w in (whole, whole[:, ::-1]) for k in range(4)}
    assert {patch.numpy().tobytes() for patch in patches} == expected


@both_sources
@pytest.mark.parametrize("way", ["noisy", "pairs"])
def test_noisy_patches_are_not_downscaled(kind, way):
    """Downscaling averages neighbouring pixels, whose noise the network would learn to be weak."""
    noisy, clean = (np.random.default_rng(seed).integers(0, 256, (128, 128), np.uint8) for seed in (0, 1))
    pairs = {"truth": open_image(clean, axes="YX")} if way == "pairs" else {}
    recipe = replace(RECIPE, way=way, downscaled=0.5)
    ((patches, truths, _),) = draw(kind, PatchSampler((image(noisy, **pairs),), 16), recipe)
    assert len(patches) == recipe.batch
    assert truths is None or len(truths) == recipe.batch
    whole = np.lib.stride_tricks.sliding_window_view(noisy, (16, 16)).astype(int).sum(axis=(2, 3))
    sums = np.rint(patches.double().sum(dim=(1, 2, 3)).numpy() * 255).astype(int)
    assert np.isin(sums, whole).all()
    assert float(patches.std(dim=(1, 2, 3)).min()) > 0.2


@both_sources
def test_only_cuda_copies_without_waiting(kind, monkeypatch):
    """On MPS the memory of a temporary array could be used again before it is read."""
    asynchronous = []
    original = torch.Tensor.to

    def recording(tensor, *args, **kwargs):
        asynchronous.append(kwargs.get("non_blocking", False))
        return original(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", recording)
    noisy = np.random.default_rng(0).integers(0, 256, (128, 128), np.uint8)
    draw(kind, PatchSampler((image(noisy),), 16), replace(RECIPE, downscaled=0.5))
    assert asynchronous
    assert not any(asynchronous)


@both_sources
def test_patches_are_image_regions_and_keyed_by_step(kind):
    pixels = np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8)
    pool = PatchSampler((image(pixels, "YXS", channels=3),), 16)
    (first, no_truth, _), (second, *_) = draw(kind, pool, steps=(3, 4))
    ((again, *_),) = draw(kind, pool, steps=(3,))
    assert no_truth is None
    assert first.shape == (40, 3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    windows = np.lib.stride_tricks.sliding_window_view(pixels.astype(np.float32).sum(axis=2), (16, 16))
    sums = set(np.rint(windows.sum(axis=(2, 3)).ravel()).astype(int))
    assert {round(float(s)) for s in first.double().sum(dim=(1, 2, 3)) * 255} <= sums


@both_sources
def test_held_out_pixels_are_never_drawn(kind):
    """Held-out pixels have the value 255, which no patch contains."""
    pixels = np.random.default_rng(0).integers(0, 200, (60, 80), np.uint8)
    pool, validation = split_for_validation([image(pixels)], 16, 8)
    rows, columns = validation.images[0].region
    pixels[rows.start : rows.stop, columns.start : columns.stop] = 255
    recipe = replace(RECIPE, downscaled=0.5)
    for patches, *_ in draw(kind, pool, recipe, range(5)):
        assert float(patches.max()) < 201 / 255


@both_sources
def test_patches_stay_within_regions(kind):
    pixels = np.zeros((100, 100), np.uint8)
    pixels[20:60, 30:90] = np.random.default_rng(0).integers(50, 255, (40, 60))
    region = (Span(20, 60), Span(30, 90))
    ((patches, *_),) = draw(kind, PatchSampler((image(pixels, region=region),), 16))
    assert float(patches.min()) >= 50 / 255


@both_sources
def test_pairs_are_drawn_together(kind):
    noisy = np.random.default_rng(0).integers(0, 100, (50, 60), np.uint8)
    pair = image(noisy, truth=open_image(noisy * 2, axes="YX"))
    ((patches, truths, _),) = draw(kind, PatchSampler((pair,), 16))
    torch.testing.assert_close(truths, patches * 2)


@both_sources
def test_background_is_drawn_less_often(kind):
    pixels = np.full((400, 400), 240, np.uint8)
    pixels[:, :200] = np.random.default_rng(0).integers(0, 200, (400, 200))
    patches = torch.cat([images for images, *_ in draw(kind, PatchSampler((image(pixels),), 16), steps=range(8))])
    flat = (patches.std(dim=(1, 2, 3)) == 0).float().mean()
    assert 0.02 < float(flat) < 0.25


@both_sources
def test_patches_with_nan_are_skipped(kind):
    pixels = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    pixels[40:] = np.nan
    pool = PatchSampler((image(pixels),), 16)
    ((patches, *_),) = draw(kind, pool)
    assert torch.isfinite(patches).all()
    assert pool.skipped == {"array"}
    with pytest.raises(TrainingError, match="nearly everywhere"):
        draw(kind, PatchSampler((image(np.where(np.arange(64) % 8 == 0, np.nan, 0.5) * np.ones((64, 1))),), 16))


@both_sources
def test_downscaled_patches_are_smoother(kind):
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)
    ((plain, *_),) = draw(kind, PatchSampler((image(pixels),), 16))
    ((mixed, *_),) = draw(kind, PatchSampler((image(pixels),), 16), replace(RECIPE, downscaled=1.0))
    assert float(mixed.std(dim=(1, 2, 3)).mean()) < 0.85 * float(plain.std(dim=(1, 2, 3)).mean())
    assert float(mixed.mean()) == pytest.approx(float(plain.mean()), abs=0.03)


def test_resident_pixels_are_exact_in_any_dtype():
    eight = np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)
    floats = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    for planes, kept in (((eight,), torch.uint8), ((floats,), torch.float32), ((eight, floats), torch.float32)):
        source = ResidentPatches(PatchSampler(tuple(map(image, planes)), 16), RECIPE, CPU)
        assert source._pixels.dtype == kept
        patches, *_ = source.get(0)
        values = np.concatenate([p.ravel() / np.float32(255 if p.dtype == np.uint8 else 1) for p in planes])
        assert np.isin(patches.numpy(), values).all()


def test_large_images_are_not_resident():
    class Huge:
        shape, dtype = (200_000, 200_000), np.dtype(np.uint8)

        def __getitem__(self, key):
            rows, columns = (range(side)[k] for side, k in zip(self.shape, key, strict=True))
            assert len(rows) * len(columns) < 2**22
            return np.add.outer(np.array(rows) * 7 % 251, np.array(columns) % 4).astype(np.uint8)

    assert not fits_on_device(PatchSampler((image(Huge()),), 16), CPU)
    assert fits_on_device(PatchSampler((image(np.zeros((400, 400), np.uint8)),), 16), CPU)


@both_sources
def test_patches_begin_at_every_phase_of_the_blocks_of_a_jpeg(kind):
    rows, columns = np.mgrid[:256, :256]
    pool = PatchSampler((image((16 * (rows % 8) + columns % 8).astype(np.uint8)),), 64)
    patches = torch.cat([images for images, *_ in draw(kind, pool, replace(RECIPE, patch=64), steps=range(20))])
    lowest = patches[:, 0].amin(dim=(1, 2))  # of any orientation
    assert lowest.max() == 0
    corners = {round(float(patch[0, 0, 0]) * 255) for patch in patches}
    assert len(corners) == 64


def test_memory_is_estimated_for_the_type_that_all_images_have(monkeypatch):
    eight, sixteen = (image(np.zeros((400, 400), dtype)) for dtype in (np.uint8, np.uint16))
    monkeypatch.setattr("masked_denoiser.training.data.resident_patches._MAX_BYTES", 4 * 2 * 400**2)
    assert fits_on_device(PatchSampler((eight,) * 7, 16), CPU)
    assert not fits_on_device(PatchSampler((eight, sixteen), 16), CPU)


def test_timeout_of_a_reader_is_an_error():
    class Slow:
        shape, dtype = (64, 64), np.dtype(np.uint8)

        def __getitem__(self, key):
            raise TimeoutError("the server does not answer")

    source = LazyPatches(PatchSampler((image(Slow()),), 16), RECIPE, CPU)
    with pytest.raises(TimeoutError, match="does not answer"):
        source.get(0, threading.Event())
    source.close()


@both_sources
@pytest.mark.parametrize("downscaled", [0.0, 0.5])
def test_stretched_patches_have_the_contrast_of_denoising(kind, downscaled):
    """Beads compress the range of noise recipes, and not that in which a network denoises."""
    rng = np.random.default_rng(0)
    dim = gaussian_filter(rng.normal(size=(160, 160)), 4)
    dim = 500 + 300 * dim / np.ptp(dim)
    beads = np.where(rng.random(dim.shape) < 2e-3, 20_000, dim)
    sources = [open_image(pixels.astype(np.uint16), axes="YX") for pixels in (dim, beads, dim * 3)]
    recipe = replace(RECIPE, stretch=True, noise="none", masked_patches=0.0, downscaled=downscaled)
    pool = PatchSampler(tuple(TrainingImage(source, 1) for source in sources), 16)
    batch = BatchMaker(recipe, CPU, False).make(draw(kind, pool, recipe)[0], 0)
    assert batch.targets.min() >= -1e-5
    assert batch.targets.max() <= 1 + 1e-5
    if downscaled:
        return
    planes = list(list_planes("YX", sources[0].sizes, False))
    seen = [measure_ranges(source, planes)[0].to_unit(source.data) for source in sources]
    values = np.sort(np.concatenate([np.clip(each, 0, 1).ravel() for each in seen]))
    found = batch.targets.numpy().ravel()
    after = np.searchsorted(values, found).clip(1, values.size - 1)
    assert np.minimum(np.abs(values[after] - found), np.abs(values[after - 1] - found)).max() < 1e-4
    assert np.ptp(np.quantile(found, (0.1, 0.9))) > 0.2
