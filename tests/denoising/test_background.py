import sys
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.denoising.background import (
    SQUARE,
    TOLERANCE,
    find_low_resolution,
    is_background,
    measure_background,
)
from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.errors import ImageError, JobError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.jobs.pipeline.background_tiles import background_map, write_preview
from masked_denoiser.jobs.pipeline.events import Finished
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.tiling.plan import Span

PAPER = (0.9, 0.85, 0.95)


def slide():
    """Return a noisy [256, 320, 3] uint8 slide: paper with a piece of tissue in the lower right."""
    rng = np.random.default_rng(0)
    image = np.broadcast_to(np.float32(PAPER), (256, 320, 3)).copy()
    image[150:230, 200:300] = rng.random((80, 100, 3)) * 0.5
    return (np.clip(image + rng.normal(0, 0.03, image.shape), 0, 1) * 255).round().astype(np.uint8)


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_background_criterion_matches_its_definition(height, width, seed):
    rng = np.random.default_rng(seed)
    tile = np.float32(0.5) + rng.normal(0, 0.02, (2, height, width)).astype(np.float32)
    squares = [
        channel[y : y + SQUARE, x : x + SQUARE].mean(dtype=np.float64)
        for channel in tile
        for y in range(0, height, SQUARE)
        for x in range(0, width, SQUARE)
    ]
    deviation = np.abs(np.array(squares) - 0.5).max()
    if abs(deviation - TOLERANCE) > 1e-9:
        assert is_background(tile, (0.5, 0.5)) == (deviation <= TOLERANCE)


def test_slide_background_is_the_paper_colour():
    source = open_image(slide(), axes="YXS")
    planes = list(list_planes(source.axes, source.sizes, source.rgb))
    found = measure_background(source, planes, {0: IntensityRange(0, 255)}, 0)
    assert found[0] == pytest.approx(PAPER, abs=0.02)


@pytest.mark.parametrize("batch", [1, 3])
def test_skipped_background_is_copied_unchanged(batch):
    image = slide()

    def run(**settings):
        options = Options(noise="none", tile=64, halo=16, batch=batch, **settings)
        prepared = prepare_array(open_image(image, axes="YXS"), model=tiny_model(3), options=options, device="cpu")
        *_, last = prepared.pipeline.run()
        assert isinstance(last, Finished)
        return prepared.pipeline.sink.array, last.skipped

    (whole, none), (fast, skipped) = run(), run(skip_background=True)
    assert (none, 0 < skipped < 20) == (0, True)
    squares = [[np.s_[y : y + 64, x : x + 64] for x in range(0, 320, 64)] for y in range(0, 256, 64)]
    copied = np.array([[np.array_equal(fast[at], image[at]) for at in row] for row in squares])
    assert copied.sum() == skipped
    for y, x in np.argwhere(~copied) * 64:
        np.testing.assert_array_equal(fast[y : y + 64, x : x + 64], whole[y : y + 64, x : x + 64])
    assert not copied[2:4, 3:5].any()  # where the tissue is


def with_pyramid(image, *factors):
    """Return the image as a source whose levels are means over squares of these sides."""
    levels = [image]
    for f in factors:
        height, width = (-(-side // f) * f for side in image.shape[:2])
        whole = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), "edge")
        means = whole.reshape(height // f, f, width // f, f, 3).mean(axis=(1, 3))
        levels.append(means.round().astype(np.uint8))
    return Source(image, "YXS", rgb=True, levels=tuple(levels))


def skipped_by(source):
    """Return a job's background map, which tiles were copied unchanged, and the job (tiles of 64, halo 16)."""
    options = Options(noise="none", tile=64, halo=16, skip_background=True)
    prepared = prepare_array(source, model=tiny_model(3), options=options, device="cpu")
    list(prepared.pipeline.run())
    before, after = np.asarray(source.data), prepared.pipeline.sink.array
    squares = [np.s_[t.core[0].index, t.core[1].index] for t in prepared.job.plan]
    same = [np.array_equal(before[at], after[at]) for at in squares]
    shown = background_map(source, prepared.job, prepared.job.planes[0])
    return shown, np.reshape(same, shown.shape), prepared.job


def test_level_nearest_to_a_sixteenth_is_selected():
    image = slide()
    for factors, chosen in (((2, 4, 8, 16, 32), 16), ((2, 4), 4), ((2, 32), 32), ((2,), None), ((), None)):
        found = find_low_resolution(with_pyramid(image, *factors))
        assert (found and found.factors[0]) == chosen


def test_threads_may_read_a_level(monkeypatch):
    """As blocks of lazy images do."""
    image = np.full((1024, 64, 3), 230, np.uint8)
    source = with_pyramid(image, 16)
    level, (plane,) = find_low_resolution(source), list_planes("YXS", source.sizes, True)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            spans = [(Span(16 * (i % 64), 16 * (i % 64) + 16), Span(0, 64)) for i in range(20_000)]
            read = pool.map(lambda span: level.read_unit(plane, span, IntensityRange(0.0, 255.0)).shape, spans)
            assert set(read) == {(3, 1, 4)}
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize("factors", [(), (4,), (2, 8), (16,), (7,)])
def test_skipped_tiles_match_the_background_map(factors):
    shown, skipped, _ = skipped_by(with_pyramid(slide(), *factors))
    assert skipped.sum() > 4
    assert not (skipped & ~shown).any()
    assert (shown ^ skipped).sum() <= 2  # means over squares that lie elsewhere
    assert not shown[2:4, 3:5].any()


def test_skipping_requires_both_level_and_full_resolution():
    """A cell missing from the pyramid is found at full resolution; one only in the pyramid prevents skipping, too."""
    image = np.full((256, 320, 3), 230, np.uint8)
    image[70:86, 70:86] = 40  # in the tile (1, 1), and in no halo
    lost = np.full((16, 20, 3), 230, np.uint8)
    lost[9, 14] = 100  # in the tile (2, 3), and in the halos above and to the left of it
    shown, skipped, _ = skipped_by(Source(image, "YXS", rgb=True, levels=(image, lost)))
    assert shown[1, 1]
    assert not skipped[1, 1]
    assert not shown[2, 3]
    assert not skipped[2, 3]
    assert skipped.sum() >= 10


def test_damaged_level_is_named(tmp_path):
    class Damaged(np.ndarray):
        def __getitem__(self, key):
            raise ValueError("a chunk is torn")

    image = slide()
    levels = (image, image[::16, ::16].view(Damaged))
    source = Source(image, "YXS", rgb=True, levels=levels, path=tmp_path)
    with pytest.raises(ImageError, match=r"level of 16 x 20 pixels; without --skip-background"):
        skipped_by(source)


def test_preview_tints_background_tiles(tmp_path):
    source = with_pyramid(slide(), 4, 16)
    shown, _, job = skipped_by(source)
    write_preview(source, job, tmp_path / "map.png")
    picture = imagecodecs.png_decode((tmp_path / "map.png").read_bytes()).astype(int)
    assert picture.shape == (256, 320, 3)
    tinted = (picture[..., 2] - picture[..., 0]).reshape(4, 64, 5, 64).mean(axis=(1, 3)) > 60
    np.testing.assert_array_equal(tinted, shown)
    for name in ("map.png", "map.jpg"):
        with pytest.raises(JobError, match="another name"):
            write_preview(source, job, tmp_path / name)
