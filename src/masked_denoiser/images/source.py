"""Sources: lazily read images with their metadata."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from gzip import BadGzipFile
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from masked_denoiser.errors import DamagedError, ImageError
from masked_denoiser.images.locator import join_locator
from masked_denoiser.images.planes import Plane, plane_index, to_channels_first
from masked_denoiser.messages import clean_text

#: Axis letters, those of OME and tifffile: time, channel, depth, height, width, RGB(A) samples.
AXES = "TCZYXS"

_NOTHING: Mapping[str, Any] = MappingProxyType({})


#: What decoders raise for damaged content.
DECODER_ERRORS = (
    RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, EOFError, zlib.error, struct.error, BadGzipFile,
    SystemError,  # numcodecs' blosc, for a declared size below 0
)  # fmt: skip


@runtime_checkable
class LazyArray(Protocol):
    """The part of the array interface that a source needs; numpy, zarr and dask arrays have it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sides of the array."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of a sample."""
        ...

    def __getitem__(self, key: Any, /) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class ImageMetadata:
    """What a reader knows of an image, apart from its pixels and axes.

    Attributes:
        name: shown in messages. It, units and channel names of a source have only characters that files can hold.
        units: axis letter to the unit of its pixel size, as OME writes it ("micrometer", "second").
        channel_names: one for each position of "C", or a single one without "C"; or empty.
        channel_colours: six hex digits of red, green, blue for each channel; empty for RGB.
        windows: the intensities shown as black and as white for each channel.
        path: the file or folder that it came from; None for an array in memory.
        inputs: every file and folder that its pixels are read from, none of which may be written to.
        notes: what was guessed or omitted, in sentences for the user.
        closer: closes the files behind it.
        url: the address that it is read from over a network; "" for files and arrays.
        fill_values: values that the file declares to mark missing pixels.
        level_paths: folders of the levels of a zarr on disk, full resolution first; empty for others.
        alpha: kind of the fourth sample of RGB: "unassociated", "associated" (the colours are multiplied by it) or
            "unspecified"; "" if the file does not say.
        value_calibration: how the program that wrote the file computes the measured quantity from a pixel:
            "function", "coefficients" and "unit", as JSON values. It is stored with an output, and never applied.
        part: name of the image in its file, for formats that hold several; "" for others.
        reader: the napari or bioio reader that opened it; "" for the readers of this package.
        affine: 4 rows of 4 that take (column, row, slice, 1) of the first pixel's centre onwards to millimeters towards
            the patient's right-to-left, posterior-to-anterior and foot-to-head directions (RAS); () if unknown.
        modality: kind of a medical image as DICOM abbreviates it, such as "CT" or "MR"; "MR derived" for phase images
            and maps; "" if the file does not say.
    """

    name: str = "image"
    units: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    channel_names: tuple[str, ...] = ()
    channel_colours: tuple[str, ...] = ()
    windows: tuple[tuple[float, float], ...] = ()
    path: Path | None = None
    inputs: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    closer: Callable[[], None] | None = field(default=None, compare=False)
    url: str = ""
    fill_values: tuple[float, ...] = ()
    level_paths: tuple[Path, ...] = ()
    alpha: str = ""
    value_calibration: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    part: str = ""
    reader: str = ""
    affine: tuple[tuple[float, ...], ...] = ()
    modality: str = ""

    def metadata(self) -> dict[str, Any]:
        """Return these fields by name."""
        return {one.name: getattr(self, one.name) for one in fields(ImageMetadata)}

    def own_attributes(self) -> dict[str, Any]:
        """Return, as JSON values, what an output stores although its format does not define it."""
        stored = {
            "value_calibration": dict(self.value_calibration),
            "alpha": self.alpha,
            "affine": [list(row) for row in self.affine],
            "modality": self.modality,
            "fill_values": list(self.fill_values),
        }
        return {name: value for name, value in stored.items() if value}


class Closer:
    """Function that closes the files behind a source; all copies of the source share it, and know that it was called.

    Args:
        close: closes the files.

    Attributes:
        closed: whether it was called.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self._close, self.closed = close, False

    def __call__(self) -> None:
        """Close the files; a second call does nothing."""
        if not self.closed:
            self.closed = True
            self._close()


@dataclass(frozen=True)
class Source(ImageMetadata):
    """A lazily read image.

    Attributes:
        data: the full-resolution pixels, one dimension for each letter of `axes`.
        axes: one letter of `AXES` for each dimension, "Y" and "X" among them.
        rgb: whether "S", or without it "C", holds red, green, blue (and alpha).
        pixel_size: axis letter to its step, for those of T, Z, Y, X that are known.
        levels: the pyramid, full resolution first; always at least `(data,)`.
        origin: axis letter to the centre of the first pixel, in units of `pixel_size` (in pixels where that is
            unknown), for those of T, Z, Y, X where it is not 0.
        selection: the part of the file that it is, as `images.selection` writes it; "" for all.
        requested_axes, level: how it was opened.
        context: the whole planes that it was cut out of; noise is measured there. None for whole planes.
    """

    data: LazyArray
    axes: str
    rgb: bool = False
    pixel_size: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    levels: tuple[LazyArray, ...] = ()
    origin: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    selection: str = ""
    requested_axes: str | None = None
    level: int = 0
    context: Source | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.levels:
            object.__setattr__(self, "levels", (self.data,))
        if self.path is not None and self.path not in self.inputs:
            object.__setattr__(self, "inputs", (self.path, *self.inputs))
        object.__setattr__(self, "name", clean_text(self.name))
        object.__setattr__(self, "channel_names", tuple(map(clean_text, self.channel_names)))
        object.__setattr__(self, "units", {axis: clean_text(unit) for axis, unit in self.units.items()})
        if self.closer is not None and not isinstance(self.closer, Closer):
            object.__setattr__(self, "closer", Closer(self.closer))

    @property
    def where(self) -> str:
        """Path or address that it was opened from, with its part, or its name for an array in memory."""
        return self.url or join_locator(self.path or self.name, self.part)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sides at full resolution, in the order of `axes`."""
        return tuple(int(side) for side in self.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of a sample."""
        # One type for each width: zarr does not know NumPy's second type of 64-bit integers, as tifffile uses it.
        return np.dtype(np.dtype(self.data.dtype).str)

    @property
    def sizes(self) -> dict[str, int]:
        """Axis letter to length, in the order of `axes`."""
        return dict(zip(self.axes, self.shape, strict=True))

    @property
    def size_yx(self) -> tuple[int, int]:
        """Height and width of a plane in pixels."""
        return self.sizes["Y"], self.sizes["X"]

    def read(self, plane: Plane, ys: slice, xs: slice) -> np.ndarray[Any, Any]:
        """Read a rectangle of a plane as [channels, height, width] in the dtype of the source.

        Raises:
            DamagedError: if the file is damaged there.
            ImageError: if the file has become unreachable, its decoder is missing, or the source was closed.
        """
        where = f"rows {ys.start} to {ys.stop}, columns {xs.start} to {xs.stop}{_position(plane)}"
        try:
            pixels = np.asarray(self.data[plane_index(self.axes, plane, ys, xs)])
        except (*DECODER_ERRORS, OSError, ImportError) as error:
            if isinstance(self.closer, Closer) and self.closer.closed:
                raise ImageError(f"{self.where}: was closed; open it again, or close it after it is read") from error
            if self.path is None and not self.url:
                raise
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            if isinstance(error, ImportError):  # by imagecodecs, for a codec that it was built without
                raise ImageError(f"{self.where}: cannot be decoded ({reason}); compress it otherwise") from error
            if not isinstance(error, DECODER_ERRORS):
                mend = "check the connection" if self.url else "check that its disk is mounted"
                raise ImageError(
                    f"{self.where}: cannot be reached at {where} ({reason}); {mend}, then --resume"
                ) from error
            raise DamagedError(
                f"{self.where}: is damaged at {where} ({reason}); copy the file again, then --resume, or copy what can "
                "be read with --on-error skip"
            ) from error
        return to_channels_first(pixels, self.axes, plane)

    def close(self) -> None:
        """Close the files behind the source; it cannot be read afterwards."""
        if self.closer is not None:
            self.closer()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def closed_unless_given(source: Source, given: object) -> AbstractContextManager[Source]:
    """Return a context manager that closes a source, unless it was made of another source, whose owner closes both.

    Args:
        source: what `open_image` returned.
        given: what `open_image` was called with.
    """
    return nullcontext(source) if isinstance(given, Source) else source


def axes_notes(source: Source) -> list[str]:
    """Return the notes on guessed or ignored axes; a gray or RGB plane leaves nothing to guess, four samples do."""
    is_plane = not set(source.axes) - set("YXS") and source.sizes.get("S") != 4
    return [] if is_plane else list(source.notes)


def _position(plane: Plane) -> str:
    """Return the position of a plane along the other axes, for errors."""
    return "".join(f", {letter} {at}" for letter, at in plane.index)
