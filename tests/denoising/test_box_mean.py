"""Box means equal those of scipy, and do not depend on the position in a tile."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from masked_denoiser.denoising.correction.box_mean import box_mean


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3, 7, 33, 63]), st.integers(0, 9))
def test_box_mean_equals_scipy(height, width, side, seed):
    images = np.random.default_rng(seed).normal(size=(2, height, width)).astype(np.float32)
    ours = box_mean(torch.from_numpy(images), side).numpy()
    expected = uniform_filter(images.astype(np.float64), (0, side, side), mode="reflect")
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=2e-6)


@given(st.integers(0, 60), st.integers(0, 60))
def test_box_mean_does_not_depend_on_the_position(top, left):
    images = torch.randn(1, 160, 160, generator=torch.Generator().manual_seed(0))
    part = box_mean(images[:, top : top + 100, left : left + 97], 33)[:, 16:-16, 16:-16]
    torch.testing.assert_close(
        part, box_mean(images, 33)[:, top + 16 : top + 84, left + 16 : left + 81], rtol=0, atol=0
    )
