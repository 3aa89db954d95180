"""Memory that a network takes for tiles of a size."""

from __future__ import annotations

from masked_denoiser.network.build import NetworkConfig
from masked_denoiser.network.config import SwinConfig

#: Feature images of the finest level that a network holds at once. Counted on a CPU: `python -m benchmarks pipeline`.
_SWIN_FEATURES, _U_FEATURES = 5.0, 6.0


#: What the libraries of a network's layers take for themselves, in bytes.
_LIBRARIES = 130 * 2**20


def network_memory(config: NetworkConfig, tiles: int, height: int, width: int) -> int:
    """Bytes that a network and its libraries take for so many tiles of such sides, in pixels."""
    pixels = -(-height // config.grid) * -(-width // config.grid) * config.grid**2
    return int(tiles * pixels * _per_pixel(config)) + _LIBRARIES


def _per_pixel(config: NetworkConfig) -> float:
    """Bytes of a network's features for each pixel."""
    if isinstance(config, SwinConfig):
        return _SWIN_FEATURES * config.embed * 4
    return _U_FEATURES * config.widths[0] * 4 / config.unshuffle**2
