"""Reader of MRC2014 and CCP4 files of electron microscopes, whose pixels are read at their offset.

See https://www.ccpem.ac.uk/mrc_format/mrc2014.php, and for the flags of IMOD
https://bio3d.colorado.edu/imod/doc/mrc_format.txt.
"""

from __future__ import annotations

import gzip
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from mrcfile import utils
from mrcfile.dtypes import HEADER_DTYPE

from masked_denoiser.images.readers.base import ReaderResult, check_pixels
from masked_denoiser.images.readers.library_errors import wrap_errors
from masked_denoiser.images.readers.raw_file import open_raw
from masked_denoiser.images.source import LazyArray
from masked_denoiser.images.validation.size_limits import check_decoded_size

_HEADER_BYTES = HEADER_DTYPE.itemsize
#: Words of the header with IMOD's stamp and flags; bit 0 of the flags says that the bytes of mode 0 are signed.
_IMOD_STAMP_AT, _IMOD_FLAGS_AT, _IMOD_STAMP, _IMOD_SIGNED = 38, 39, 1146047817, 1
_REMEDY = "copy it again, or write it as MRC2014, such as with newstack of IMOD"


def read(path: Path, part: str = "") -> ReaderResult:
    """Open an MRC file, or decode one that is compressed by gzip; `part` is always "".

    A single image is YX, a volume ZYX, a stack of volumes TZYX, and a stack of images TYX. Programs older than the
    standard store stacks of images like volumes: they are ZYX.

    Raises:
        ImageError: if it is not MRC2014, truncated, or of a mode without intensities (complex, packed 4-bit).
    """
    with wrap_errors(path, "an MRC", remedy=_REMEDY):
        header, imod = _header(path)
        shape = utils.data_shape_from_header(header)
        dtype, notes = _dtype(header, imod)
        check_pixels(shape, dtype, str(path))
        start = _HEADER_BYTES + int(header.nsymbt)
        if min(shape) < 0 or start < _HEADER_BYTES:
            raise ValueError(f"its header declares shape {shape} and pixels at byte {start}")
        if _is_gzip(path):
            pixels = _decode(path, start, shape, dtype)
            return _describe(path, header, pixels, (*notes, "it is compressed, and decoded whole in memory"))
        array = open_raw(path, start, shape, dtype)
        return _describe(path, header, array, notes, closer=array.close)


def _header(path: Path) -> tuple[Any, tuple[int, int]]:
    """Return the header in the byte order of the file, and IMOD's stamp and flags."""
    with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
        raw = file.read(_HEADER_BYTES)
    if len(raw) < _HEADER_BYTES or raw[208:211] != b"MAP":
        raise ValueError("it has no header of MRC2014")
    order = utils.byte_order_from_machine_stamp(raw[212:216])
    words = np.frombuffer(raw, f"{order}i4")
    header: Any = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(order)).reshape(()).view(np.recarray)
    return header, (int(words[_IMOD_STAMP_AT]), int(words[_IMOD_FLAGS_AT]))


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _dtype(header: Any, imod: tuple[int, int]) -> tuple[np.dtype[Any], tuple[str, ...]]:
    """Return the data type of a sample, and a note if it is not that of the standard, whose bytes are signed."""
    dtype: np.dtype[Any] = utils.data_dtype_from_header(header)
    if dtype == np.int8 and imod[0] == _IMOD_STAMP and not imod[1] & _IMOD_SIGNED:
        return np.dtype(np.uint8), ("its bytes are read as unsigned, as the flags of IMOD say",)
    return dtype, ()


def _decode(path: Path, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return the pixels of a compressed file."""
    check_decoded_size(shape, dtype.itemsize, "a compressed MRC", str(path))
    size = prod(shape) * dtype.itemsize
    with gzip.open(path) as file:
        file.seek(start)
        content = file.read(size)
    if len(content) < size:
        raise EOFError(f"{size} bytes of pixels are declared, and {len(content)} are stored")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _describe(path: Path, header: Any, array: LazyArray, notes: tuple[str, ...], closer: Any = None) -> ReaderResult:
    axes = {2: "YX", 3: "ZYX", 4: "TZYX"}[len(array.shape)]
    if axes == "ZYX" and _is_image_stack(header):
        axes, notes = "TYX", (*notes, "a stack of images is read as T; set --axes ZYX if they are slices")
    steps, origin, more = _calibration(header)
    steps = {a: step for a, step in steps.items() if a in axes}
    return ReaderResult(
        (array,),
        axes,
        name=path.name,
        path=path,
        pixel_sizes=(steps,),
        origins=({a: at for a, at in origin.items() if a in axes},),
        units=dict.fromkeys(steps, "angstrom"),
        notes=(*notes, *more),
        closer=closer,
    )


def _is_image_stack(header: Any) -> bool:
    """Return whether sections are images rather than slices: MZ is 1, while older programs set it to their number."""
    return bool(header.ispg == 0 and header.mz == 1 and header.nz > 1)


def _calibration(header: Any) -> tuple[dict[str, float], dict[str, float], tuple[str, ...]]:
    """Return voxel sizes and the origin by axis letter in angstrom, and notes on the cell."""
    order = [int(header.mapc), int(header.mapr), int(header.maps)]
    if sorted(order) != [1, 2, 3]:
        order = [1, 2, 3]
    cell, sampling, origin = ([float(record[a]) for a in "xyz"] for record in _cell(header))
    sizes = [side / count if count > 0 else 0.0 for side, count in zip(cell, sampling, strict=True)]
    starts = [int(header.nxstart), int(header.nystart), int(header.nzstart)]
    steps = {letter: sizes[axis - 1] for letter, axis in zip("XYZ", order, strict=True)}
    if any(origin):
        origins = {letter: origin[axis - 1] for letter, axis in zip("XYZ", order, strict=True)}
    else:  # older than MRC2014: only the first column, row and section in the cell
        origins = {letter: start * steps[letter] for letter, start in zip("XYZ", starts, strict=True)}
    named = " ".join("XYZ"[axis - 1] for axis in order)
    turned = (f"its columns, rows and sections run along {named} of the cell, and are read as X Y Z",)
    return steps, origins, turned if order != [1, 2, 3] else ()


def _cell(header: Any) -> tuple[Any, Any, Any]:
    """Return the sides of the cell, the number of voxels along them, and the origin, as records of x, y and z."""
    sampling = {"x": header.mx, "y": header.my, "z": header.mz}
    return header.cella, sampling, header.origin
