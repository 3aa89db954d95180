"""Tests of PSNR and SSIM against their published formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from masked_denoiser.evaluation.metrics import psnr, ssim, to_8_bit
from masked_denoiser.evaluation.pictures import save_png, side_by_side


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    truth = gaussian_filter(rng.random((3, 60, 50)), (0, 2, 2))
    truth = (truth - truth.min()) / np.ptp(truth)
    return truth + rng.normal(0, 0.05, truth.shape), truth


def test_psnr(pair):
    image, truth = pair
    a, b = np.rint(np.clip(image, 0, 1) * 255), np.rint(truth * 255)
    assert psnr(image, truth) == pytest.approx(10 * np.log10(255**2 / np.mean((a - b) ** 2)))
    assert psnr(truth, truth.copy()) == np.inf


def test_ssim(pair):
    """Compare with equation 13 of Wang et al. 2004, its 11 x 11 Gaussian of sigma 1.5 and its constants."""
    x, y = (to_8_bit(image).astype(np.float64) for image in pair)

    def mean(v):
        return gaussian_filter(v, (0, 1.5, 1.5), truncate=3.5)

    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim_map = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(*pair) == pytest.approx(ssim_map[:, 5:-5, 5:-5].mean(), abs=1e-6)
    assert ssim(pair[1], pair[1]) == pytest.approx(1)


def test_pictures_side_by_side(tmp_path):
    from PIL import Image

    red, gray = np.zeros((3, 4, 5)), np.full((1, 4, 5), 0.5)
    red[0] = 1
    picture = side_by_side([[red, gray], [gray, red]])
    assert picture.shape == (4 + 2 + 4, 5 + 2 + 5, 3)
    assert picture[0, 0].tolist() == [255, 0, 0]
    assert picture[0, 7].tolist() == [128, 128, 128]
    assert picture[:, 5:7].min() == 255
    save_png(tmp_path / "picture.png", picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "picture.png")), picture)
