"""Context around a tile: how many pixels, given, by default, or exact for an architecture."""

from __future__ import annotations

from masked_denoiser.models.file import Model
from masked_denoiser.network.reach import exact_halo

#: Context around a core unless asked otherwise. `masked-denoiser doctor --halo` prints the error it makes.
DEFAULT_HALO = 32


def resolve_halo(halo: int | str, model: Model, stride: int = 1, around: int = 0) -> int:
    """The halo in pixels: given, the default, or exact for the model's architecture.

    Args:
        halo: as in `Options`.
        model: the model.
        stride: of the job: with strides the whole is denoised after its parts, and both need their context.
        around: pixels that are looked at around what the network sees and gives.
    """
    config = model.card.architecture
    grid, exact = config.grid * stride, exact_halo(config)
    whole = exact if stride == 1 else _up_to(grid, exact) + exact * stride
    whole += _up_to(grid, around)
    if halo == "exact":
        return whole
    if halo == "default":
        return min(whole, _up_to(grid, DEFAULT_HALO))
    return int(halo) if stride == 1 else _up_to(grid, int(halo))


def _up_to(grid: int, pixels: int) -> int:
    return -(-pixels // grid) * grid
