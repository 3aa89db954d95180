"""How far the pixels of the network see: the halo that makes tiles equal to the whole image."""

from __future__ import annotations

from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.ushape_config import UConfig

#: Reach of a residual convolution in pixels, by kind.
_RESIDUAL_REACH = {"1conv": 1, "3conv": 2}

#: Reach of a residual block of two 3x3 convolutions.
_BLOCK_REACH = 2


def exact_halo(config: SwinConfig | UConfig) -> int:
    """The smallest halo, a multiple of the grid, with which a tile equals the whole image.

    Walks backwards through the network with the left edge of what is needed: a convolution moves
    it by its reach, a window attention to the edge of the window it lies in, on the plain grid or
    on the shifted one. The core is taken to start on the window grid.

    Returns:
        Pixels on each side of the core; 104 for the paper's network.
    """
    if isinstance(config, UConfig):
        return _u_halo(config)
    edge = -1 - _RESIDUAL_REACH[config.residual]  # conv_last and conv_after_body
    edge = _before_groups(edge, config) - config.first_kernel // 2
    return -_window_start(edge, config.window, 0)


def _u_halo(config: UConfig) -> int:
    """Down the right arm of the U, and back up the left one; the skips between them reach less far."""
    *finer, lowest = config.blocks
    edge = -1  # head
    for blocks in finer:
        edge = (edge - _BLOCK_REACH * blocks) // 2
    edge = _before_groups(edge, config.bottom) - _BLOCK_REACH * lowest
    for blocks in reversed(finer):
        edge = 2 * edge - _BLOCK_REACH * blocks
    edge = config.unshuffle * (edge - 1)  # stem
    return -_window_start(edge, config.grid, 0)


def _before_groups(edge: int, config: SwinConfig) -> int:
    """What the residual groups need, to give everything from `edge` on."""
    for depth in reversed(config.depths):
        edge -= _RESIDUAL_REACH[config.residual]
        for block in reversed(range(depth)):
            edge = _window_start(edge, config.window, config.window // 2 if block % 2 else 0)
    return edge


def _window_start(edge: int, window: int, shift: int) -> int:
    """Where the window that holds `edge` starts, on a grid whose lines lie at -shift modulo window."""
    return (edge + shift) // window * window - shift
