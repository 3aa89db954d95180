"""Tiles (sub-blocks) of a CZI, located and decoded.

The compressions are those of the CZI format: none, JPEG, JPEG XR and Zstandard, the last with or without the bytes of
16-bit samples separated (https://zeiss.github.io/libczi).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import imagecodecs
import numpy as np

from masked_denoiser.images.readers.microscopes.czi_library import SubBlock
from masked_denoiser.images.validation.bounded_codecs import decompress
from masked_denoiser.images.validation.declared_size import declared_shape

_UNCOMPRESSED, _JPEG, _JPEG_XR, _ZSTD, _ZSTD_WITH_HEADER = 0, 1, 4, 5, 6
_SUPPORTED = (_UNCOMPRESSED, _JPEG, _JPEG_XR, _ZSTD, _ZSTD_WITH_HEADER)


@dataclass(frozen=True)
class Tile:
    """A tile.

    Attributes:
        block: sub-block that has its pixels.
        starts: position along the axes other than Y and X.
        row, column: of its first pixel in the coordinates of the file.
        height, width, samples, dtype: of its pixels [height, width, samples].
        ratio: pixels of full resolution for each of its pixels along Y and along X; 1 at full resolution.
        order: number of the tile in its mosaic; later ones cover earlier ones.
    """

    block: SubBlock
    starts: Mapping[str, int]
    row: int
    column: int
    height: int
    width: int
    samples: int
    dtype: np.dtype[Any]
    order: int
    ratio: int


def tile_of(block: SubBlock) -> Tile | None:
    """Return the tile in a sub-block; None if its resolution is not full or a whole fraction of that.

    Raises:
        ValueError: if the entry is damaged, the tile is more than a plane, or its compression is not supported.
    """
    if block.file_part:
        raise ValueError("its tiles are in several files, which are not read; export it as one file")
    dimensions = block.dimensions
    if "Y" not in dimensions or "X" not in dimensions:
        raise ValueError("a tile has no axes Y and X")
    y, x = dimensions["Y"], dimensions["X"]
    others = {name: one for name, one in dimensions.items() if name not in ("Y", "X", "M")}
    if min(y.size, x.size, y.stored_size, x.stored_size) < 1 or any(one.size > 1 for one in others.values()):
        raise ValueError(f"a tile has the sides { {name: one.size for name, one in dimensions.items()} }")
    ratio = round(y.size / y.stored_size)
    if any(abs(one.stored_size * ratio - one.size) >= max(1, ratio) for one in (y, x)):
        return None
    if block.compression not in _SUPPORTED:
        raise ValueError(f"compression {block.compression} is not supported")
    starts = {name: one.start for name, one in others.items()}
    order = dimensions["M"].start if "M" in dimensions else 0
    sides = y.stored_size, x.stored_size
    return Tile(block, starts, y.start, x.start, *sides, block.stored_shape[-1], block.dtype, order, ratio)


def decode_tile(tile: Tile) -> np.ndarray[Any, Any]:
    """Return the pixels [height, width] or [height, width, samples] of a tile.

    Raises:
        ValueError: if they are damaged, or not of the declared size.
    """
    shape = (tile.height, tile.width, tile.samples) if tile.samples > 1 else (tile.height, tile.width)
    compression, size = tile.block.compression, prod(shape) * tile.dtype.itemsize
    pixels = _decoded(tile.block.read(), compression, size, tile.dtype)
    if pixels.nbytes != size or pixels.dtype != tile.dtype:
        raise ValueError(f"a tile has {pixels.nbytes} bytes of {pixels.dtype}, and {size} of {tile.dtype} are declared")
    pixels = pixels.reshape(shape)
    # All but JPEG XR store blue, green, red (and alpha).
    return pixels if tile.samples == 1 or compression == _JPEG_XR else _reversed_colours(pixels)


def _decoded(content: bytes, compression: int, size: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return the samples, of which there should be `size` bytes."""
    if compression == _UNCOMPRESSED:
        return np.frombuffer(content[:size], dtype)
    if compression == _JPEG:
        shape = declared_shape(content)
        if shape is None or prod(shape) > size:
            raise ValueError(f"a tile is a JPEG of {shape}, and {size} bytes are declared")
        return np.asarray(imagecodecs.jpeg_decode(content))
    if compression == _JPEG_XR:
        return np.asarray(imagecodecs.jpegxr_decode(content))
    has_header = compression == _ZSTD_WITH_HEADER
    start = content[0] if has_header else 0
    raw = decompress("zstd", content[start:], size)
    return np.frombuffer(_joined(raw) if has_header and _is_separated(content[:start]) else raw, dtype)


def _is_separated(header: bytes) -> bool:
    """Return whether low and high bytes of 16-bit samples are separated: chunk type 1 of the header, bit 0."""
    return len(header) >= 3 and header[1] == 1 and bool(header[2] & 1)


def _joined(raw: bytes) -> bytes:
    """Return samples of low bytes followed by high bytes."""
    return np.ascontiguousarray(np.frombuffer(raw, np.uint8).reshape(2, -1).T).tobytes()


def _reversed_colours(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    order = [2, 1, 0, 3][: pixels.shape[-1]]
    return np.ascontiguousarray(pixels[..., order])
