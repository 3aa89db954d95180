"""Reader of NIfTI-1 and NIfTI-2, compressed or not, and of pairs of header and image (nibabel).

Axes of NIfTI are in the order of Fortran: i is X, j is Y, k is Z, then T; a fifth one holds values of a pixel.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from threading import Lock
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileslice import fileslice
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError

from masked_denoiser.errors import ImageError
from masked_denoiser.images.metadata.own_attributes import stored_metadata, stored_origin
from masked_denoiser.images.metadata.value_calibration import calibration_notes
from masked_denoiser.images.readers.base import ReaderResult
from masked_denoiser.images.readers.chunk_cache import ChunkedArray
from masked_denoiser.images.readers.medical.nifti_attributes import attributes_in
from masked_denoiser.images.readers.open_files import close_all
from masked_denoiser.images.validation.size_limits import check_decoded_size

Array = np.ndarray[Any, Any]

_ERRORS = (
    ImageFileError, HeaderDataError, OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, zlib.error,
)  # fmt: skip
_SPACE_UNITS = {"mm": "millimeter", "meter": "meter", "micron": "micrometer"}
_MILLIMETERS = {"meter": 1e3, "micron": 1e-3}
_TIME_UNITS = {"sec": "second", "msec": "millisecond", "usec": "microsecond"}
_RGB = ("R", "G", "B")
#: Bytes of a slab that is read at a time from a compressed file, which can only be read forwards.
_SLAB_BYTES = 2**26
#: Size of the header of NIfTI-1; that of NIfTI-2 is longer.
_HEADER_BYTES = 348
#: Bytes that nibabel needs to recognise a file, if it has as many.
_BEGIN_BYTES = 1024
_COMPRESSED = (".gz", ".bz2", ".zst")


def read(path: Path, part: str = "") -> ReaderResult:
    """Open a NIfTI image lazily; `part` is always "".

    Values are those that slope and intercept of the header give: integers stay integers where these change nothing.

    Raises:
        ImageError: if the file is damaged or truncated, or holds values that cannot be denoised, such as vectors.
    """
    with _wrap_errors(path):
        _check_header(path)
        image: Any = nib.load(path)
        if not isinstance(image, nib.Nifti1Pair):
            raise ImageError(f"{path}: is {type(image).__name__}, which is not supported; convert it to NIfTI")
        header = image.header
        shape = tuple(int(side) for side in reversed(image.shape))
        axes = _axes(shape, path)
        _check_complete(image, path)
        chunks = _chunks(image, axes, shape, path)
        pixels = _Pixels(image)
        data = _lazy(pixels, chunks)
        window = float(header["cal_min"]), float(header["cal_max"])
        steps, units = _steps(header, axes)
        attributes = attributes_in(header)
        stored = stored_metadata(attributes, pixels.dtype)
        affine, notes = _affine(image)

    return ReaderResult(
        (data,),
        axes + "S" * pixels.rgb,
        name=path.name,
        path=path,
        inputs=tuple(Path(each.filename) for each in image.file_map.values() if each.filename),
        rgb=pixels.rgb,
        pixel_sizes=(steps,),
        units=units,
        windows=(window,) if isfinite(sum(window)) and window[0] < window[1] and not pixels.rgb else (),
        affine=affine,
        notes=(*notes, *calibration_notes(stored.get("value_calibration", {}))),
        origins=(stored_origin(attributes),),
        fill_values=stored.get("fill_values", ()),
        value_calibration=stored.get("value_calibration", {}),
        modality=str(attributes.get("modality", "")),
        closer=close_all(data, pixels),
    )


@contextmanager
def _wrap_errors(path: Path) -> Iterator[None]:
    """Raise errors of nibabel as ImageError with a one-line message."""
    try:
        yield
    except ImageError:
        raise
    except _ERRORS as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ImageError(f"{path}: is a damaged NIfTI file ({reason}); copy or export it again") from error


def _axes(shape: tuple[int, ...], path: Path) -> str:
    """Return the axes of the array as it is stored, in the order of C, with dimensions of length 1 kept.

    Raises:
        ImageError: if pixels are vectors, or there are more than five dimensions.
    """
    if min(shape, default=0) < 1:
        raise ImageError(f"{path}: declares the shape {shape[::-1]}; copy or export it again")
    if not 2 <= len(shape) <= 5 or (len(shape) == 5 and shape[0] > 1):
        raise ImageError(
            f"{path}: has the shape {shape[::-1]}, thus vectors or statistics instead of intensities; extract a volume"
        )
    return "CTZYX"[-len(shape) :]


def _affine(image: Any) -> tuple[tuple[tuple[float, ...], ...], tuple[str, ...]]:
    """Return the affine to millimeters, and a note if it is invalid.

    It is () if the header states only pixel sizes, and not where the image lies.
    """
    header = image.header
    if header["qform_code"] <= 0 and header["sform_code"] <= 0:
        return (), ()
    if not np.isfinite(image.affine).all():
        return (), ("its affine has values that are no numbers, so that its position in the patient is not known",)
    scale = _MILLIMETERS.get(header.get_xyzt_units()[0], 1.0)
    affine = np.diag([scale, scale, scale, 1.0]) @ image.affine
    return tuple(tuple(float(value) for value in row) for row in affine), ()


def _steps(header: Any, axes: str) -> tuple[dict[str, float], dict[str, str]]:
    """Return pixel sizes and units; none where the unit is unknown, as a size of 1 is then only a placeholder."""
    space, time = header.get_xyzt_units()
    zooms = [float(zoom) for zoom in header.get_zooms()]
    units = {"X": space, "Y": space, "Z": space, "T": time}
    names = _SPACE_UNITS | _TIME_UNITS
    steps = {axis: zoom for axis, zoom in zip("XYZT", zooms, strict=False) if axis in axes and axis in "XYZT"}
    known = {a: step for a, step in steps.items() if units[a] in names or step != 1}
    return known, {a: names[units[a]] for a in known if units[a] in names}


def _check_header(path: Path) -> None:
    """Check that a file has a whole header, compressed or not; the image of a pair has none.

    Raises:
        ImageError: if it ends within the header, or a compressed one soon after it.
    """
    name = path.name.lower()
    if name.endswith((".img", ".img.gz")):
        return
    try:
        with gzip.open(path) if name.endswith(".gz") else path.open("rb") as file:
            size = len(file.read(_BEGIN_BYTES))
    except EOFError:
        size = 0
    if size < _HEADER_BYTES:
        raise ImageError(f"{path}: is truncated after byte {path.stat().st_size}; copy it again")


def _check_complete(image: Any, path: Path) -> None:
    """Check that the file of the pixels has all of them.

    Raises:
        ImageError: with both sizes; for gzip only where the size that its end states does not fit.
    """
    proxy, data = image.dataobj, _data_path(image)
    if not data.exists():
        raise ImageError(f"{path}: is a header without its pixels, as {data} is missing; copy it to there")
    needed = int(proxy.offset) + int(np.prod(proxy.shape, dtype=np.int64)) * proxy.dtype.itemsize
    if data.name.lower().endswith(".gz"):
        found = _gzip_size(data, needed)
    elif data.name.lower().endswith(_COMPRESSED):
        return
    else:
        found = data.stat().st_size
    if found < needed:
        raise ImageError(f"{data}: is truncated, it has {found} of {needed} bytes; copy it again")


def _gzip_size(path: Path, needed: int) -> int:
    """Return the size of a gzip file's content, or `needed` if its end states this size (RFC 1952, 2.3.1).

    Otherwise the file is decompressed once, as it is truncated or consists of several members.
    """
    with path.open("rb") as file:
        file.seek(-min(4, path.stat().st_size), 2)
        if int.from_bytes(file.read(4), "little") == needed % 2**32:
            return needed
    size = 0
    try:
        with gzip.open(path) as content:
            while size < needed and (block := content.read1(2**20)):  # read() would lose what precedes the end
                size += len(block)
    except EOFError:
        pass
    return size


def _data_path(image: Any) -> Path:
    return Path(image.file_map["image"].filename)


class _Pixels:
    """The pixels of a file, read block by block; one thread at a time, as a compressed file is read forwards.

    Attributes:
        shape: in the order of C, without samples.
        dtype: of the values.
        rgb: whether a pixel is red, green and blue.
    """

    def __init__(self, image: Any) -> None:
        proxy = image.dataobj
        self.shape = tuple(int(side) for side in reversed(proxy.shape))
        self.rgb = proxy.dtype.names == _RGB
        self._scaled = not self.rgb and _is_scaled(proxy)
        self.dtype = _value_dtype(proxy, self.rgb)
        self._proxy, self._lock = proxy, Lock()
        self._file = ImageOpener(str(_data_path(image)))

    def read(self, block: tuple[slice, ...]) -> Array:
        """Return the values in a block in the order of C, with a dimension for samples if it is RGB."""
        proxy = self._proxy
        turned = fileslice(
            self._file, tuple(reversed(block)), proxy.shape, proxy.dtype, proxy.offset, order="F", lock=self._lock
        )
        stored = np.ascontiguousarray(turned.T)
        if self.rgb:
            return np.stack([stored[name] for name in _RGB], axis=-1)
        if not self._scaled:
            return stored.astype(self.dtype, copy=False)
        return (stored * np.float64(proxy.slope) + np.float64(proxy.inter)).astype(self.dtype)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _chunks(image: Any, axes: str, shape: tuple[int, ...], path: Path) -> tuple[int, ...]:
    """Return the block that is read at a time: a plane, or a slab of planes of a compressed file."""
    itemsize = image.dataobj.dtype.itemsize
    chunks = [side if axis in "YX" else 1 for axis, side in zip(axes, shape, strict=True)]
    check_decoded_size(tuple(chunks), itemsize, "a plane", str(path))
    if _data_path(image).name.lower().endswith(_COMPRESSED) and "Z" in axes:
        plane = int(np.prod(chunks, dtype=np.int64)) * itemsize
        chunks[axes.index("Z")] = max(1, min(shape[axes.index("Z")], _SLAB_BYTES // plane))
    return tuple(chunks)


def _lazy(pixels: _Pixels, chunks: tuple[int, ...]) -> ChunkedArray:
    """Return the pixels as an array, with a last dimension for samples if they are RGB."""

    def fetch(index: tuple[int, ...]) -> Array:
        block = (slice(i * c, min((i + 1) * c, s)) for i, c, s in zip(index, chunks, pixels.shape, strict=False))
        return pixels.read(tuple(block))

    samples = (3,) if pixels.rgb else ()
    return ChunkedArray((*pixels.shape, *samples), pixels.dtype, (*chunks, *samples), fetch)


def _is_scaled(proxy: Any) -> bool:
    """Return whether the header scales the stored numbers, integers or floats."""
    return (float(proxy.slope), float(proxy.inter)) != (1.0, 0.0)


def _value_dtype(proxy: Any, rgb: bool) -> np.dtype[Any]:
    """Return the dtype of values: that of the file, or float32 if the header scales its integers."""
    if rgb:
        return np.dtype(np.uint8)
    stored: np.dtype[Any] = np.dtype(proxy.dtype).newbyteorder("=")
    if not _is_scaled(proxy):
        return stored
    return np.dtype(np.float64 if stored.itemsize > (4 if stored.kind == "f" else 2) else np.float32)
