"""Halo of a tile: as requested, the default, or exact for an architecture."""

from __future__ import annotations

from masked_denoiser.models.file import Model
from masked_denoiser.network.reach import exact_halo

#: Halo in pixels by default. `masked-denoiser doctor --halo` prints the resulting error.
DEFAULT_HALO = 32


def resolve_halo(halo: int | str, model: Model, stride: int = 1, context_reach: int = 0) -> int:
    """Return the halo in pixels: as requested, the default, or exact for the model's architecture.

    Args:
        halo: as in `Options`.
        model: the model.
        stride: of the job: with strides the parts and then the whole are denoised, and both need context.
        context_reach: distance in pixels up to which the steps around the network use other pixels.
    """
    config = model.card.architecture
    grid, exact = config.grid * stride, exact_halo(config)
    total = exact if stride == 1 else round_up_to_grid(grid, exact) + exact * stride
    total += round_up_to_grid(grid, context_reach)
    if halo == "exact":
        return total
    if halo == "default":
        return min(total, round_up_to_grid(grid, DEFAULT_HALO))
    return int(halo) if stride == 1 else round_up_to_grid(grid, int(halo))


def round_up_to_grid(grid: int, pixels: int) -> int:
    """Return the smallest multiple of the grid that is at least this number of pixels."""
    return -(-pixels // grid) * grid
