import numpy as np
import pytest
import torch

from masked_denoiser.network.config import PAPER, ConfigError, SwinConfig
from masked_denoiser.network.masks import HashedTokenMask, RandomTokenMask
from masked_denoiser.network.swin import MaskedSwin

from . import plain


def random_network(config, seed=0):
    """Random weights large enough for every part to matter."""
    torch.manual_seed(seed)
    network = MaskedSwin(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return network.eval()


FAMILY = {
    "paper": SwinConfig(embed=12, depths=(2, 3), heads=(2, 3)),
    "swinir-rgb": SwinConfig(
        embed=12, depths=(2, 2), heads=(3, 3), first_kernel=3, residual="1conv", global_skip=True, attention_mask=0.0
    ),
    "swinir-gray": SwinConfig(
        channels=1, embed=8, depths=(3,), heads=(2,), first_kernel=3, global_skip=True, mean=(0.0,), attention_mask=0.0
    ),
    "window-4": SwinConfig(channels=1, embed=8, depths=(2,), heads=(2,), window=4, mean=(0.0,), qkv_bias=False),
}


@pytest.mark.parametrize("name", FAMILY)
def test_network_equals_its_plain_formulation(name):
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
        mask=config.attention_mask,
        seed=3,
        number=1,
    )
    assert np.abs(oracle).max() > 0.5
    assert np.abs(ours - oracle).max() <= 1e-5 * max(1.0, np.abs(oracle).max())


def test_paper_network_is_as_large_as_the_paper_says():
    with torch.device("meta"):
        network = MaskedSwin(PAPER)
    assert sum(p.numel() for p in network.parameters()) == 824_118
    assert PAPER.blocks == 24


def test_batches_do_not_mix():
    network = random_network(FAMILY["paper"])
    images = torch.rand(3, 3, 16, 16)
    origins = ((0, 0), (8, 8), (80, 16))
    with torch.inference_mode():
        together = network(images, HashedTokenMask(0.75, 0, 0, origins))
        alone = [
            network(image[None], HashedTokenMask(0.75, 0, 0, (o,))) for image, o in zip(images, origins, strict=True)
        ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_training_reaches_every_weight():
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
def test_impossible_networks_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        SwinConfig(**settings)


def test_configuration_survives_json():
    for config in FAMILY.values():
        assert SwinConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="dropout"):
        SwinConfig.from_dict({"dropout": 0.1})
