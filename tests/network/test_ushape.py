import numpy as np
import pytest
import torch

from masked_denoiser.errors import ConfigError
from masked_denoiser.network.build import config_from_dict
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
def test_untrained_network_is_the_identity(unshuffle):
    image = torch.rand(2, 3, 64, 64)
    network = MaskedU(UConfig(unshuffle=unshuffle, widths=(8, 16), blocks=(1, 0), attention=1, heads=2))
    assert torch.equal(network(image), image)


def fill_reference(image, masked):
    """Fill masked pixels of [C, H, W] with the mean of the visible ones in the smallest square that has any."""
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
def test_masked_pixels_are_filled_from_visible_neighbours(share):
    rng = np.random.default_rng(0)
    image, masked = rng.random((3, 40, 40)), rng.random((40, 40)) < share
    visible = torch.from_numpy(~masked)[None, None].double()
    ours = fill_masked(torch.from_numpy(image)[None], visible)[0].numpy()
    assert np.abs(ours - fill_reference(image, masked)).max() < 1e-12


WITH_MAP = UConfig(widths=(8, 16), blocks=(1, 1), attention=1, heads=2, noise_map=True, limit=5.0)


def noise_map(sigma, known=1.0):
    return torch.cat([torch.full((1, 1, 64, 64), sigma), torch.full((1, 1, 64, 64), known)], dim=1)


def test_corrections_are_limited_by_the_noise_map():
    network, image = random_network(WITH_MAP), torch.rand(1, 3, 64, 64)
    assert torch.allclose(network(image, noise=noise_map(0.0)), image, atol=1e-5)
    for sigma in (0.001, 0.01):
        away = (network(image, noise=noise_map(sigma)) - image).abs().max()
        assert 0.5 * 5 * sigma < away < 5.001 * sigma
    unknown = network(image, noise=noise_map(0.0, known=0.0))
    assert torch.equal(unknown, network(image))
    assert (unknown - image).abs().max() > 0.1


def test_result_depends_on_the_noise_map():
    network, image = random_network(WITH_MAP), torch.rand(1, 3, 64, 64)
    weak, strong = (network(image, noise=noise_map(sigma)) - image for sigma in (10.0, 20.0))
    assert (weak - strong).abs().max() > 0.1


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # by torch itself
@pytest.mark.parametrize("config", [SMALL, WITH_MAP])
def test_network_compiles_to_one_graph(config):
    """No branch depends on the pixels, so the network never synchronises with the GPU."""
    network, image = random_network(config), torch.rand(1, 3, 64, 64)
    torch._dynamo.reset()
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    masked = image.masked_fill(torch.rand(1, 1, 64, 64) < 0.5, MASKED_PIXEL)
    for inputs in (image, masked):
        assert torch.equal(compiled(inputs), network(inputs))


def test_unmasked_image_needs_no_mask_search():
    network, image = random_network(SMALL), torch.rand(1, 3, 64, 64)
    assert torch.equal(network(image, masked=False), network(image))


def test_masked_pixels_have_no_gradient():
    """Check by the gradient through masked pixels and the whole network."""
    network = random_network(SMALL)
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    masked = torch.rand(1, 1, 64, 64) < 0.5
    network(image.masked_fill(masked, MASKED_PIXEL)).square().sum().backward()
    hidden = masked.expand_as(image)
    assert not image.grad[hidden].any()
    assert image.grad[~hidden].ne(0).float().mean() > 0.99


def test_masked_token_influences_no_other_token():
    class AllButOne:
        def keep(self, block, shift, window, shape):
            mask = torch.ones(1, *shape[1:], 1)
            mask[0, 3, 3] = 0
            return mask

    network = random_network(UConfig(widths=(8, 16), blocks=(0, 0), attention=1, heads=2))
    inputs = {}
    block = network.attention.residual_group.blocks[0]
    block.register_forward_pre_hook(lambda _module, args: inputs.update(x=args[0].detach(), tokens=args[1]))
    network(torch.rand(1, 3, 64, 64), AllButOne())
    x = inputs["x"].requires_grad_()
    others = torch.ones(1, 32, 32, 1)
    others[0, 3, 3] = 0
    (block(x, inputs["tokens"]) * others).square().sum().backward()
    assert not x.grad[0, 3, 3].any()
    assert x.grad.ne(0).any(-1).sum() == 32 * 32 - 1


def test_attention_mask_depends_on_image_position():
    """A tile inside the image has the tokens of the whole image's mask at its position."""
    whole = HashedTokenMask(0.75, 1, 0, ((0, 0),), scale=4).keep(1, 4, 8, (1, 32, 32))
    tile = HashedTokenMask(0.75, 1, 0, ((32, 64),), scale=4).keep(1, 4, 8, (1, 16, 16))
    assert torch.equal(tile, whole[:, 8:24, 16:32])
    with pytest.raises(ValueError, match="grid of 32-pixel windows"):
        HashedTokenMask(0.75, 1, 0, ((8, 0),), scale=4).keep(0, 0, 8, (1, 16, 16))


def test_configuration_json_round_trip_with_kind():
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
        ({"limit": 5.0}, "needs a noise map"),
        ({"depths": [1]}, "unknown network settings"),
    ],
)
def test_invalid_configurations_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        config_from_dict({"kind": "u", **settings})
