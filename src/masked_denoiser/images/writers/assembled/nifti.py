"""NIfTI sink: NIfTI-1 (or -2 for longer sides), compressed if the path ends in .gz, with the header of a NIfTI input.

See https://nifti.nimh.nih.gov/nifti-1. Integers of 8 and 16 bits are stored with the finest scale, a power of two, in
which all values fit, and if that is too coarse, in a wider type: unchanged values stay exact, and rounding stays below
a tenth of the noise.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from math import floor, log2
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Extensions

from masked_denoiser.errors import ImageError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.readers.medical.nifti_attributes import attributes_in, from_extension, to_extension
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.assembled.nifti_geometry import set_geometry
from masked_denoiser.images.writers.assembled.sink import AssembledSink
from masked_denoiser.images.writers.base import ProgressCallback, no_progress
from masked_denoiser.images.writers.layout import Layout

Array = np.ndarray[Any, Any]

#: Finest scale, as a power of two of that of the input: rounding by a 256th of a grey level is below any noise.
_MAX_FINER = 8
#: Coarsest such scale before integers are stored in a wider type. Rounding by an eighth of a grey level has a standard
#: deviation of 0.036, a tenth of that of noise of 0.2 and of the rounding of the input (0.29) together.
_MIN_FINER = 3
#: Wider types, which all programs read.
_WIDER = (np.dtype("<i2"), np.dtype("<i4"))
#: Relative error of values in float32, by which the extreme integers may seem not to fit.
_FLOAT32_ERROR = 1e-5
#: Largest side that NIfTI-1 can store.
_MAX_SIDE_1 = 32767
_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")
_RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


class NiftiSink(AssembledSink):
    """A sink that writes a NIfTI file."""

    @classmethod
    def check(cls, source: Source, layout: Layout) -> None:
        """Check that NIfTI can store the data type.

        Raises:
            ImageError: for half precision, and colours that are not of 8 bits.
        """
        colours = np.dtype(source.dtype) if layout.keeps_dtype else layout.dtype
        if "S" in layout.axes and colours != np.uint8:
            raise ImageError(f"NIfTI stores colours of 8 bits only, and these have {colours}; write to .ome.tif")
        if layout.dtype.str[1:] not in _DTYPES:
            raise ImageError(f"NIfTI cannot store {layout.dtype}; write to .ome.zarr, or use --dtype float32")

    def write(self, plane: Plane, y: int, x: int, pixels: Array) -> None:
        """Write [channels, height, width] at (y, x) of `plane`; integers are stored exactly."""
        super().write(plane, y, x, pixels.astype(self._folder.layout.dtype) if pixels.dtype.kind in "iu" else pixels)

    def _assemble(self, path: Path, progress: ProgressCallback) -> None:
        stored = _stored_dtype(self._source, self._folder.layout)
        scale = header_scale(self._source) if self._folder.layout.keeps_dtype else (1.0, 0.0)
        if stored.kind in "iu" and self._folder.layout.dtype.kind == "f":
            stored, scale = _choose(stored, scale, *self._extremes(*scale))
        header = _header(self._source, self._folder.layout, stored)
        header.set_slope_inter(*(scale if stored.kind in "iu" else (1, 0)))
        if self._anonymizes:
            _remove_text(header)
        described = {**self._values(), **self._modality(), **self._origin(header)}
        header.extensions.append(to_extension({**self._attributes, **described}))
        with path.open("wb") as file, _compressed(file, self._path) as out:
            header.write_to(out)
            for plane in self._planes(progress):
                out.write(_encode(plane, stored, *scale))

    def _values(self) -> dict[str, Any]:
        own = self._source.own_attributes()
        return {name: own[name] for name in ("fill_values", "value_calibration") if name in own}

    def _modality(self) -> dict[str, str]:
        return {"modality": self._source.modality} if self._source.modality else {}

    def _origin(self, header: Any) -> dict[str, dict[str, float]]:
        """Return the origin in the units of the pixel sizes of the header, which need not be those of the source."""
        source = self._source
        zooms = dict(zip("XYZT", map(float, header.get_zooms()), strict=False))
        ratios = {a: zooms.get(a, 1.0) / source.pixel_size.get(a, 1.0) for a in source.origin}
        return {"origin": {a: source.origin[a] * ratio for a, ratio in ratios.items()}} if ratios else {}

    def _planes(self, progress: ProgressCallback = no_progress) -> Iterator[Array]:
        """Yield the planes in the order of the file."""
        sizes = self._folder.layout.sizes
        planes = list(product(range(sizes.get("T", 1)), range(sizes.get("Z", 1))))
        for number, (t, z) in enumerate(planes):
            progress(number / len(planes))
            yield self._plane({"T": t, "Z": z})

    def _extremes(self, slope: float, intercept: float) -> tuple[float, float]:
        """Return the lowest and the highest value in units of the stored integers at this scale."""
        extremes = [(float(plane.min()), float(plane.max())) for plane in self._planes()]
        low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
        ends = sorted(((low - intercept) / slope, (high - intercept) / slope))  # some slopes are negative
        return ends[0], ends[1]


def _choose(
    stored: np.dtype[Any], scale: tuple[float, float], low: float, high: float
) -> tuple[np.dtype[Any], tuple[float, float]]:
    """Return the integers to store, with slope and intercept, for values from `low` to `high`.

    Slope and intercept are those of the input, but finer (or coarser) by a power of two, and shifted by whole steps if
    unsigned integers would become negative: values that are unchanged stay exact. Integers are wider than those of the
    input where these leave fewer than `_MIN_FINER` binary places.

    Args:
        stored: the integers of the input.
        scale: slope and intercept of the input.
        low, high: in units of the integers at this scale.
    """
    wider = [each for each in _WIDER if each.itemsize > stored.itemsize]
    fitting = (each for each in (stored, *wider) if _places(each, low, high) >= _MIN_FINER)
    chosen, (slope, intercept) = next(fitting, (stored, *wider)[-1]), scale
    return chosen, (slope / 2.0 ** _places(chosen, low, high), intercept + _shift(chosen, low) * slope)


def _places(stored: np.dtype[Any], low: float, high: float) -> int:
    """Return the binary places, at most `_MAX_FINER`, that integers leave for values from `low` to `high`.

    They are negative if the values do not fit.
    """
    limits, shift = np.iinfo(stored), _shift(stored, low)
    ends = ((limits.min, low - shift), (limits.max, high - shift))
    ratio = min((limit / end for limit, end in ends if limit * end > 0), default=2.0**_MAX_FINER)
    return min(_MAX_FINER, floor(log2(ratio * (1 + _FLOAT32_ERROR))))


def _shift(stored: np.dtype[Any], low: float) -> int:
    """Return the whole steps by which values are shifted, so that unsigned integers do not become negative."""
    return min(0, floor(low)) if stored.kind == "u" else 0


def _encode(plane: Array, stored: np.dtype[Any], slope: float, intercept: float) -> bytes:
    """Return the bytes of a plane, [height, width] or [height, width, 3]."""
    if plane.ndim == 3:
        return np.ascontiguousarray(np.clip(np.rint(plane), 0, 255), np.uint8).tobytes()
    if stored.kind in "iu" and (plane.dtype.kind == "f" or (slope, intercept) != (1, 0)):
        limits = np.iinfo(stored)
        plane = np.clip(np.rint((plane.astype(np.float64) - intercept) / slope), limits.min, limits.max)
    return np.ascontiguousarray(plane, stored).tobytes()


def header_scale(source: Source) -> tuple[float, float]:
    """Return slope and intercept of a NIfTI input; (1, 0) for others."""
    image = _nifti_input(source)
    # nibabel moves them from the header to the pixels when it opens a file.
    return (1.0, 0.0) if image is None else (float(image.dataobj.slope), float(image.dataobj.inter))


def _stored_dtype(source: Source, layout: Layout) -> np.dtype[Any]:
    """Return the dtype of the file for NIfTI, and that of the pixels for others, in little endian."""
    template = _template(source)
    on_disk = template.get_data_dtype() if template is not None else np.dtype(source.dtype)
    if "S" in layout.axes:
        return _RGB
    if not layout.keeps_dtype:
        return layout.dtype.newbyteorder("<")
    return np.dtype(layout.dtype if on_disk.str[1:] not in _DTYPES else on_disk).newbyteorder("<")


def _nifti_input(source: Source) -> Any:
    """Return the NIfTI file of a source; None for other images."""
    if source.path is None or not source.path.name.lower().endswith(_SUFFIXES):
        return None
    image = nib.load(source.path)
    return image if isinstance(image, nib.Nifti1Pair) else None


def _template(source: Source) -> Any:
    """Return the header of a NIfTI input; None for other images."""
    image = _nifti_input(source)
    return None if image is None else image.header


def _header(source: Source, layout: Layout, stored: np.dtype[Any]) -> Any:
    """Return the header of the output: that of a NIfTI input, or a new one."""
    template, sizes = _template(source), layout.sizes
    shape = [sizes.get(a, 1) for a in "XYZT"]
    while len(shape) > 2 and "XYZT"[len(shape) - 1] not in sizes:
        shape.pop()
    kind = nib.Nifti2Header if max(shape) > _MAX_SIDE_1 or isinstance(template, nib.Nifti2Header) else nib.Nifti1Header
    converted: Any = kind
    header = converted() if template is None else converted.from_header(template, check=False).as_byteswapped("<")
    header["magic"] = kind.single_magic
    header.extensions = Nifti1Extensions(_others(template.extensions) if template is not None else ())
    header["vox_offset"] = 0  # computed from the extensions when it is written
    header.set_data_dtype(stored)
    header.set_data_shape(shape)
    set_geometry(header, source, shape, template)
    if source.windows and template is None:
        header["cal_min"], header["cal_max"] = source.windows[0]
    return header


def _remove_text(header: Any) -> None:
    """Remove extensions and texts, in which programs store names, dates and headers of DICOM."""
    header.extensions = Nifti1Extensions()
    for name in ("descrip", "db_name", "aux_file", "intent_name", "data_type"):
        if name in header.keys():  # noqa: SIM118 - a header is no dict
            header[name] = b""


def _others(extensions: Any) -> list[Any]:
    """Return the extensions of an input without ours, of an earlier run."""
    return [extension for extension in extensions if not from_extension(extension)]


@contextmanager
def _compressed(file: BinaryIO, output: Path) -> Iterator[Any]:
    """Yield a file that compresses what is written to it, if the name of the output says so."""
    if not output.name.lower().endswith(".gz"):
        yield file
        return
    with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as out:  # equal jobs write equal bytes
        yield out


def read_nifti_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes that a `NiftiSink` stored; {} for other files.

    Raises:
        OSError, ValueError: if the file cannot be read.
    """
    try:
        image: Any = nib.load(path)
    except ImageFileError as error:
        raise ValueError(str(error)) from error
    return attributes_in(image.header)
