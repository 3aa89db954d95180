"""RGB images of merged fluorophores are denoised per colour, others jointly."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.data import astronaut, immunohistochemistry

import masked_denoiser as md
from masked_denoiser.denoising.intensity.colours import colours_are_related, shows_a_channel_in_colour
from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.dry_run import plan_job
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options


def merged(seed=0, side=256):
    """Return three unrelated fields, [side, side, 3] in grey levels."""
    fields = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side, 3)), (3, 3, 0))
    return 60 + 700 * np.clip(fields, 0, None)


def noisy(image, sigma, same=False):
    noise = np.random.default_rng(1).normal(0, sigma, image.shape[:2] + ((1,) if same else (3,)))
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def source(pixels):
    return open_image(pixels, axes="YXS")


@pytest.mark.parametrize("sigma", [0, 15, 50])
@pytest.mark.parametrize("same", [False, True])
def test_colour_comparison_is_independent_of_noise(sigma, same):
    """Shared noise does not make colours related, and independent noise does not hide a relation."""
    assert not colours_are_related(source(noisy(merged(), sigma, same)))
    for image in (astronaut()[:300, 100:400], immunohistochemistry()[:300, :300]):
        assert colours_are_related(source(noisy(image, sigma, same)))


def test_uninformative_colours_stay_together():
    red_only = merged()
    red_only[..., 1:] = 0
    gray = merged()[..., :1].repeat(3, axis=2)
    for image in (red_only, gray, np.full((64, 64, 3), 100.0), np.zeros((8, 8, 3))):
        assert colours_are_related(source(noisy(image, 0)))


def test_auto_separates_merged_colours_unless_a_model_is_named():
    pixels = noisy(merged(), 15)
    prepared = prepare_array(source(pixels))
    assert (prepared.job.channels, prepared.job.model) == ("each", "general-gray")
    assert any("separately" in message for message in prepared.messages)
    assert plan_job(source(pixels), "auto", Options(), "cpu")["model"] == "general-gray"
    for how in ({"model": "general-rgb"}, {"options": Options(channels="rgb")}):
        assert prepare_array(source(pixels), **how).job.model == "general-rgb"
    assert prepare_array(source(noisy(astronaut()[:200, :200], 15))).job.model == "general-rgb"


def test_merged_colours_are_denoised_better_separately():
    truth = merged()
    pixels = noisy(truth, 20)
    errors = [
        float(((md.denoise(pixels, axes="YXS", device="cpu", **how).astype(float) - truth.clip(0, 255)) ** 2).mean())
        for how in ({}, {"channels": "rgb"})
    ]
    assert errors[0] < 0.8 * errors[1]


def test_batch_and_single_file_agree_on_colours(tmp_path):
    import tifffile

    from masked_denoiser.jobs.batch.outputs import Pair
    from masked_denoiser.jobs.batch.prepare import Preparer

    path = tmp_path / "merged.tif"
    tifffile.imwrite(path, noisy(merged(side=128), 15), photometric="rgb")
    with Preparer()(Pair(path, tmp_path / "out.ome.tif")) as prepared:
        assert (prepared.job.channels, prepared.job.model) == ("each", "general-gray")


@pytest.mark.parametrize("tint", [(0, 1, 1), (1, 0.6, 0.1), (0, 1, 0), (0.95, 0.9, 0.85)])
def test_one_channel_in_colour_is_denoised_as_that_channel(tint):
    truth = merged()[:128, :128, :1]
    channel = np.rint(truth + np.random.default_rng(1).normal(0, 12, truth.shape)).clip(0, 255)
    tinted = np.rint(channel * tint).astype(np.uint8)
    for stored in (tinted, tinted.astype(np.float32), tinted / np.float32(255)):
        assert shows_a_channel_in_colour(source(stored))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty colours
        result = md.denoise(tinted, axes="YXS", device="cpu")
    strongest = int(np.argmax(tint))
    error = result[..., strongest] - truth[..., 0] * tint[strongest]
    assert np.std(error) < 0.4 * 12


def test_colours_of_a_magenta_and_green_merge_are_denoised_separately():
    first, second = merged()[:128, :128, 0], merged(seed=1)[:128, :128, 0]
    truth = np.dstack([second, first, second])
    noise = np.random.default_rng(1).normal(0, 12, (2, 128, 128))
    pixels = np.clip(np.rint(truth + noise[[1, 0, 1]].transpose(1, 2, 0)), 0, 255).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = md.denoise(pixels, axes="YXS", device="cpu")
    assert np.array_equal(result[..., 0], result[..., 2])
    assert np.sqrt(np.mean((result - np.clip(truth, 0, 255)) ** 2)) < 0.4 * 12


def test_images_of_cameras_and_gray_ones_are_no_single_channel():
    gray = merged()[..., :1].repeat(3, axis=2)
    for image in (astronaut()[:200, :200], immunohistochemistry()[:200, :200], gray, merged()):
        assert not shows_a_channel_in_colour(source(noisy(image, 0)))
