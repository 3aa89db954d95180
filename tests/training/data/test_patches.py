"""Tests of drawing patches: lazily, outside of validation regions, in all eight orientations."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masked_denoiser.errors import ImageError, TrainingError
from masked_denoiser.images.open import open_image
from masked_denoiser.tiling.plan import Span
from masked_denoiser.training.data.checks import check_disjoint
from masked_denoiser.training.data.dataset import make_images, open_images
from masked_denoiser.training.data.lazy_patches import draw_patches
from masked_denoiser.training.data.patches import PatchSampler, TrainingImage
from masked_denoiser.training.data.validation_split import split_for_validation


def image(pixels, axes, channels=1):
    return TrainingImage(open_image(pixels, axes=axes), channels)


class CountingArray:
    """Array that counts the pixels that were read."""

    def __init__(self, shape):
        self.shape, self.dtype, self.ndim = shape, np.dtype(np.uint8), len(shape)
        self.read = 0

    def __getitem__(self, key):
        out = [range(side)[k] for side, k in zip(self.shape, key, strict=True)]
        self.read += len(out[0]) * len(out[1])
        assert len(out[0]) * len(out[1]) < 1024**2 * 2, "a slide is not read whole"
        return np.add.outer(np.array(out[0]) * 7 % 251, np.array(out[1]) % 4).astype(np.uint8)


def test_slides_are_read_lazily():
    slide = CountingArray((100_000, 100_000))
    training, validation = split_for_validation([image(slide, "YX")], 64, 8)
    for step in range(3):
        draw_patches(training, range(8), 0, step)
    draw_patches(validation, range(2), 0, 0)
    assert slide.read < 12e6


@settings(max_examples=25, deadline=None)
@given(st.integers(32, 150), st.integers(32, 150), st.integers(0, 2**31))
def test_training_patches_exclude_validation_region(height, width, seed):
    """Patches of a training sampler must not lie in the validation region, and those of validation must."""
    pixels = np.arange(height * width, dtype=np.float64).reshape(height, width)
    training, validation = split_for_validation([image(pixels, "YX")], 16, 8)
    corner = validation.images[0].region
    rng = np.random.default_rng(seed)
    for pool, inside in ((training, False), (validation, True)):
        place = pool.draw(rng)
        rows, columns = (set(range(at, at + pool.size)) for at in (place.row, place.column))
        within = (
            rows <= set(range(corner[0].start, corner[0].stop)),
            columns <= set(range(corner[1].start, corner[1].stop)),
        )
        touching = (
            rows & set(range(corner[0].start, corner[0].stop)),
            columns & set(range(corner[1].start, corner[1].stop)),
        )
        assert all(within) if inside else not all(touching)
        assert 0 <= place.row <= height - pool.size
        assert 0 <= place.column <= width - pool.size


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_overlapping_regions_share_held_out_parts(top, left, seed):
    whole = image(np.random.default_rng(seed).integers(0, 255, (160, 160), np.uint8), "YX")
    areas = [(Span(0, 100), Span(0, 100)), (Span(top, top + 100), Span(left, left + 100))]
    regions = [replace(whole, region=area) for area in areas]
    training, validation = split_for_validation(regions, 16, 8)
    held_out_regions = [part.region for part in validation.images]
    for number in range(20):
        place = training.draw(np.random.default_rng(number))
        for rows, columns in held_out_regions:
            assert not (rows.start - 16 < place.row < rows.stop and columns.start - 16 < place.column < columns.stop)


def test_whole_images_are_held_out_of_many():
    rng = np.random.default_rng(0)
    images = [image(rng.integers(0, 255, (40, 40), np.uint8), "YX") for _ in range(25)]
    training, validation = split_for_validation(images, 16, 8)
    assert (len(training.images), len(validation.images)) == (23, 2)
    assert not {id(i.source) for i in training.images} & {id(i.source) for i in validation.images}


def test_all_eight_orientations_are_drawn():
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4) * 9
    pool = PatchSampler((image(np.kron(pixels, np.ones((4, 4), np.uint8)), "YX"),), 16)
    patches, *_ = draw_patches(pool, range(100), 0, 0)
    kinds = {patch.tobytes() for patch in patches}
    whole = pool.images[0].source.data[:].astype(np.float32) / 255
    expected = {np.ascontiguousarray(np.rot90(w, k)).tobytes() for w in (whole, whole[:, ::-1]) for k in range(4)}
    assert kinds == expected


def test_pairs_are_rotated_together():
    noisy = np.random.default_rng(0).integers(0, 100, (50, 60), np.uint8)
    pair = TrainingImage(open_image(noisy, axes="YX"), 1, open_image(noisy * 2, axes="YX"))
    patches, truths, _ = draw_patches(PatchSampler((pair,), 16), range(20), 0, 0)
    np.testing.assert_allclose(truths, patches * 2, rtol=1e-6)


def test_patches_do_not_depend_on_batch_division():
    pool = PatchSampler((image(np.random.default_rng(0).integers(0, 255, (50, 60), np.uint8), "YX"),), 16)
    whole, *_ = draw_patches(pool, range(8), 3, 5)
    odd, *_ = draw_patches(pool, range(1, 8, 2), 3, 5)
    np.testing.assert_array_equal(whole[1::2], odd)
    assert len({patch.tobytes() for patch in whole}) > 4


def test_background_is_drawn_less_often():
    pixels = np.full((400, 400), 240, np.uint8)
    pixels[:, :200] = np.random.default_rng(0).integers(0, 255, (400, 200))
    pool = PatchSampler((image(pixels, "YX"),), 16)
    rng = np.random.default_rng(1)
    flat = np.mean([pool.draw(rng).column >= 200 for _ in range(300)])
    assert 0.02 < flat < 0.25


def test_gray_uint16_for_rgb_network():
    pixels = np.random.default_rng(0).normal(3000, 300, (3, 64, 64)).astype(np.uint16)
    patches, *_ = draw_patches(PatchSampler((image(pixels, "ZYX", channels=3),), 16), range(4), 0, 0)
    assert patches.shape == (4, 3, 16, 16)
    np.testing.assert_array_equal(patches[:, 0], patches[:, 2])
    assert 0.2 < patches.mean() < 0.8


def test_rgb_is_split_into_planes_for_gray_network():
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 4), np.uint8)
    rgb = image(pixels, "YXS", channels=1)
    assert len(rgb.planes) == 3
    assert draw_patches(PatchSampler((rgb,), 16), range(4), 0, 0)[0].shape == (4, 1, 16, 16)


def test_patches_stay_within_region():
    pixels = np.random.default_rng(0).integers(0, 255, (100, 100), np.uint8)
    region = (Span(20, 60), Span(30, 90))
    pool = PatchSampler((TrainingImage(open_image(pixels, axes="YX"), 1, region=region),), 16)
    places = [pool.draw(np.random.default_rng(i)) for i in range(50)]
    assert all(20 <= p.row <= 44 and 30 <= p.column <= 74 for p in places)


NAN = np.random.default_rng(0).random((64, 64)).astype(np.float32)
NAN[5, 5] = np.nan


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (
            np.random.default_rng(0).integers(0, 9, (15, 64), np.uint8),
            "15 x 64 pixels .* has no patch that fits; remove",
        ),
        (np.random.default_rng(0).integers(0, 9, (20, 20), np.uint8), "too small to hold a part"),
        (np.full((64, 64), 7, np.uint8), "is constant"),
        (NAN, "NaN or infinite"),
    ],
)
def test_unusable_images_are_refused(pixels, message):
    with pytest.raises(TrainingError, match=message):
        split_for_validation([image(pixels, "YX")], 16, 8)


def test_folders_and_pairs(tmp_path):
    with ExitStack() as files:
        _check_folders_and_pairs(tmp_path, files)


def _check_folders_and_pairs(tmp_path, files):
    import tifffile

    for name in ("b.tif", "a.tif"):
        tifffile.imwrite(tmp_path / name, np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    sources = open_images([tmp_path], files)
    assert [source.path.name for source in sources] == ["a.tif", "b.tif"]
    with pytest.raises(TrainingError, match="2 noisy images and 1 clean"):
        make_images(sources, sources[:1], 1)
    with pytest.raises(TrainingError, match=r"a\.tif is used for both training and validation"):
        check_disjoint(sources, open_images([tmp_path / "a.tif"], files))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="holds no images"):
        open_images([tmp_path / "empty"], files)
    with pytest.raises(TrainingError, match="there are no images"):
        open_images([], files)


def advised_patch(images, patch, grid):
    """Return the patch if it fits, else the one that the error advises; 0 if it advises none."""
    try:
        split_for_validation(images, patch, grid)
    except TrainingError as error:
        fitting = r"; choose a smaller patch \(--set patch=(\d+)\), or|, and this model has (no patch) that fits; "
        return int(re.search(fitting, str(error))[1] or 0)
    return patch


@pytest.mark.parametrize(
    ("shape", "patch", "grid", "fitting"),
    [
        ((12, 12), 16, 16, 0),
        ((20, 20), 16, 16, 0),
        ((80, 80), 128, 64, 0),
        ((70, 99), 64, 8, 48),
        ((50, 90), 64, 8, 40),
    ],
)
def test_advice_to_choose_a_smaller_patch_ends_with_one_that_fits(shape, patch, grid, fitting):
    images = [image(np.random.default_rng(0).integers(0, 9, shape, np.uint8), "YX")]
    while (advised := advised_patch(images, patch, grid)) not in (0, patch):
        patch = advised
    assert advised == fitting
