from zlib import crc32

import numpy as np
import pytest
import torch

from masked_denoiser.errors import ConfigError
from masked_denoiser.network.config import PAPER, SwinConfig
from masked_denoiser.network.masks import HashedTokenMask, RandomTokenMask
from masked_denoiser.network.swin import MaskedSwin

from . import plain


def random_network(config, seed=0):
    """Return a network with random weights large enough for every part to matter."""
    torch.manual_seed(seed)
    network = MaskedSwin(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return network.eval()


FAMILY = {
    "paper": SwinConfig(embed=12, depths=(2, 3), heads=(2, 3)),
    "swinir-rgb": SwinConfig(
        embed=12,
        depths=(2, 2),
        heads=(3, 3),
        first_kernel=3,
        residual="1conv",
        body_skip=True,
        global_skip=True,
        attention_mask=0.0,
    ),
    "swinir-gray": SwinConfig(
        channels=1,
        embed=8,
        depths=(3,),
        heads=(2,),
        first_kernel=3,
        body_skip=True,
        global_skip=True,
        mean=(0.0,),
        attention_mask=0.0,
    ),
    "window-4": SwinConfig(channels=1, embed=8, depths=(2,), heads=(2,), window=4, mean=(0.0,), qkv_bias=False),
}


@pytest.mark.parametrize("name", FAMILY)
def test_network_matches_the_reference(name):
    config = FAMILY[name]
    network = random_network(config)
    image = np.random.default_rng(0).random((config.channels, 24, 16))
    tokens = HashedTokenMask(config.attention_mask, 3, 1, ((0, 0),)) if config.attention_mask else None
    with torch.inference_mode():
        ours = network(torch.from_numpy(image[None]).float(), tokens)[0].numpy()
    oracle = plain.network(
        image,
        network.state_dict(),
        depths=config.depths,
        heads=config.heads,
        window=config.window,
        mean=config.mean,
        global_skip=config.global_skip,
        body_skip=config.body_skip,
        mask=config.attention_mask,
        seed=3,
        number=1,
    )
    assert np.abs(oracle).max() > 0.5
    assert np.abs(ours - oracle).max() <= 1e-5 * max(1.0, np.abs(oracle).max())


def test_paper_network_has_the_published_size():
    with torch.device("meta"):
        network = MaskedSwin(PAPER)
    assert sum(p.numel() for p in network.parameters()) == 824_118
    assert PAPER.blocks == 24


def test_batch_items_are_independent():
    network = random_network(FAMILY["paper"])
    images = torch.rand(3, 3, 16, 16)
    origins = ((0, 0), (8, 8), (80, 16))
    with torch.inference_mode():
        batched = network(images, HashedTokenMask(0.75, 0, 0, origins))
        separate = [
            network(image[None], HashedTokenMask(0.75, 0, 0, (o,))) for image, o in zip(images, origins, strict=True)
        ]
    assert torch.allclose(batched, torch.cat(separate), atol=1e-5)


def test_every_weight_has_a_gradient():
    network = MaskedSwin(FAMILY["paper"])
    images = torch.rand(2, 3, 16, 16)
    out = network(images, RandomTokenMask(0.75, torch.Generator().manual_seed(0)))
    (out - images).abs().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"channels": 2, "mean": (0.0, 0.0)}, "channels is 2"),
        ({"embed": 61}, "not a multiple"),
        ({"window": 7}, "not an even number"),
        ({"heads": (6,)}, "4 depths but 1 heads"),
        ({"attention_mask": 1.0}, r"not in \[0, 1\)"),
        ({"mean": (0.0,)}, "1 values for 3 channels"),
    ],
)
def test_invalid_configurations_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        SwinConfig(**settings)


def test_configuration_json_round_trip():
    for config in FAMILY.values():
        assert SwinConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="dropout"):
        SwinConfig.from_dict({"dropout": 0.1})


def test_older_configuration_keeps_its_body_skip():
    values = SwinConfig().to_dict()
    del values["body_skip"]
    assert SwinConfig.from_dict(values).body_skip
    assert not SwinConfig().body_skip


def by_formula(name, shape):
    """Return the weights behind the reference values, from the published name of a tensor."""
    k = np.arange(np.prod(shape), dtype=np.float64)
    phase = 2 * np.pi * (crc32(name.encode()) % 1000) / 1000
    if name.endswith("relative_position_bias_table"):
        values = 0.5 * np.sin(0.37 * k + phase)
    elif len(shape) > 1:
        values = 3 * np.sin(0.37 * k**2 + phase) / np.sqrt(np.prod(shape[1:]))
    else:
        values = 0.1 * np.sin(0.37 * k + phase) + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return torch.from_numpy(values.reshape(shape)).float()


@pytest.mark.parametrize(
    ("depths", "size", "mean", "deviation", "places"),
    [
        ((2,), (24, 40), 5.585364, 7.714427, (5.815988, -5.818737, 5.498619, 12.457038, 7.267431)),
        ((6,) * 4, (24, 40), 17.880074, 9.363070, (10.958805, 30.559930, 5.406610, 23.960270, 16.630444)),
        ((6,) * 4, (64, 64), 20.625109, 8.500286, (10.960239, 27.723496, 3.531342, 23.876667, 17.614826)),
    ],
)
def test_paper_network_matches_the_authors_code(depths, size, mean, deviation, places):
    """The expected values are from the authors' network in float64, with weights from a formula."""
    network = MaskedSwin(SwinConfig(depths=depths, heads=(6,) * len(depths))).eval()
    names = network.state_dict()
    network.load_state_dict({name: by_formula(name, tuple(tensor.shape)) for name, tensor in names.items()})
    (h, w), (c, y, x) = size, np.mgrid[:3, : size[0], : size[1]]
    image = 0.5 + 0.3 * np.sin(0.2 * x + 0.1 * y + c) + 0.2 * np.cos(0.7 * y - 0.3 * x)
    with torch.inference_mode():
        out = network(torch.from_numpy(image[None]).float())[0].numpy().astype(np.float64)
    assert (out.mean(), out.std(ddof=1)) == pytest.approx((mean, deviation), abs=2e-4)
    found = [out[0, 0, 0], out[1, h // 2, w // 2], out[2, h - 1, w - 1], out[0, 7, 8], out[2, 13, 31]]
    assert found == pytest.approx(places, abs=5e-4)
