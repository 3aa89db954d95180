"""RGB images whose colours are fluorophores are denoised colour by colour, others together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.data import astronaut, immunohistochemistry

import masked_denoiser as md
from masked_denoiser.denoising.intensity.colours import colours_are_related
from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.dry_run import plan_job
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options


def merged(seed=0, side=256):
    """Three fields that have nothing to do with each other, [side, side, 3] in grey levels."""
    fields = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side, 3)), (3, 3, 0))
    return 60 + 700 * np.clip(fields, 0, None)


def noisy(image, sigma, same=False):
    noise = np.random.default_rng(1).normal(0, sigma, image.shape[:2] + ((1,) if same else (3,)))
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def source(pixels):
    return open_image(pixels, axes="YXS")


@pytest.mark.parametrize("sigma", [0, 15, 50])
@pytest.mark.parametrize("same", [False, True])
def test_colours_are_compared_whatever_the_noise(sigma, same):
    """Noise that all colours share is no image that they share, and noise of their own hides none."""
    assert not colours_are_related(source(noisy(merged(), sigma, same)))
    for image in (astronaut()[:300, 100:400], immunohistochemistry()[:300, :300]):
        assert colours_are_related(source(noisy(image, sigma, same)))


def test_where_colours_tell_nothing_they_stay_together():
    one = merged()
    one[..., 1:] = 0
    gray = merged()[..., :1].repeat(3, axis=2)
    for image in (one, gray, np.full((64, 64, 3), 100.0), np.zeros((8, 8, 3))):
        assert colours_are_related(source(noisy(image, 0)))


def test_auto_takes_merged_colours_one_by_one_and_a_named_model_does_not():
    pixels = noisy(merged(), 15)
    prepared = prepare_array(source(pixels))
    assert (prepared.job.channels, prepared.job.model) == ("each", "general-gray")
    assert any("one by one" in message for message in prepared.messages)
    assert plan_job(source(pixels), "auto", Options(), "cpu")["model"] == "general-gray"
    for how in ({"model": "general-rgb"}, {"options": Options(channels="rgb")}):
        assert prepare_array(source(pixels), **how).job.model == "general-rgb"
    assert prepare_array(source(noisy(astronaut()[:200, :200], 15))).job.model == "general-rgb"


def test_merged_colours_are_denoised_better_one_by_one():
    truth = merged()
    pixels = noisy(truth, 20)
    errors = [
        float(((md.denoise(pixels, axes="YXS", device="cpu", **how).astype(float) - truth.clip(0, 255)) ** 2).mean())
        for how in ({}, {"channels": "rgb"})
    ]
    assert errors[0] < 0.8 * errors[1]


def test_a_list_and_a_file_take_the_same_way(tmp_path):
    import tifffile

    from masked_denoiser.jobs.batch.outputs import Pair
    from masked_denoiser.jobs.batch.prepare import Preparer

    path = tmp_path / "merged.tif"
    tifffile.imwrite(path, noisy(merged(side=128), 15), photometric="rgb")
    with Preparer()(Pair(path, tmp_path / "out.ome.tif")) as prepared:
        assert (prepared.job.channels, prepared.job.model) == ("each", "general-gray")
