import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.denoising.background import SQUARE, TOLERANCE, is_background, measure_background
from masked_denoiser.denoising.check import tiny_model
from masked_denoiser.denoising.events import Finished
from masked_denoiser.denoising.intensity import Range
from masked_denoiser.denoising.job import Options
from masked_denoiser.denoising.prepare import prepare_array
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes

PAPER = (0.9, 0.85, 0.95)


def slide():
    """Paper with a piece of tissue in the lower right, and noise all over."""
    rng = np.random.default_rng(0)
    image = np.broadcast_to(np.float32(PAPER), (256, 320, 3)).copy()
    image[150:230, 200:300] = rng.random((80, 100, 3)) * 0.5
    return (np.clip(image + rng.normal(0, 0.03, image.shape), 0, 1) * 255).round().astype(np.uint8)


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_the_criterion_is_that_of_its_definition(height, width, seed):
    rng = np.random.default_rng(seed)
    tile = np.float32(0.5) + rng.normal(0, 0.02, (2, height, width)).astype(np.float32)
    squares = [
        channel[y : y + SQUARE, x : x + SQUARE].mean(dtype=np.float64)
        for channel in tile
        for y in range(0, height, SQUARE)
        for x in range(0, width, SQUARE)
    ]
    off = np.abs(np.array(squares) - 0.5).max()
    if abs(off - TOLERANCE) > 1e-9:
        assert is_background(tile, (0.5, 0.5)) == (off <= TOLERANCE)


def test_the_background_of_a_slide_is_its_paper():
    source = open_image(slide(), axes="YXS")
    planes = list(list_planes(source.axes, source.sizes, source.rgb))
    found = measure_background(source, planes, {0: Range(0, 255)}, 0)
    assert found[0] == pytest.approx(PAPER, abs=0.02)


@pytest.mark.parametrize("batch", [1, 3])
def test_background_is_passed_through_and_the_rest_is_as_without(batch):
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
