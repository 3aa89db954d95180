"""Construction of networks of either kind from their configurations."""

from __future__ import annotations

from typing import Any

from torch import nn

from masked_denoiser.errors import ConfigError
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.swin import MaskedSwin
from masked_denoiser.network.ushape import MaskedU
from masked_denoiser.network.ushape_config import UConfig

NetworkConfig = SwinConfig | UConfig

#: Networks for training from random weights, by name: the paper's, and the best of `docs/networks.md`.
NETWORKS: dict[str, NetworkConfig] = {
    "paper": SwinConfig(),
    "general": UConfig(unshuffle=2, widths=(64, 96, 128), blocks=(2, 1, 0), attention=4, heads=8),
}


def build_network(config: NetworkConfig) -> nn.Module:
    """Return a network with random weights, which is called with images [B, C, H, W] and a token mask or None.

    Its weights are float32, whatever torch's default dtype.
    """
    return (MaskedU(config) if isinstance(config, UConfig) else MaskedSwin(config)).float()


def config_from_dict(values: dict[str, Any]) -> NetworkConfig:
    """Return the configuration of plain JSON values, which is of the Swin family if they have no `kind`.

    Raises:
        ConfigError: if a name is unknown or a value is invalid.
    """
    kind = values.get("kind", "swin")
    if kind == "u":
        return UConfig.from_dict(values)
    if kind != "swin":
        raise ConfigError(f"networks of kind {kind!r:.80} are unknown; this version knows 'swin' and 'u'")
    return SwinConfig.from_dict({key: value for key, value in values.items() if key != "kind"})
