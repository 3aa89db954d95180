import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.network.masks import (
    MASKED_PIXEL,
    HashedTokenMask,
    RandomTokenMask,
    hashed_windows,
    kept_tokens,
    mask_pixels,
)

from . import plain


def test_input_mask_hides_the_requested_share_of_pixels():
    images = torch.rand(64, 3, 64, 64) * 0.5 + 0.25
    out, masked = mask_pixels(images, 0.8, 0.9, torch.Generator().manual_seed(0))
    hidden = masked.expand_as(images)
    assert (out[hidden] == MASKED_PIXEL).all()
    assert torch.equal(out[~hidden], images[~hidden])
    shares = masked.float().mean((1, 2, 3))
    assert 0.78 < shares.min() < 0.82
    assert 0.88 < shares.max() < 0.92  # each patch draws its own share from the range


def test_input_mask_refuses_an_impossible_share():
    with pytest.raises(ValueError, match=r"0.9..0.8"):
        mask_pixels(torch.zeros(1, 1, 8, 8), 0.9, 0.8, torch.Generator())


def windows(mask, shift, window=8):
    """Return the whole windows of a keep map [B, H, W, 1] as [N, window * window], without those cut by a border."""
    b = mask.shape[0]
    inner = mask[:, window - shift :, window - shift :, 0] if shift else mask[..., 0]
    rows, cols = inner.shape[1] // window, inner.shape[2] // window
    inner = inner[:, : rows * window, : cols * window].reshape(b, rows, window, cols, window)
    return inner.transpose(2, 3).reshape(-1, window * window)


@pytest.mark.parametrize("shift", [0, 4])
def test_every_window_keeps_a_quarter_of_its_tokens(shift):
    random = RandomTokenMask(0.75, torch.Generator().manual_seed(0)).keep(0, shift, 8, (2, 32, 48))
    hashed = HashedTokenMask(0.75, 0, 0, ((0, 0), (8, 16))).keep(3, shift, 8, (2, 32, 48))
    for mask in (random, hashed):
        assert mask.shape == (2, 32, 48, 1)
        assert kept_tokens(0.75, 8) == 16
        assert (windows(mask, shift).sum(1) == 16).all()


@given(row=st.integers(0, 12500), col=st.integers(0, 12500), block=st.integers(0, 23), shift=st.sampled_from([0, 4]))
def test_hashed_mask_depends_on_image_position(row, col, block, shift):
    whole = HashedTokenMask(0.75, 7, 1, ((row * 8, col * 8),)).keep(block, shift, 8, (1, 48, 48))
    part = HashedTokenMask(0.75, 7, 1, ((row * 8 + 16, col * 8 + 8),)).keep(block, shift, 8, (1, 24, 32))
    assert torch.equal(whole[:, 16:40, 8:40], part)


def test_hashed_mask_differs_with_every_counter():
    def mask(seed=0, number=0, block=0, origin=(0, 0)):
        return HashedTokenMask(0.75, seed, number, (origin,)).keep(block, 0, 8, (1, 64, 64))

    base = mask()
    for other in (mask(seed=1), mask(number=1), mask(block=1), mask(origin=(8, 0)), mask(origin=(0, 8))):
        # Two independent masks agree in 0.25^2 + 0.75^2 of the tokens.
        assert 0.58 < (base == other).float().mean() < 0.67


def test_hashed_mask_is_uniform_over_tokens():
    counts = windows(HashedTokenMask(0.75, 0, 0, ((0, 0),)).keep(0, 0, 8, (1, 512, 512)), 0).mean(0)
    assert np.allclose(counts, 0.25, atol=5 * np.sqrt(0.25 * 0.75 / 4096))


def test_hashed_mask_is_stable():
    """Journals and published results rely on this mask, so it must never change."""
    mask = HashedTokenMask(0.75, 1, 2, ((64, 128),)).keep(5, 4, 8, (1, 8, 8))[0, ..., 0].int()
    assert ["".join(map(str, row)) for row in mask.tolist()] == [
        "00001000",
        "00000000",
        "00100000",
        "00000000",
        "10100100",
        "01000000",
        "00000001",
        "00010011",
    ]


@given(st.integers(0, 2**63 - 1), st.integers(0, 100), st.integers(-3, 2**40))
def test_hashed_mask_matches_splitmix64(seed, number, start):
    """The mask must stay that of unsigned SplitMix64, or old jobs could not be resumed."""
    rows, cols = np.arange(max(start, 0), max(start, 0) + 3), np.arange(4)
    ours = hashed_windows((seed, number, 5), torch.from_numpy(rows), torch.from_numpy(cols), 8, 16)
    np.testing.assert_array_equal(ours.numpy(), plain.hashed_windows((seed, number, 5), rows, cols, 8, 16))


def test_masks_of_another_device_do_not_combine_its_tensors_with_those_of_the_cpu():
    keep = HashedTokenMask(0.75, 0, 0, ((0, 0), (64, 8)), device="meta").keep(1, 4, 8, (2, 32, 32))
    assert keep.device.type == "meta"
    assert keep.shape == (2, 32, 32, 1)
