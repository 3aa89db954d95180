"""Estimate of the memory that a network takes for tiles of a given size."""

from __future__ import annotations

from masked_denoiser.network.build import NetworkConfig
from masked_denoiser.network.config import SwinConfig

#: Number of feature maps of full size that a network keeps simultaneously, counted on a CPU by
#: `python -m benchmarks pipeline`.
_SWIN_FEATURES, _U_FEATURES = 5.0, 6.0

#: Memory in bytes that the libraries of a network's layers take.
_LIBRARY_BYTES = 130 * 2**20


def network_memory(config: NetworkConfig, tiles: int, height: int, width: int) -> int:
    """Return the bytes that a network and its libraries take for a batch of tiles with these sides in pixels."""
    pixels = -(-height // config.grid) * -(-width // config.grid) * config.grid**2
    return int(tiles * pixels * _bytes_per_pixel(config)) + _LIBRARY_BYTES


def _bytes_per_pixel(config: NetworkConfig) -> float:
    if isinstance(config, SwinConfig):
        return _SWIN_FEATURES * config.embed * 4
    return _U_FEATURES * config.widths[0] * 4 / config.unshuffle**2
