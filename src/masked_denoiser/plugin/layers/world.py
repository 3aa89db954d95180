"""World coordinates of a viewer whose layers may have different units.

napari converts the units of layers for display: its sliders, canvas and mouse positions are in units of the viewer, and
the transforms of a layer are in units of the layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def viewer_to_data(viewer: Any, layer: Any, point: ArrayLike) -> NDArray[np.float64]:
    """Return a point of a viewer's world in pixels of a layer at full resolution.

    Args:
        viewer: the viewer.
        layer: one of its layers.
        point: coordinates in units of the viewer, such as `viewer.dims.point`.
    """
    # Before napari 0.6, viewers have no units.
    units = getattr(viewer.layers.extent, "units", None)
    return world_to_data(layer, point, units)


def world_to_data(layer: Any, point: ArrayLike, units: Sequence[Any] | None) -> NDArray[np.float64]:
    """Return a point of the world in pixels of a layer at full resolution.

    Args:
        layer: the layer.
        point: coordinates, of which the last ones are those of the layer.
        units: units of the coordinates; None if they are those of the layer.
    """
    coordinates = np.asarray(point, float)
    factors = np.ones(len(coordinates)) if units is None else unit_factors(units, layer.units)
    return np.asarray(layer.world_to_data(coordinates * factors), float)


def unit_factors(units: Sequence[Any], target_units: Sequence[Any]) -> NDArray[np.float64]:
    """Return the factors from world coordinates in `units` to `target_units`; 1 if not convertible, as in napari."""
    pairs = list(zip(reversed(units), reversed(target_units), strict=False))
    if not all(unit.is_compatible_with(other) for unit, other in pairs):
        return np.ones(len(units))
    factors = [float((1.0 * unit).to(other).magnitude) for unit, other in pairs]
    return np.asarray([*[1.0] * (len(units) - len(factors)), *reversed(factors)])
