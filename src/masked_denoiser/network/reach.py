"""Receptive fields of the networks, as the halo with which tiles equal the whole image."""

from __future__ import annotations

from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.ushape_config import UConfig

#: Reach in pixels of the convolution at the end of a residual group, by kind.
_RESIDUAL_REACH = {"1conv": 1, "3conv": 2}

#: Reach in pixels of a residual block of two 3x3 convolutions.
_BLOCK_REACH = 2


def exact_halo(config: SwinConfig | UConfig) -> int:
    """Return the smallest halo, a multiple of the grid, with which a tile equals the whole image.

    The left edge of the required input is traced backwards through the network: a convolution moves it
    by its reach, a window attention to the edge of its window, on the plain or the shifted grid. The
    core is assumed to start on the window grid.

    Returns:
        Pixels on each side of the core; 104 for the paper's network.
    """
    if isinstance(config, UConfig):
        return _ushape_halo(config)
    edge = -1 - _RESIDUAL_REACH[config.residual]  # conv_last and conv_after_body
    edge = _group_input_edge(edge, config) - config.first_kernel // 2
    return -_window_start(edge, config.window, 0)


def _ushape_halo(config: UConfig) -> int:
    """Return the halo of a U-shaped network, from decoder to encoder; its skips reach less far."""
    *upper_blocks, lowest_blocks = config.blocks
    edge = -1  # head
    for blocks in upper_blocks:
        edge = (edge - _BLOCK_REACH * blocks) // 2
    edge = _group_input_edge(edge, config.bottom) - _BLOCK_REACH * lowest_blocks
    for blocks in reversed(upper_blocks):
        edge = 2 * edge - _BLOCK_REACH * blocks
    edge = config.unshuffle * (edge - 1)  # stem
    return -_window_start(edge, config.grid, 0)


def _group_input_edge(edge: int, config: SwinConfig) -> int:
    """Return the left edge of the input that residual groups need for an output with this left edge."""
    for depth in reversed(config.depths):
        edge -= _RESIDUAL_REACH[config.residual]
        for block in reversed(range(depth)):
            edge = _window_start(edge, config.window, config.window // 2 if block % 2 else 0)
    return edge


def _window_start(edge: int, window: int, shift: int) -> int:
    """Return the start of the window that contains `edge`, on a grid with lines at -shift modulo window."""
    return (edge + shift) // window * window - shift
