"""How far the pixels of the network see: the halo that makes tiles equal to the whole image."""

from __future__ import annotations

from masked_denoiser.network.config import SwinConfig

#: Reach of a residual convolution in pixels, by kind.
_RESIDUAL_REACH = {"1conv": 1, "3conv": 2}


def exact_halo(config: SwinConfig) -> int:
    """The smallest halo, a multiple of the window, with which a tile equals the whole image.

    Walks backwards through the network with the left edge of what is needed: a convolution moves
    it by its reach, a window attention to the edge of the window it lies in, on the plain grid or
    on the shifted one. The core is taken to start on the window grid.

    Returns:
        Pixels on each side of the core; 104 for the paper's network.
    """
    residual = _RESIDUAL_REACH[config.residual]
    edge = -1 - residual  # conv_last and conv_after_body
    for depth in reversed(config.depths):
        edge -= residual
        for block in reversed(range(depth)):
            edge = _window_start(edge, config.window, config.window // 2 if block % 2 else 0)
    edge -= config.first_kernel // 2
    return -_window_start(edge, config.window, 0)


def _window_start(edge: int, window: int, shift: int) -> int:
    """Where the window that holds `edge` starts, on a grid whose lines lie at -shift modulo window."""
    return (edge + shift) // window * window - shift
