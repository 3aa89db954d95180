import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import gaussian_filter
from tifffile import imread

from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.api import denoise
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.resolve import make_job
from masked_denoiser.models.catalogue import load_model
from masked_denoiser.network.reach import exact_halo
from masked_denoiser.noise.impulses import find_impulses, measure_impulses, repair
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import add_noise
from masked_denoiser.samples import sample_path

floats = st.floats(0, 1, width=32)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7), elements=floats), floats)
def test_impulses_differ_from_all_neighbours_but_one(tile, threshold):
    found = find_impulses(tile[None], threshold)[0]
    padded = np.pad(tile, 1, mode="reflect")
    for y, x in np.ndindex(tile.shape):
        neighbours = np.delete(padded[y : y + 3, x : x + 3].ravel(), 4)
        assert found[y, x] == (np.sort(np.abs(neighbours - tile[y, x]))[1] > threshold)


def test_impulses_become_the_mean_of_valid_neighbours():
    tile = np.full((9, 9), 0.5, np.float32)
    tile[4, 4] = tile[4, 5] = 1.0  # two that touch
    tile[7] = 0.9  # a line
    tile[1:3, 1:3] = 0.1  # a spot
    wanted = tile.copy()
    wanted[4, 4:6] = 0.5
    impulses = find_impulses(tile[None, None], 0.2)
    assert impulses.sum() == 2
    np.testing.assert_allclose(repair(tile[None, None], impulses)[0, 0], wanted, atol=1e-6)
    np.testing.assert_array_equal(repair(tile, np.zeros(tile.shape, bool)), tile)


def noisy(text):
    clean = imread(sample_path("slide-clean"))[:192, :160]
    planes = torch.from_numpy(np.moveaxis(clean, 2, 0)[None] / np.float32(255))
    out = add_noise(planes, parse_noise(text), torch.Generator().manual_seed(0))
    return np.moveaxis(np.rint(out[0].numpy() * 255).astype(np.uint8), 0, 2), clean


@pytest.mark.parametrize(
    ("text", "least"), [("salt_and_pepper(density=0.02)", 31), ("gaussian(sigma=15)+salt_and_pepper(density=0.02)", 27)]
)
@pytest.mark.filterwarnings("ignore:noise")
def test_salt_and_pepper_is_removed(text, least):
    image, clean = noisy(text)
    out = denoise(image, axes="YXS", device="cpu")
    error = np.mean((out.astype(float) - clean) ** 2) / 255**2
    assert -10 * np.log10(error) > least


def ramp(side=200):
    """Return a gentle slope [side, side] with weak noise."""
    return np.linspace(90, 120, side)[None] + np.random.default_rng(0).normal(0, 0.4, (side, side))


@pytest.mark.parametrize("value", [140, 180, 255, 0])
def test_detected_impulses_are_replaced(value):
    """Stuck pixels share one value, however near the image intensities it is."""
    clean = ramp()
    hot = np.random.default_rng(1).random(clean.shape) < 0.01
    image = np.where(hot, value, np.rint(clean)).astype(np.uint8)
    prepared = prepare_array(open_image(image, axes="YX"), device="cpu")
    assert any("replaced" in message for message in prepared.messages)
    list(prepared.pipeline.run())
    errors = np.abs(prepared.pipeline.sink.array[hot] - clean[hot])
    assert (errors < 3).mean() > 0.95


def test_image_points_are_not_impulses():
    """Isolated pixels of different brightness, and beads that spread to their neighbours, are not impulses."""
    clean = ramp() / 255
    rng = np.random.default_rng(1)
    points = rng.random(clean.shape) < 0.005
    varied = clean + points * rng.uniform(0.2, 0.5, clean.shape)
    beads = clean + 0.4 * np.minimum(gaussian_filter(points.astype(float), 0.6) * 2.6, 1)
    for image in (varied, beads):
        found = measure_impulses([image], 0.0)
        assert found.share == 0
        assert not found.mask(image).any()
    assert measure_impulses([varied]).lone > 0.003
    assert measure_impulses([beads]).points
    assert measure_impulses([np.where(points, 1.0, clean)]).share == pytest.approx(points.mean(), rel=0.1)


def test_tiled_impulse_repair_matches_whole_image():
    image, _ = noisy("gaussian(sigma=15)+salt_and_pepper(density=0.02)")
    image = image.astype(np.float32) / 255
    whole = denoise(image, axes="YXS", device="cpu", options=Options(tile=512, halo=0))
    tiled = denoise(image, axes="YXS", device="cpu", options=Options(tile=64, halo="exact"))
    assert np.abs(tiled - whole).max() <= 1e-5
    model = load_model("general-rgb")
    job = make_job(open_image(image, axes="YXS"), model, Options(tile=64, halo="exact"), "cpu")
    assert job.treatments[0][1].impulse_height > 0
    assert job.halo > exact_halo(model.card.architecture)


@pytest.mark.parametrize("top", [500, 900, 1300])
def test_hot_pixels_far_beyond_the_range_are_removed(top):
    """The limit of impulses is stored with six digits, so that it may be above them."""
    rng = np.random.default_rng(0)
    truth = np.linspace(100, top, 160) + np.zeros((160, 1))
    noisy = truth + rng.normal(0, 20, truth.shape)
    hot = rng.random(noisy.shape) < 0.004
    noisy[hot] = 65535
    out = denoise(noisy.round().astype(np.uint16), axes="YX", device="cpu")
    assert np.sqrt(np.mean((out - truth) ** 2)) < 0.4 * 20


def test_hot_pixels_beyond_the_range_stay_removed():
    """Corrections also apply to values beyond the range."""
    rng = np.random.default_rng(0)
    image = rng.normal(1000, 20, (160, 160))
    image += np.linspace(0, 300, 160)
    hot = rng.random(image.shape) < 0.004
    image[hot] = 60000
    out = denoise(image.astype(np.uint16), axes="YX", device="cpu", options=Options(intensity=(900, 1500)))
    assert out[hot].max() < 1500
