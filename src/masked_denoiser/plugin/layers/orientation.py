"""Size and orientation of the pixels of a layer in the world, and flipped layers on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.images.lazy_arrays import FlippedArray
from masked_denoiser.images.source import Source

#: Note on a layer whose orientation no file format stores, after its name.
ROTATED_NOTE = (
    "is rotated or sheared in the viewer: the file keeps its pixel sizes and its position, not its orientation"
)

#: Share of the length of a step along other axes up to which a layer counts as neither rotated nor sheared.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class LayerGeometry:
    """Pixel sizes and orientation of a layer.

    Attributes:
        sizes: length of a step along each dimension in the world; never negative.
        origin: position of the first pixel in the world.
        flipped: dimensions along which the world runs backwards.
        rotated: whether a dimension of the layer is parallel to none of the world; then nothing counts as flipped.
    """

    sizes: tuple[float, ...]
    origin: tuple[float, ...]
    flipped: tuple[int, ...] = ()
    rotated: bool = False


def layer_geometry(layer: Any) -> LayerGeometry:
    """Return the geometry of a layer, from its scale, rotation, shear, translation and affine transform together."""
    matrix = _world_matrix(layer)
    steps, origin = matrix[:-1, :-1], tuple(float(x) for x in matrix[:-1, -1])
    lengths = np.linalg.norm(steps, axis=0)
    others = steps - np.diag(np.diag(steps))
    sizes = tuple(float(length) for length in lengths)
    if (np.abs(others) > _TOLERANCE * lengths).any():
        return LayerGeometry(sizes, origin, rotated=True)
    return LayerGeometry(sizes, origin, tuple(int(i) for i in np.flatnonzero(np.diag(steps) < 0)))


def flip_source(source: Source, letters: str, start: Mapping[str, int]) -> Source:
    """Return a source of a flipped layer in the orientation of the world, as files store it.

    Args:
        source: a layer, or a part of it, with the origin of its first pixel as if the layer were not flipped.
        letters: axes along which the layer is flipped.
        start: first pixel of the source in the layer, by axis letter.
    """
    if not letters:
        return source
    data = FlippedArray(source.data, tuple(source.axes.index(letter) for letter in letters))
    origin = dict(source.origin)
    for letter in letters:
        size, first = source.pixel_size.get(letter, 1.0), start.get(letter, 0)
        layer_origin = origin.get(letter, 0.0) - size * first
        origin[letter] = layer_origin - size * (first + source.sizes[letter] - 1)
    return replace(source, data=data, levels=(data,), origin={letter: at for letter, at in origin.items() if at})


def _world_matrix(layer: Any) -> NDArray[np.float64]:
    """Return the matrix [n + 1, n + 1] from pixels of a layer to the world."""
    from napari.utils.transforms import Affine

    local = Affine(scale=layer.scale, translate=layer.translate, rotate=layer.rotate, shear=layer.shear)
    affine = getattr(layer.affine, "affine_matrix", layer.affine)
    return np.asarray(np.asarray(affine, float) @ local.affine_matrix, np.float64)
