"""Patches: drawn lazily, from what may be learned from, in all eight orientations."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masked_denoiser.errors import ImageError, TrainingError
from masked_denoiser.images.open import open_image
from masked_denoiser.tiling.plan import Span
from masked_denoiser.training.data.dataset import check_apart, make_images, open_images, split
from masked_denoiser.training.data.patches import PatchSampler, TrainingImage, batch_of


def image(pixels, axes, channels=1):
    return TrainingImage(open_image(pixels, axes=axes), channels)


class Counting:
    """An array that knows which pixels were read."""

    def __init__(self, shape):
        self.shape, self.dtype, self.ndim = shape, np.dtype(np.uint8), len(shape)
        self.read = 0

    def __getitem__(self, key):
        out = [range(side)[k] for side, k in zip(self.shape, key, strict=True)]
        self.read += len(out[0]) * len(out[1])
        assert len(out[0]) * len(out[1]) < 1024**2 * 2, "a slide is not read whole"
        return np.add.outer(np.array(out[0]) * 7 % 251, np.array(out[1]) % 4).astype(np.uint8)


def test_slides_are_never_read_whole():
    slide = Counting((100_000, 100_000))
    learned, held = split([image(slide, "YX")], 64, 8)
    for step in range(3):
        batch_of(learned, range(8), 0, step)
    batch_of(held, range(2), 0, 0)
    assert slide.read < 12e6


@settings(max_examples=25, deadline=None)
@given(st.integers(32, 150), st.integers(32, 150), st.integers(0, 2**31))
def test_training_never_touches_what_is_held_out(height, width, seed):
    """The image tells where each pixel lies: its value is its place."""
    pixels = np.arange(height * width, dtype=np.float64).reshape(height, width)
    learned, held = split([image(pixels, "YX")], 16, 8)
    corner = held.images[0].region
    rng = np.random.default_rng(seed)
    for pool, inside in ((learned, False), (held, True)):
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
def test_regions_that_overlap_share_what_is_held_out(top, left, seed):
    whole = image(np.random.default_rng(seed).integers(0, 255, (160, 160), np.uint8), "YX")
    areas = [(Span(0, 100), Span(0, 100)), (Span(top, top + 100), Span(left, left + 100))]
    regions = [replace(whole, region=area) for area in areas]
    learned, held = split(regions, 16, 8)
    holes = [part.region for part in held.images]
    for number in range(20):
        place = learned.draw(np.random.default_rng(number))
        for rows, columns in holes:
            assert not (rows.start - 16 < place.row < rows.stop and columns.start - 16 < place.column < columns.stop)


def test_many_images_are_held_out_whole():
    rng = np.random.default_rng(0)
    images = [image(rng.integers(0, 255, (40, 40), np.uint8), "YX") for _ in range(25)]
    learned, held = split(images, 16, 8)
    assert (len(learned.images), len(held.images)) == (23, 2)
    assert not {id(i.source) for i in learned.images} & {id(i.source) for i in held.images}


def test_all_eight_orientations_come():
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4) * 9
    pool = PatchSampler((image(np.kron(pixels, np.ones((4, 4), np.uint8)), "YX"),), 16)
    patches, _ = batch_of(pool, range(100), 0, 0)
    kinds = {patch.tobytes() for patch in patches}
    whole = pool.images[0].source.data[:].astype(np.float32) / 255
    wanted = {np.ascontiguousarray(np.rot90(w, k)).tobytes() for w in (whole, whole[:, ::-1]) for k in range(4)}
    assert kinds == wanted


def test_pairs_are_turned_together():
    noisy = np.random.default_rng(0).integers(0, 100, (50, 60), np.uint8)
    pair = TrainingImage(open_image(noisy, axes="YX"), 1, open_image(noisy * 2, axes="YX"))
    patches, truths = batch_of(PatchSampler((pair,), 16), range(20), 0, 0)
    np.testing.assert_allclose(truths, patches * 2, rtol=1e-6)


def test_a_batch_does_not_depend_on_how_it_is_divided():
    pool = PatchSampler((image(np.random.default_rng(0).integers(0, 255, (50, 60), np.uint8), "YX"),), 16)
    whole, _ = batch_of(pool, range(8), 3, 5)
    odd, _ = batch_of(pool, range(1, 8, 2), 3, 5)
    np.testing.assert_array_equal(whole[1::2], odd)
    assert len({patch.tobytes() for patch in whole}) > 4


def test_background_is_drawn_less_often():
    pixels = np.full((400, 400), 240, np.uint8)
    pixels[:, :200] = np.random.default_rng(0).integers(0, 255, (400, 200))
    pool = PatchSampler((image(pixels, "YX"),), 16)
    rng = np.random.default_rng(1)
    flat = np.mean([pool.draw(rng).column >= 200 for _ in range(300)])
    assert 0.02 < flat < 0.25


def test_gray_is_repeated_for_an_rgb_network_and_16_bit_is_scaled():
    pixels = np.random.default_rng(0).normal(3000, 300, (3, 64, 64)).astype(np.uint16)
    patches, _ = batch_of(PatchSampler((image(pixels, "ZYX", channels=3),), 16), range(4), 0, 0)
    assert patches.shape == (4, 3, 16, 16)
    np.testing.assert_array_equal(patches[:, 0], patches[:, 2])
    assert 0.2 < patches.mean() < 0.8


def test_rgb_is_learned_colour_by_colour_by_a_gray_network():
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 4), np.uint8)
    one = image(pixels, "YXS", channels=1)
    assert len(one.planes) == 3
    assert batch_of(PatchSampler((one,), 16), range(4), 0, 0)[0].shape == (4, 1, 16, 16)


def test_a_rectangle_drawn_by_the_user_is_kept_to():
    pixels = np.random.default_rng(0).integers(0, 255, (100, 100), np.uint8)
    region = (Span(20, 60), Span(30, 90))
    pool = PatchSampler((TrainingImage(open_image(pixels, axes="YX"), 1, region=region),), 16)
    places = [pool.draw(np.random.default_rng(i)) for i in range(50)]
    assert all(20 <= p.row <= 44 and 30 <= p.column <= 74 for p in places)


NAN = np.random.default_rng(0).random((64, 64)).astype(np.float32)
NAN[5, 5] = np.nan


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.random.default_rng(0).integers(0, 9, (15, 64), np.uint8), "15 x 64 pixels .* choose a smaller patch"),
        (np.random.default_rng(0).integers(0, 9, (20, 20), np.uint8), "too small to hold a part"),
        (np.full((64, 64), 7, np.uint8), "is constant"),
        (NAN, "NaN or infinite"),
    ],
)
def test_images_that_nothing_can_be_learned_from(pixels, said):
    with pytest.raises(TrainingError, match=said):
        split([image(pixels, "YX")], 16, 8)


def test_folders_and_pairs(tmp_path):
    with ExitStack() as files:
        _folders_and_pairs(tmp_path, files)


def _folders_and_pairs(tmp_path, files):
    import tifffile

    for name in ("b.tif", "a.tif"):
        tifffile.imwrite(tmp_path / name, np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    sources = open_images([tmp_path], files)
    assert [source.path.name for source in sources] == ["a.tif", "b.tif"]
    with pytest.raises(TrainingError, match="2 noisy images and 1 clean"):
        make_images(sources, sources[:1], 1)
    with pytest.raises(TrainingError, match=r"a\.tif is both learned from and validated with"):
        check_apart(sources, open_images([tmp_path / "a.tif"], files))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="holds no images"):
        open_images([tmp_path / "empty"], files)
    with pytest.raises(TrainingError, match="there are no images"):
        open_images([], files)
