"""Checks of a zarr that is opened, and notes on its contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zarr

from masked_denoiser.errors import ImageError
from masked_denoiser.images.validation.completeness import COMPLETE_KEY, incompleteness
from masked_denoiser.images.validation.zarr_chunks import local_folder, missing_share
from masked_denoiser.images.zarr_files import OWN_ATTRIBUTE

#: Most files of an output that are counted whenever it is opened.
_MOST_COUNTED_FILES = 10_000


def check_stored(levels: Sequence[zarr.Array[Any]], name: str, attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Check that the pixels of an image are stored, and return notes on what is missing.

    Args:
        levels: arrays of the pyramid, full resolution first.
        name: of the image, for errors and notes.
        attributes: of its group.

    Raises:
        ImageError: if chunks lie elsewhere than the metadata say, or none of full resolution are stored.
    """
    shares = [missing_share(array, name) for array in levels]
    own, folder = attributes.get(OWN_ATTRIBUTE), local_folder(levels[0])
    incomplete = ""
    if isinstance(own, dict) and folder is not None:
        incomplete = incompleteness(folder.parent, own, _MOST_COUNTED_FILES)
    elif isinstance(own, dict) and not own.get(COMPLETE_KEY):
        incomplete = "it lacks the mark that is written last"
    if isinstance(own, dict) and not incomplete:
        return ()
    fill = levels[0].fill_value
    if shares[0] == 1:
        raise ImageError(
            f"{name}: none of its chunks are stored, so that all its pixels are {fill}; copy or export it again"
        )
    missing = (f"{shares[0]:.0%} of the chunks of {name} are not stored; their pixels are {fill}",) if shares[0] else ()
    return (*missing, *([f"{name} is not known to be complete: {incomplete}"] if incomplete else []))


def level_paths(levels: Sequence[zarr.Array[Any]]) -> tuple[Path, ...]:
    """Return the folders of arrays; () for other stores than folders."""
    return tuple(folder for array in levels if (folder := local_folder(array)) is not None)


def labels_note(group: zarr.Group, name: str) -> tuple[str, ...]:
    """Return a note if an image is a label image, or on its label images (https://ngff.openmicroscopy.org/0.5/#labels-md).

    The label images of an image are not read.
    """
    attributes: Any = group.attrs.asdict()
    if "image-label" in attributes.get("ome", attributes):
        return (f"{name} is a label image: its values are object numbers, which denoising would corrupt",)
    labels = group.get("labels")
    if not isinstance(labels, zarr.Group):
        return ()
    attributes = labels.attrs.asdict()
    listed = attributes.get("ome", attributes).get("labels")
    named = ", ".join(map(str, listed)) if isinstance(listed, list) else ""
    return (f"the labels of {name} are omitted: {named or 'unnamed'}",)
