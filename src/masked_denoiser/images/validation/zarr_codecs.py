"""What a zarr may ask for: codecs that only decompress, chunks within the budget, metadata of sane length.

A chunk of format 2 can name a filter that unpickles, and so runs whatever its author wrote: only codecs known to
be plain are let through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from masked_denoiser.errors import ImageError
from masked_denoiser.images.validation.size_limits import check_length, check_piece
from masked_denoiser.images.zarr_files import METADATA_FILES

_MOST_BYTES = 64 * 2**20
_MOST_DEPTH = 2
#: Bytes of offset and length of a chunk in a shard.
_INDEX_ENTRY = 16

#: What makes few bytes many; one after the other would multiply.
_COMPRESSORS = {"blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"}
_CHECKSUMS = {"adler32", "crc32", "crc32c", "fletcher32", "jenkins_lookup3"}
_PLAIN = {"astype", "bitround", "bytes", "delta", "fixedscaleoffset", "packbits", "quantize", "shuffle", "transpose"}
_SHARDS = "sharding_indexed"


def check_metadata_files(folder: Path, name: str) -> None:
    """Refuses a folder whose zarr metadata are too long to be read, told from the sizes of the files.

    Raises:
        ImageError: if one is.
    """
    for file in (folder / metadata for metadata in METADATA_FILES):
        if file.is_file():
            check_length(file.stat().st_size, _MOST_BYTES, f"bytes of metadata in {file.name}", name)


def check_array(array: Any, name: str) -> None:
    """Refuses an array that must not be read.

    Args:
        array: an open zarr array.
        name: of the image.

    Raises:
        ImageError: if a codec is not known to be safe, several compressors follow each other, or a chunk is over the
            budget. A shard is read chunk by chunk.
    """
    if any(side < 1 for side in array.chunks):
        raise ImageError(f"{name}: its chunks are {array.chunks}; copy or export it again")
    check_piece(tuple(array.chunks), array.dtype.itemsize, "a chunk", name)
    if array.shards is not None:
        grid = tuple(shard // chunk for shard, chunk in zip(array.shards, array.chunks, strict=True))
        check_piece(grid, _INDEX_ENTRY, "the index of a shard", name)
    _check_codecs(list(_codecs(array.metadata.to_dict())), name)


def _codecs(metadata: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """In formats 2 and 3."""
    yield from metadata.get("codecs") or ()
    yield from metadata.get("filters") or ()
    if compressor := metadata.get("compressor"):
        yield compressor


def _check_codecs(codecs: list[Any], name: str, depth: int = 0, compressors: int = 1) -> None:
    found = []
    for codec in codecs:
        kind = str(codec.get("name") or codec.get("id")).removeprefix("numcodecs.")
        if kind == _SHARDS and depth < _MOST_DEPTH:
            inside = codec.get("configuration", {})
            _check_codecs(list(inside.get("codecs", ())), name, depth + 1)
            _check_codecs(list(inside.get("index_codecs", ())), name, depth + 1, compressors=0)
        elif kind in _COMPRESSORS:
            found.append(kind)
        elif kind not in _PLAIN | _CHECKSUMS:
            raise ImageError(f"{name}: its codec {kind!r:.60} is not opened for safety; store it with zstd or blosc")
    if len(found) > compressors:
        raise ImageError(f"{name}: is compressed again and again ({', '.join(found[:5])}); store it with one codec")
