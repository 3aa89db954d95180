"""Noise is measured where there is something to measure, in sparse images and in stacks with empty planes."""

import numpy as np
import pytest

from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.measurement.sample import NoiseSample, read_sample
from masked_denoiser.denoising.noise_measurement import measure_noise
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes

SIGMA = 12


def noisy_object(side):
    """Return a noisy ramp [side, side] float64."""
    ramp = np.linspace(60, 160, side) + np.zeros((side, 1))
    return ramp + np.random.default_rng(0).normal(0, SIGMA, (side, side))


def sample_of(pixels, axes, count=24):
    source = open_image(pixels, axes=axes)
    planes = list(list_planes(source.axes, source.sizes, source.rgb))
    return read_sample(source, planes, IntensityRange(0.0, 255.0, 0.0), 0, count)


def measured_sigma(pixels, axes):
    measurement = measure_noise(open_image(pixels, axes=axes))
    return measurement.estimate.channels[0].sigma * measurement.samples[0].intensity_range.span


@pytest.mark.parametrize("corner", [(100, 100), (700, 1300)])
def test_small_object_on_a_masked_background_is_found(corner):
    image = np.zeros((2400, 2400), np.uint8)
    image[corner[0] :, corner[1] :][:300, :300] = np.clip(noisy_object(300), 0, 255)
    assert measured_sigma(image, "YX") == pytest.approx(SIGMA, rel=0.12)


def test_empty_planes_are_replaced_by_others():
    stack = np.zeros((40, 512, 512), np.uint8)
    stack[19:21] = np.clip(noisy_object(512), 0, 255)
    assert measured_sigma(stack, "ZYX") == pytest.approx(SIGMA, rel=0.12)


def test_several_planes_are_read_of_a_stack_of_large_planes():
    stack = np.broadcast_to(np.arange(1, 41, dtype=np.uint8)[:, None, None], (40, 1000, 1000)).copy()
    stack[:, ::2] += 100
    tiles = sample_of(stack, "ZYX").tiles
    assert len({int(tile.min()) for tile in tiles}) >= 12


def test_image_of_one_value_is_read_as_it_is():
    sample = sample_of(np.full((1500, 1500), 7, np.uint8), "YX", count=4)
    assert [tile.shape for tile in sample.tiles] == [(1, 256, 256)] * 4


def test_ratio_of_the_noise_of_planes_is_found():
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 64) + np.zeros((1, 64, 1))
    for ratio in (1.0, 3.0):
        stacks = tuple(ramp + sigma * rng.normal(size=ramp.shape) for sigma in (0.02, 0.02 * ratio))
        sample = NoiseSample(stacks, (None, None), IntensityRange(0.0, 1.0), 0.0)
        assert sample.noise_ratio == pytest.approx(ratio, rel=0.1)
