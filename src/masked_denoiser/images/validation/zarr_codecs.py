"""Safety checks of zarr arrays: allowed codecs, chunk sizes and length of metadata.

An array of format 2 can name a filter that unpickles, and so executes arbitrary code: only codecs known to be safe
are allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from masked_denoiser.errors import ImageError
from masked_denoiser.images.validation.size_limits import check_decoded_size, check_length
from masked_denoiser.images.zarr_files import METADATA_FILES

_MAX_METADATA_BYTES = 64 * 2**20
_MAX_SHARDING_DEPTH = 2
#: Bytes of offset and length of a chunk in the index of a shard.
_INDEX_ENTRY_BYTES = 16

#: Codecs that expand data; only one is allowed, as chained ones would multiply the size.
_COMPRESSORS = {"blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"}
_CHECKSUMS = {"adler32", "crc32", "crc32c", "fletcher32", "jenkins_lookup3"}
_FILTERS = {"astype", "bitround", "bytes", "delta", "fixedscaleoffset", "packbits", "quantize", "shuffle", "transpose"}
_SHARDING = "sharding_indexed"


def check_metadata_files(folder: Path, name: str) -> None:
    """Raise an error if metadata files in a zarr folder are too large to be read.

    Raises:
        ImageError: if a file exceeds the limit.
    """
    for file in (folder / metadata for metadata in METADATA_FILES):
        if file.is_file():
            check_metadata_size(file.stat().st_size, file.name, name)


def check_metadata_size(size: int, file: str, name: str) -> None:
    """Raise an error if a metadata file of a zarr is too large to be read.

    Raises:
        ImageError: if its size in bytes exceeds the limit.
    """
    check_length(size, _MAX_METADATA_BYTES, f"bytes of metadata in {file}", name)


def check_array(array: Any, name: str) -> None:
    """Raise an error for an array that is unsafe to read.

    Args:
        array: an open zarr array.
        name: of the image.

    Raises:
        ImageError: if a codec is not known to be safe, compressors are chained, or a chunk exceeds the size limit.
            A shard is read chunk by chunk.
    """
    if any(side < 1 for side in array.chunks):
        raise ImageError(f"{name}: its chunk shape is {array.chunks}; copy or export it again")
    check_decoded_size(tuple(array.chunks), array.dtype.itemsize, "a chunk", name)
    if array.shards is not None:
        grid = tuple(shard // chunk for shard, chunk in zip(array.shards, array.chunks, strict=True))
        check_decoded_size(grid, _INDEX_ENTRY_BYTES, "the index of a shard", name)
    _check_codecs(list(_codecs(array.metadata.to_dict())), name)


def _codecs(metadata: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the codecs in metadata of format 2 or 3."""
    yield from metadata.get("codecs") or ()
    yield from metadata.get("filters") or ()
    if compressor := metadata.get("compressor"):
        yield compressor


def _check_codecs(codecs: list[Any], name: str, depth: int = 0, compressors: int = 1) -> None:
    chained = []
    for codec in codecs:
        kind = str(codec.get("name") or codec.get("id")).removeprefix("numcodecs.")
        if kind == _SHARDING and depth < _MAX_SHARDING_DEPTH:
            inner = codec.get("configuration", {})
            _check_codecs(list(inner.get("codecs", ())), name, depth + 1)
            _check_codecs(list(inner.get("index_codecs", ())), name, depth + 1, compressors=0)
        elif kind in _COMPRESSORS:
            chained.append(kind)
        elif kind not in _FILTERS | _CHECKSUMS:
            raise ImageError(f"{name}: its codec {kind!r:.60} is not allowed for safety; store it with zstd or blosc")
    if len(chained) > compressors:
        raise ImageError(f"{name}: is compressed repeatedly ({', '.join(chained[:5])}); store it with one codec")
