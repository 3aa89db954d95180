"""Reading of the `attributes` that `create_sink` stores with an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tifffile import TiffFile, TiffFileError

from masked_denoiser.errors import ImageError
from masked_denoiser.images.source import DECODER_ERRORS
from masked_denoiser.images.validation.ome_xml import own_attributes_in
from masked_denoiser.images.writers.derived_folder import LISTING, read_listing
from masked_denoiser.images.writers.output_path import kind_of
from masked_denoiser.images.zarr_files import OWN_ATTRIBUTE


def read_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of an output; {} for other files, images without attributes, and missing libraries."""
    try:
        attributes = _read(path)
    except (*DECODER_ERRORS, OSError, ElementTree.ParseError, TiffFileError, ImageError):
        return {}
    except ImportError:  # of the library of a format, without which it cannot be written either
        return {}
    return attributes if isinstance(attributes, dict) else {}


def _read(path: Path) -> Any:
    if path.is_dir():
        return read_listing(path) if (path / LISTING).is_file() else _from_zarr(path)
    kind = kind_of(path)
    if kind == "NIfTI":
        from masked_denoiser.images.writers.assembled.nifti import read_nifti_attributes

        return read_nifti_attributes(path)
    if kind == "MRC":
        from masked_denoiser.images.writers.assembled.mrc import read_mrc_attributes

        return read_mrc_attributes(path)
    return _from_tiff(path)


def _from_zarr(path: Path) -> Any:
    import zarr  # not for jobs without files, as its import takes a tenth of the time to their first result
    from zarr.errors import BaseZarrError

    try:
        return zarr.open_group(path, mode="r").attrs.asdict().get(OWN_ATTRIBUTE)
    except BaseZarrError as error:
        raise ImageError(f"{path}: cannot be read as zarr ({str(error)[:100]}); copy or write it again") from error


def _from_tiff(path: Path) -> Any:
    with TiffFile(path) as tif:
        text = tif.ome_metadata or ""
    return own_attributes_in(text, str(path))
