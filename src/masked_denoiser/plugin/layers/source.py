"""Conversion of napari layers to sources, and layer settings for results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.axes import UNKNOWN, letter_of, resolve_axes
from masked_denoiser.images.metadata.units import unit_name
from masked_denoiser.images.open import open_image
from masked_denoiser.images.readers.plugins.npe2_reader import OWN_PLUGIN
from masked_denoiser.images.source import LazyArray, Source
from masked_denoiser.plugin.layers.orientation import LayerGeometry, layer_geometry

#: Settings of a layer that are not copied to its result layers.
_OMITTED = (
    "name",
    "multiscale",
    "locked_data_level",
    "plane",
    "experimental_clipping_planes",
    "visible",
    "auto_contrast",
)

#: Key of a layer's metadata: path of the output that it shows.
OUTPUT_KEY = "masked_denoiser_output"

#: Key of a layer's metadata: what was done to a result, as plain JSON values.
RECORD_KEY = "masked_denoiser"

#: Settings of a layer that place it in the world.
SPATIAL_SETTINGS = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")

#: Key of a layer's metadata: channel of its file, as a selection such as "C=1".
CHANNEL_KEY = "masked_denoiser_channel"

#: Keys of a layer's metadata: where a medical image lies in the patient, and its kind; see `ImageMetadata`.
AFFINE_KEY, MODALITY_KEY = "masked_denoiser_affine", "masked_denoiser_modality"


@dataclass(frozen=True)
class LayerAxes:
    """Axes of a layer.

    Attributes:
        letters: a letter per dimension.
        guessed: whether they are guessed from the shape.
    """

    letters: str
    guessed: bool


def full_resolution(layer: Any) -> LazyArray:
    """Return the pixels of a layer at full resolution."""
    data: LazyArray = layer.data[0] if layer.multiscale else layer.data
    return data


def layer_axes(layer: Any) -> LayerAxes:
    """Return the axes of an image layer, from its axis labels or guessed from its shape.

    A guess has Y and X as last axes, as napari shows them.

    Raises:
        ImageError: if the layer has more dimensions than there are axes.
    """
    samples = "S" if layer.rgb else ""
    labels = "".join(letter_of(label) for label in layer.axis_labels)
    if UNKNOWN not in labels and len(set(labels)) == len(labels) and {"Y", "X"} <= set(labels) and "S" not in labels:
        return LayerAxes(labels + samples, False)
    shape = tuple(int(side) for side in full_resolution(layer).shape)[: layer.ndim]
    known = UNKNOWN * (layer.ndim - 2) + "YX"
    # As float, so that a last dimension of 3 is not guessed to be RGB: that is known from the layer.
    letters, guess = resolve_axes(shape, np.dtype(np.float32), asked=None, found=known, name=layer.name)
    return LayerAxes(letters + samples, bool(guess))


def layer_source(layer: Any, axes: str | None = None) -> Source:
    """Return an image layer as a source.

    Args:
        layer: an Image layer: plane, stack, RGB or pyramid; of NumPy, dask or zarr.
        axes: a letter per dimension, "S" for RGB samples; None or "" for those of `layer_axes`.

    Raises:
        ImageError: if the axes do not fit the shape, or the dtype is not supported.
    """
    letters = axes or layer_axes(layer).letters
    source = open_image(full_resolution(layer), axes=letters)
    geometry = layer_geometry(layer)
    sizes, units = _pixel_sizes(geometry, layer.units, source.axes)
    return replace(
        source,
        name=layer.name,
        rgb=bool(layer.rgb),
        pixel_size=sizes,
        units=units,
        origin={axis: x for axis, x in zip(source.axes, geometry.origin, strict=False) if axis in "TZYX" and x},
        levels=(source.data,),
        notes=(),
        affine=_affine(layer.metadata.get(AFFINE_KEY)),
        modality=str(layer.metadata.get(MODALITY_KEY, "")),
    )


def _affine(value: object) -> tuple[tuple[float, ...], ...]:
    """Return an affine that our reader stored with a layer; () for anything else."""
    array = np.asarray(value) if isinstance(value, list) else np.empty(0)
    return tuple(tuple(map(float, row)) for row in array) if array.shape == (4, 4) else ()


def layer_notes(layer: Any) -> list[str]:
    """Return what is to be known about a layer before it is denoised: notes of its reader, and guessed axes."""
    notes = layer.metadata.get("notes")
    known = [str(note) for note in notes] if isinstance(notes, list | tuple) else []
    try:
        axes = layer_axes(layer)
    except ImageError as error:
        return [*known, str(error)]
    if axes.guessed and layer.ndim > 2 and not any("axes" in note for note in known):
        known.append(f"its axes are taken to be {axes.letters}; correct them in the expert settings if they are not")
    return known


def layer_path(layer: Any) -> Path | None:
    """Return the file or folder that a layer was opened from or that it shows as output; None if there is none."""
    path = getattr(layer.source, "path", None) or layer.metadata.get(OUTPUT_KEY)
    return Path(path) if path else None


def other_plugin(layer: Any) -> str:
    """Return the name of the napari plugin that opened a layer; "" for this one, and for layers of no file."""
    name = getattr(layer.source, "reader_plugin", None) or ""
    return "" if name == OWN_PLUGIN or layer.metadata.get(OUTPUT_KEY) else str(name)


def result_state(layer: Any) -> dict[str, Any]:
    """Return the settings of an `Image` layer with the same display settings and transform as this one."""
    _, state, _ = layer.as_layer_data_tuple()
    kept = {key: value for key, value in dict(state).items() if key not in _OMITTED}
    metadata = {key: value for key, value in layer.metadata.items() if key not in (OUTPUT_KEY, CHANNEL_KEY, RECORD_KEY)}
    return kept | {"metadata": metadata}


def layer_transform(layer: Any) -> Any:
    """Return the transform of a layer without its `affine`, as a copy that does not refer to the layer."""
    from napari.utils.transforms import Affine

    return Affine(scale=layer.scale, translate=layer.translate, rotate=layer.rotate, shear=layer.shear)


def translation_at(transform: Any, offset: tuple[float, ...]) -> tuple[float, ...]:
    """Return the translation of a layer whose origin is at a pixel of the layer with this transform."""
    return tuple(float(value) for value in transform(np.asarray(offset, dtype=float)))


def _pixel_sizes(geometry: LayerGeometry, layer_units: Any, axes: str) -> tuple[dict[str, float], dict[str, str]]:
    """Return the pixel sizes and units of the axes that have them; a scale of 1 without unit is no pixel size."""
    sizes: dict[str, float] = {}
    units: dict[str, str] = {}
    for letter, scale, unit in zip(axes, geometry.sizes, layer_units, strict=False):
        name = unit_name(unit)
        if letter in "TZYX" and scale > 0 and (name or scale != 1):
            sizes[letter] = float(scale)
            units |= {letter: name} if name else {}
    return sizes, units
