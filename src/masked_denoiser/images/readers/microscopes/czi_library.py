"""Segments of a CZI by the library czifile, whose classes were renamed in version 2026.3.12.

Later versions need Python 3.12; the last one for Python 3.11 is 2019.7.2.3. Only what both offer is used: pixels are
returned as stored, as the versions do not decode the same compressions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import czifile
import numpy as np
from tifffile import FileHandle

from masked_denoiser.images.validation.size_limits import check_length

_MAX_XML_BYTES = 256 * 2**20
#: Names of the segments in the format.
_DIRECTORY, _METADATA, _SUB_BLOCK = "ZISRAWDIRECTORY", "ZISRAWMETADATA", "ZISRAWSUBBLOCK"

#: Bytes of a directory before its entries, of an entry without dimensions, of a dimension, and of a sub-block before
#: its entry.
_DIRECTORY_HEAD_BYTES, _ENTRY_BYTES, _DIMENSION_BYTES, _SUB_BLOCK_HEAD_BYTES = 128, 32, 20, 16
#: The format defines 11 axes.
_MAX_DIMENSIONS = 64

_LIBRARY: Any = czifile
_IS_RENAMED = hasattr(_LIBRARY, "CziSegment")
_Segment: Any = _LIBRARY.CziSegment if _IS_RENAMED else _LIBRARY.Segment
_SegmentNotFoundError: type[Exception] = (
    _LIBRARY.CziSegmentNotFoundError if _IS_RENAMED else _LIBRARY.SegmentNotFoundError
)


class Dimension(NamedTuple):
    """First position of a sub-block along an axis and its length, in pixels of full resolution and as stored."""

    start: int
    size: int
    stored_size: int


@dataclass(frozen=True)
class SubBlock:
    """An entry of the directory of sub-blocks.

    Attributes:
        file: that has it.
        position: of the sub-block in the file, in bytes.
        file_part: number of the file that has the sub-block; 0 for this one.
        dimensions: by axis letter, among them S for the scene and M for the number in its mosaic.
        stored_shape: of its pixels, with the samples of a pixel last.
        dtype: of a sample.
        compression: number in the format.
    """

    file: CziSegments
    position: int
    file_part: int
    dimensions: Mapping[str, Dimension]
    stored_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    compression: int

    def read(self) -> bytes:
        """Return the pixels as stored.

        Raises:
            ValueError: if they are missing, incomplete, or differ from this entry.
        """
        return self.file.read(self)


class CziSegments:
    """An open file; any thread may read."""

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            ValueError: if it is not a CZI.
        """
        self._path = path
        self._lock = Lock()  # only one version has its own
        self._handle = FileHandle(path)
        try:
            self._file = _LIBRARY.CziFile(self._handle)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> CziSegments:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._handle.close()

    def sub_blocks(self) -> list[SubBlock]:
        """Return the directory of sub-blocks.

        Raises:
            ValueError: if it is missing, too long, or has pixels of a type that is not known.
        """
        with self._reading("its directory of tiles"):
            # The library would search a file without a directory for segments, a damaged one without end.
            segment = self._segment(self._file.header.directory_position)
            if segment.sid != _DIRECTORY:
                raise ValueError("its directory of tiles is missing")
            self._check_directory(segment.data_offset)
            try:
                entries = segment.data().entries
            except KeyError as error:  # of version 2019.7.2.3
                raise ValueError(f"pixels of type {error} are not supported") from error
            return [self._sub_block(entry) for entry in entries]

    def _check_directory(self, position: int) -> None:
        """Raise an error for a damaged directory, which the library would read almost without end."""
        self._handle.seek(position)
        count = int.from_bytes(self._handle.read(4), "little", signed=True)
        position += _DIRECTORY_HEAD_BYTES
        for _ in range(count):
            position += self._entry_bytes(position)

    def _entry_bytes(self, position: int) -> int:
        """Return the length of the entry of a sub-block at a position.

        Raises:
            ValueError: if it is beyond the end of the file, or has too many dimensions.
        """
        self._handle.seek(position + _ENTRY_BYTES - 4)
        data = self._handle.read(4)
        count = int.from_bytes(data, "little", signed=True)
        if len(data) < 4 or not 0 <= count <= _MAX_DIMENSIONS:
            raise ValueError(f"an entry of its directory has {count} axes, or is beyond the end of the file")
        return _ENTRY_BYTES + count * _DIMENSION_BYTES

    def metadata_xml(self) -> str:
        """Return the metadata; "" if there are none.

        Raises:
            ImageError: if they are too long.
            ValueError: if they are damaged.
        """
        position = self._file.header.metadata_position
        with self._reading("its metadata"):
            if not position or (segment := self._segment(position)).sid != _METADATA:
                return ""
            metadata = segment.data()
            check_length(metadata.xml_size, _MAX_XML_BYTES, "bytes of XML", str(self._path))
            if metadata.xml_size < 0:
                raise ValueError(f"its metadata have {metadata.xml_size} bytes")
            return str(metadata.data())

    def read(self, block: SubBlock) -> bytes:
        """Return the pixels of a sub-block as stored.

        Raises:
            ValueError: if they are missing, incomplete, or differ from the entry.
        """
        with self._reading("a tile"):
            segment = self._segment(block.position)
            if segment.sid != _SUB_BLOCK:
                raise ValueError(f"a tile is missing: {segment.sid} is at its position")
            self._entry_bytes(segment.data_offset + _SUB_BLOCK_HEAD_BYTES)
            data = segment.data()
            declared = data.directory_entry
            if (_compression_of(declared), declared.stored_shape) != (block.compression, block.stored_shape):
                raise ValueError("a tile differs from its entry in the directory")
            if not 0 <= data.data_size <= self._handle.size - data.data_offset:
                raise ValueError(f"a tile of {data.data_size} bytes extends beyond the end of the file")
            return bytes(data.data(raw=True))

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Let one thread read, and raise the errors of the library that callers do not expect as ValueError."""
        with self._lock:
            if self._handle.closed:
                raise ValueError("the file is closed")
            try:
                yield
            except (_SegmentNotFoundError, MemoryError) as error:
                raise ValueError(f"{what} is missing or damaged: {error}") from error

    def _segment(self, position: int) -> Any:
        return _Segment(self._file if _IS_RENAMED else self._handle, position)

    def _sub_block(self, entry: Any) -> SubBlock:
        dimensions = entry.read_dimension_entries(self._file).values() if _IS_RENAMED else entry.dimension_entries
        return SubBlock(
            self,
            entry.file_position,
            entry.file_part,
            {str(one.dimension): Dimension(one.start, one.size, one.stored_size or one.size) for one in dimensions},
            entry.stored_shape,
            _dtype_of(entry),
            _compression_of(entry),
        )


def _dtype_of(entry: Any) -> np.dtype[Any]:
    """Return the type of the samples.

    Raises:
        ValueError: if it is not known, which version 2026.3.12 and later read as bytes.
    """
    if _IS_RENAMED and entry.pixel_type == _LIBRARY.CziPixelType.UNKNOWN:
        raise ValueError(f"pixels of type {entry.pixel_type.value} are not supported")
    dtype: np.dtype[Any] = np.dtype(entry.dtype)
    # Version 2019.7.2.3 reads the 64-bit floats of the format (Gray64Float of libCZI) as integers, which it lacks.
    return np.dtype("<f8") if dtype.base == np.int64 else dtype.base


def _compression_of(entry: Any) -> int:
    """Return the number of the compression, also of one that the library does not know."""
    return int(entry.compression.value if _IS_RENAMED else entry.compression)
