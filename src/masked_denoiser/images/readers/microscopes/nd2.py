"""Reader of Nikon ND2 by the library nd2, frame by frame: a frame is a plane with all its channels.

The file is not memory-mapped, and frames that are missing are errors: the library itself would read zeros.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from nd2 import ND2File
from nd2.structures import ExpLoop

from masked_denoiser.errors import one_line
from masked_denoiser.images.axes import UNKNOWN
from masked_denoiser.images.readers.base import ReaderResult, check_pixels
from masked_denoiser.images.readers.chunk_cache import ChunkedArray
from masked_denoiser.images.readers.library_errors import wrap_errors
from masked_denoiser.images.readers.microscopes.names import unique_names
from masked_denoiser.images.readers.open_files import close_all, closed_on_error
from masked_denoiser.images.readers.registry import one_part
from masked_denoiser.images.source import AXES
from masked_denoiser.images.validation.bounded_codecs import decompress
from masked_denoiser.images.validation.size_limits import MAX_PLANES, check_decoded_size, check_length

_FRAME_AXES = "CYXS"
#: Bytes before the pixels of a frame.
_TIME_STAMP_BYTES = 8


class _File:
    """A file whose reads are complete or raise an error, and which the library cannot map."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.name = str(path)
        self.mode = "rb"

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._file.closed

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, and return it."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def read(self, count: int = -1) -> bytes:
        """Return bytes.

        Raises:
            EOFError: if there are fewer.
        """
        at, size = self._file.tell(), os.fstat(self._file.fileno()).st_size
        if at + count > size:
            raise EOFError(f"it ends at byte {size}, and bytes up to {at + count} are needed")
        return self._file.read(count)


def read(path: Path, part: str = "") -> ReaderResult:
    """Open the image at a stage position.

    Args:
        path: of the file.
        part: name or number of the position; "" for the only one.

    Raises:
        ImageError: if the file is damaged, or has no such position.
    """
    with wrap_errors(path, "an ND2"), closed_on_error(ND2File(_File(path))) as file:  # type: ignore[arg-type]
        names = _positions(file)
        return _describe(path, file, one_part(path, part, names or [path.stem]), bool(names))


def list_parts(path: Path) -> list[str]:
    """Return the names of the stage positions; [] if there is only one.

    Raises:
        ImageError: if the file is damaged.
    """
    with wrap_errors(path, "an ND2"), _opened(path) as file:
        return _positions(file)


@contextmanager
def _opened(path: Path) -> Iterator[ND2File]:
    file = ND2File(_File(path))  # type: ignore[arg-type]
    try:
        yield file
    finally:
        file.close()


def _positions(file: ND2File) -> list[str]:
    loop = next((loop for loop in file.experiment if loop.type == "XYPosLoop"), None)
    if loop is None or loop.count < 2:
        return []
    check_length(loop.count, MAX_PLANES, "positions", str(file.path))
    return unique_names([str(point.name or "") for point in loop.parameters.points], "position")


def _describe(path: Path, file: ND2File, position: int, has_positions: bool) -> ReaderResult:
    sizes = {str(axis): int(size) for axis, size in file.sizes.items()}
    loops = _loops(path, file.experiment, sizes)
    frame = tuple(sizes.get(axis, 1) for axis in _FRAME_AXES)
    dtype = np.dtype(file.dtype)
    check_pixels((*loops.values(), *frame), dtype, str(path))
    check_decoded_size(frame, dtype.itemsize, "a frame", str(path))
    array, notes = _frames(file, loops, frame, dtype, position)
    outer = [axis if axis in AXES else UNKNOWN for axis in loops if axis != "P"]
    axes = "".join((*outer, *(axis for axis in _FRAME_AXES if axis in sizes)))
    channels, more = _channels(file)
    steps = _pixel_sizes(file, channels)

    return ReaderResult(
        (array,),
        axes,
        rgb="S" in axes,
        name=path.name,
        path=path,
        pixel_sizes=(steps,),
        units={a: "second" if a == "T" else "micrometer" for a in steps},
        channel_names=tuple(str(channel.channel.name) for channel in channels),
        channel_colours=tuple(_hex(channel.channel.color) for channel in channels),
        notes=(*notes, *more),
        closer=close_all(array, file),
    )


def _loops(path: Path, experiment: Sequence[ExpLoop], sizes: dict[str, int]) -> dict[str, int]:
    """Return axis letter to length of the loops around frames, outermost first.

    Raises:
        ValueError: if two loops are of one kind, which the library does not distinguish.
    """
    loops = {axis: size for axis, size in sizes.items() if axis not in _FRAME_AXES}
    count = prod(loop.count for loop in experiment)
    check_length(count, MAX_PLANES, "frames", str(path))
    if count != prod(loops.values()):
        raise ValueError(f"its {count} frames are not the product of {loops}")
    return loops


def _frames(
    file: ND2File, loops: dict[str, int], frame: tuple[int, ...], dtype: np.dtype[Any], position: int
) -> tuple[ChunkedArray, tuple[str, ...]]:
    """Return the array of a position, and a note on frames that are missing.

    Axes of the array are the loops without positions, and the axes of a frame that are longer than 1.
    """
    kept = {axis: size for axis, size in loops.items() if axis != "P"}
    inner = tuple(side for axis, side in zip(_FRAME_AXES, frame, strict=True) if side > 1 or axis in "YX")
    stored = _stored(file, prod(loops.values()))
    is_compressed = file.attributes.compressionType == "lossless" and not file.is_legacy

    def fetch(index: tuple[int, ...]) -> np.ndarray[Any, Any]:
        at = dict(zip(kept, index, strict=False)) | {"P": position}
        number = int(np.ravel_multi_index([at[axis] for axis in loops], list(loops.values()))) if loops else 0
        if number not in stored:
            raise ValueError(f"frame {number} is missing in the file")
        pixels = _decode(file, number) if is_compressed else np.array(file.read_frame(number))
        return pixels.reshape(*(1,) * len(kept), *inner)

    array = ChunkedArray((*kept.values(), *inner), dtype, (*(1,) * len(kept), *inner), fetch)
    missing = prod(loops.values()) - len(stored)
    return array, (f"{missing} of its {prod(loops.values())} frames are missing",) if missing else ()


def _decode(file: ND2File, number: int) -> np.ndarray[Any, Any]:
    """Return a compressed frame [C, Y, X, S]; the library would decompress it without a limit."""
    attributes = file.attributes
    width, channels = int(attributes.widthPx or 1), int(attributes.channelCount or 1)
    dtype = np.dtype(file.dtype)
    samples = width * attributes.componentCount
    row_bytes = int(attributes.widthBytes or samples * dtype.itemsize)
    reader: Any = file._rdr
    content = reader._load_chunk(f"ImageDataSeq|{number}!".encode())[_TIME_STAMP_BYTES:]
    plain = decompress("zlib", content, attributes.heightPx * row_bytes)
    rows = np.frombuffer(plain, dtype).reshape(attributes.heightPx, -1)[:, :samples]
    return rows.reshape(attributes.heightPx, width, channels, -1).transpose(2, 0, 1, 3)


def _stored(file: ND2File, count: int) -> set[int]:
    """Return the numbers of the frames that a file has; the older format has no table of them."""
    table = getattr(file._rdr, "chunkmap", None)
    return {n for n in range(count) if table is None or f"ImageDataSeq|{n}!".encode() in table}


def _channels(file: ND2File) -> tuple[Sequence[Any], tuple[str, ...]]:
    """Return the metadata of the channels, and a note if the library cannot read those that the file has."""
    try:
        metadata: Any = file.metadata
    except (LookupError, TypeError, ValueError, AttributeError, NameError) as error:
        return (), (f"its pixel sizes and channel names cannot be read ({one_line(error)})",)
    return getattr(metadata, "channels", None) or (), ()


def _pixel_sizes(file: ND2File, channels: Sequence[Any]) -> dict[str, float]:
    """Return the pixel sizes in micrometers and seconds, of axes that the file says are calibrated."""
    steps: dict[str, float] = {}
    if channels:
        volume = channels[0].volume
        for axis, known, step in zip("XYZ", volume.axesCalibrated, volume.axesCalibration, strict=True):
            if known:
                steps[axis] = float(step)
    for loop in file.experiment:
        if loop.type == "ZStackLoop" and loop.parameters.stepUm:
            steps["Z"] = abs(float(loop.parameters.stepUm))
        elif loop.type == "TimeLoop":
            steps["T"] = float(loop.parameters.periodMs or loop.parameters.periodDiff.avg or 0) / 1000
    return {axis: step for axis, step in steps.items() if step > 0}


def _hex(colour: Any) -> str:
    return f"{colour.r:02X}{colour.g:02X}{colour.b:02X}"
