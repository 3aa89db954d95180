"""From a napari layer to a source, and from a layer to the look of the layers made from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.images.axes import UNKNOWN, letter_of, resolve_axes, unit_name
from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Lazy, Source

#: A layer's settings that belong to its own data and not to those of a layer made from it.
_OWN = ("name", "multiscale", "locked_data_level", "plane", "experimental_clipping_planes", "visible", "auto_contrast")

#: Where a layer's metadata say which file a job of ours wrote it to.
WRITTEN = "masked_denoiser_output"


#: Where a layer's metadata say which channel of its file it is, as a selection.
CHANNEL = "masked_denoiser_channel"


@dataclass(frozen=True)
class LayerAxes:
    """The axes of a layer, and whether they are a guess."""

    letters: str
    guessed: bool


def full_resolution(layer: Any) -> Lazy:
    """A layer's pixels; of a pyramid the finest level."""
    data: Lazy = layer.data[0] if layer.multiscale else layer.data
    return data


def layer_axes(layer: Any) -> LayerAxes:
    """The axes of an image layer: from its axis labels, or guessed from its shape.

    The last two dimensions of a guess are Y and X, which is how napari shows them.

    Raises:
        ImageError: if the layer has more dimensions than there are axes.
    """
    samples = "S" if layer.rgb else ""
    labels = "".join(letter_of(label) for label in layer.axis_labels)
    if UNKNOWN not in labels and len(set(labels)) == len(labels) and {"Y", "X"} <= set(labels) and "S" not in labels:
        return LayerAxes(labels + samples, False)
    shape = tuple(int(side) for side in full_resolution(layer).shape)[: layer.ndim]
    found = UNKNOWN * (layer.ndim - 2) + "YX"
    # As float, so that a last dimension of 3 is not taken for colour: the layer says whether it is.
    letters, guess = resolve_axes(shape, np.dtype(np.float32), asked=None, found=found, name=layer.name)
    return LayerAxes(letters + samples, bool(guess))


def layer_source(layer: Any, axes: str | None = None) -> Source:
    """An image layer as a source.

    Args:
        layer: of type Image: plane, stack, RGB or pyramid; numpy, dask or zarr.
        axes: one letter a dimension, "S" for RGB samples; those of `layer_axes` if left out or empty.

    Raises:
        ImageError: if the axes do not fit, or the pixels are of no use.
    """
    letters = axes or layer_axes(layer).letters
    source = open_image(full_resolution(layer), axes=letters)
    sizes, units = _steps(layer, source.axes)
    return replace(
        source,
        name=layer.name,
        rgb=bool(layer.rgb),
        pixel_size=sizes,
        units=units,
        origin={a: float(at) for a, at in zip(source.axes, layer.translate, strict=False) if a in "TZYX" and at},
        levels=(source.data,),
        notes=(),
    )


def layer_path(layer: Any) -> Path | None:
    """The file or folder that a layer was opened from, or that a job of ours wrote it to."""
    path = getattr(layer.source, "path", None) or layer.metadata.get(WRITTEN)
    return Path(path) if path else None


def result_state(layer: Any) -> dict[str, Any]:
    """Settings for `Image` that make another layer look and lie as this one does."""
    _, state, _ = layer.as_layer_data_tuple()
    kept = {key: value for key, value in dict(state).items() if key not in _OWN}
    return kept | {"metadata": {key: value for key, value in layer.metadata.items() if key not in (WRITTEN, CHANNEL)}}


def own_transform(layer: Any) -> Any:
    """From a layer's pixels to its place before its `affine`; keeps nothing of the layer."""
    from napari.utils.transforms import Affine

    return Affine(scale=layer.scale, translate=layer.translate, rotate=layer.rotate, shear=layer.shear)


def moved(transform: Any, offset: tuple[float, ...]) -> tuple[float, ...]:
    """The translation of a layer that starts at a pixel of the one with this transform."""
    return tuple(float(value) for value in transform(np.asarray(offset, dtype=float)))


def _steps(layer: Any, axes: str) -> tuple[dict[str, float], dict[str, str]]:
    """Pixel sizes and units of the axes that have one; a step of 1 pixel says nothing."""
    sizes: dict[str, float] = {}
    units: dict[str, str] = {}
    for letter, scale, unit in zip(axes, layer.scale, layer.units, strict=False):
        name = unit_name(unit)
        if letter in "TZYX" and scale > 0 and (name or scale != 1):
            sizes[letter] = float(scale)
            units |= {letter: name} if name else {}
    return sizes, units
