"""Tests that images of the same field are held out together."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.data import camera, coins, immunohistochemistry

from masked_denoiser.images.open import open_image
from masked_denoiser.training.data.dataset import make_images
from masked_denoiser.training.data.related import related_groups
from masked_denoiser.training.data.validation_split import split_for_validation


def field(seed, side=256):
    rng = np.random.default_rng(seed)
    return (gaussian_filter(rng.normal(size=(side, side)), 3) * 600 + 128).clip(0, 255)


def noisy(image, seed, sigma=15):
    return (image + np.random.default_rng(seed).normal(0, sigma, image.shape)).clip(0, 255).astype(np.uint8)


def sources(images):
    return [open_image(image, axes="YX") for image in images]


def test_exposures_and_crops_of_one_field_are_related():
    a, b = field(0), field(1)
    images = [noisy(a, 1), noisy(b, 2), noisy(0.6 * a, 3), noisy(a, 4)[40:200, 64:240], noisy(field(5), 6)]
    assert related_groups(sources(images)) == [[0, 2, 3], [1], [4]]


def test_photographs_and_uneven_light_are_not_related():
    ys, xs = np.mgrid[-1:1:256j, -1:1:256j]
    light = 1 - 0.5 * (xs**2 + ys**2)
    shaded = [noisy(field(seed) * light, seed) for seed in range(6)]
    photographs = [camera()[:300, :300], coins()[:300, :300], immunohistochemistry()[:300, :300, 0]]
    groups = related_groups(sources([*shaded, *photographs]))
    assert len(groups) == 9


def test_neighbouring_slices_are_related():
    volume = gaussian_filter(np.random.default_rng(0).normal(size=(12, 200, 200)), (3, 3, 3)) * 1500 + 128
    assert related_groups(sources([noisy(plane, i) for i, plane in enumerate(volume[4:8])])) == [[0, 1, 2, 3]]


def test_whole_groups_are_held_out():
    images = [noisy(field(number // 4), number) for number in range(24)]
    training, validation = split_for_validation(make_images(sources(images), [], 1), 64, 8)
    fields = [{number // 4 for number, image in enumerate(images) if any(image is i.source.data for i in pool.images)}
              for pool in (training, validation)]  # fmt: skip
    assert len(validation.images) == 4
    assert not fields[0] & fields[1]


def test_corner_is_held_out_of_exposures_of_one_field():
    training, validation = split_for_validation(
        make_images(sources([noisy(field(0), n) for n in range(12)]), [], 1), 64, 8
    )
    assert len(training.images) == 12
    assert {image.held_out for image in training.images} == {(validation.images[0].region,)}, "the same corner of all"
