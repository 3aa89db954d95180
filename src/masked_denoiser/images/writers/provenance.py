"""Reads back what a sink kept with an image: the `attributes` of `create_sink`."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import zarr
from tifffile import TiffFile, TiffFileError
from zarr.errors import BaseZarrError

from masked_denoiser.images.validation.ome_xml import check_no_doctype
from masked_denoiser.images.writers.ome_zarr_metadata import ATTRIBUTE
from masked_denoiser.plain_json import parse_json


def read_attributes(path: Path) -> dict[str, Any]:
    """The attributes of an output; empty for an image that has none, or is none."""
    try:
        found = _of_folder(path) if path.is_dir() else _of_tiff(path)
    except (OSError, ValueError, RecursionError, ElementTree.ParseError, BaseZarrError, TiffFileError):
        return {}
    return found if isinstance(found, dict) else {}


def _of_folder(path: Path) -> Any:
    return zarr.open_group(path, mode="r").attrs.asdict().get(ATTRIBUTE)


def _of_tiff(path: Path) -> Any:
    with TiffFile(path) as tif:
        text = tif.ome_metadata or ""
    check_no_doctype(text, str(path))
    values = ElementTree.fromstring(text).iterfind(".//{*}MapAnnotation/{*}Value/{*}M")
    return next((parse_json(value.text or "") for value in values if value.get("K") == ATTRIBUTE), None)
