import numpy as np
import pytest
import torch

from masked_denoiser.network.build import config_from_dict
from masked_denoiser.network.config import ConfigError
from masked_denoiser.network.masks import MASKED_PIXEL, HashedTokenMask
from masked_denoiser.network.ushape import MaskedU, fill_masked
from masked_denoiser.network.ushape_config import UConfig

SMALL = UConfig(widths=(8, 16), blocks=(1, 1), attention=2, heads=2, mean=(0.4, 0.4, 0.4))


def random_network(config, seed=0):
    torch.manual_seed(seed)
    network = MaskedU(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return network.eval()


@pytest.mark.parametrize("unshuffle", [1, 2, 4])
def test_training_begins_with_the_identity(unshuffle):
    image = torch.rand(2, 3, 64, 64)
    network = MaskedU(UConfig(unshuffle=unshuffle, widths=(8, 16), blocks=(1, 0), attention=1, heads=2))
    assert torch.equal(network(image), image)


def plainly_filled(image, masked):
    """Each masked pixel is the mean of the visible ones in the smallest square that has any; [C, H, W] NumPy."""
    out = image.copy()
    for y, x in zip(*np.nonzero(masked), strict=True):
        out[:, y, x] = 0.5
        for reach in (1, 2, 4, 8):
            rows = slice(max(0, y - reach), y + reach + 1)
            cols = slice(max(0, x - reach), x + reach + 1)
            if (~masked[rows, cols]).any():
                out[:, y, x] = image[:, rows, cols][:, ~masked[rows, cols]].mean(axis=1)
                break
    return out


@pytest.mark.parametrize("share", [0.2, 0.9, 0.999, 1.0])
def test_masked_pixels_are_filled_from_their_visible_neighbours(share):
    rng = np.random.default_rng(0)
    image, masked = rng.random((3, 40, 40)), rng.random((40, 40)) < share
    visible = torch.from_numpy(~masked)[None, None].double()
    ours = fill_masked(torch.from_numpy(image)[None], visible)[0].numpy()
    assert np.abs(ours - plainly_filled(image, masked)).max() < 1e-12


def test_what_lies_under_a_mask_cannot_be_seen_and_the_rest_can():
    """By gradient, through masked pixels and the whole network."""
    network = random_network(SMALL)
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    masked = torch.rand(1, 1, 64, 64) < 0.5
    network(image.masked_fill(masked, MASKED_PIXEL)).square().sum().backward()
    hidden = masked.expand_as(image)
    assert not image.grad[hidden].any()
    assert image.grad[~hidden].ne(0).float().mean() > 0.99


def test_a_masked_token_reaches_no_other_token():
    class AllButOne:
        def keep(self, block, shift, window, shape):
            mask = torch.ones(1, *shape[1:], 1)
            mask[0, 3, 3] = 0
            return mask

    network = random_network(UConfig(widths=(8, 16), blocks=(0, 0), attention=1, heads=2))
    given = {}
    block = network.attention.residual_group.blocks[0]
    block.register_forward_pre_hook(lambda _module, given_: given.update(x=given_[0].detach(), tokens=given_[1]))
    network(torch.rand(1, 3, 64, 64), AllButOne())
    x = given["x"].requires_grad_()
    others = torch.ones(1, 32, 32, 1)
    others[0, 3, 3] = 0
    (block(x, given["tokens"]) * others).square().sum().backward()
    assert not x.grad[0, 3, 3].any()
    assert x.grad.ne(0).any(-1).sum() == 32 * 32 - 1


def test_the_attention_mask_is_that_of_the_place_in_the_image():
    """A tile that begins in the middle has the tokens of the whole image's mask there."""
    whole = HashedTokenMask(0.75, 1, 0, ((0, 0),), scale=4).keep(1, 4, 8, (1, 32, 32))
    tile = HashedTokenMask(0.75, 1, 0, ((32, 64),), scale=4).keep(1, 4, 8, (1, 16, 16))
    assert torch.equal(tile, whole[:, 8:24, 16:32])
    with pytest.raises(ValueError, match="grid of 32-pixel windows"):
        HashedTokenMask(0.75, 1, 0, ((8, 0),), scale=4).keep(0, 0, 8, (1, 16, 16))


def test_configuration_survives_json_and_says_its_kind():
    assert config_from_dict(SMALL.to_dict()) == SMALL
    assert SMALL.to_dict()["kind"] == "u"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"unshuffle": 3}, "unshuffle is 3"),
        ({"widths": (8, 16)}, "2 widths but 3 blocks"),
        ({"heads": 5}, "not a multiple of every number of heads"),
        ({"attention": 0}, "at least one block"),
        ({"widths": "wide"}, "network setting widths is 'wide'"),
        ({"kind": "v"}, "networks of kind 'v' are unknown"),
        ({"depths": [1]}, "unknown network settings"),
    ],
)
def test_impossible_networks_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        config_from_dict({"kind": "u", **settings})
