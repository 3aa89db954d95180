"""Codecs that limit the decompressed size of zarr chunks to their declared size.

The codecs of zarr have no limit: a megabyte of zstd may decompress to 30 GB. They are replaced by bounded ones in an
array of the same store and metadata.
"""

from __future__ import annotations

import asyncio
import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import imagecodecs
import numcodecs.abc
import numcodecs.blosc
import numcodecs.lz4
import zarr
from zarr.abc.codec import ArrayArrayCodec, BytesBytesCodec
from zarr.codecs import ShardingCodec, TransposeCodec

#: Filters may widen samples by this factor before compression; checksums and headers add some bytes.
_FILTER_FACTOR, _EXTRA_BYTES = 8, 2**16


def with_bounded_codecs(array: zarr.Array[Any]) -> zarr.Array[Any]:
    """Return an array that reads the same store through bounded codecs.

    Args:
        array: an array that passed `check_array`, which restricts the codecs.

    Returns:
        An array that raises ValueError on reading a chunk that is larger than declared.
    """
    metadata: Any = array.metadata
    chunk_bytes = prod(array.chunks) * array.dtype.itemsize
    if metadata.zarr_format == 3:
        max_bytes = chunk_bytes * (_FILTER_FACTOR if _has_filters(metadata.codecs) else 1) + _EXTRA_BYTES
        changed = replace(metadata, codecs=_bounded_all(metadata.codecs, max_bytes))
    else:
        max_bytes = chunk_bytes * (_FILTER_FACTOR if metadata.filters else 1) + _EXTRA_BYTES
        # A compressor may also be among the filters.
        filters = tuple(_bounded_v2(codec, max_bytes) for codec in metadata.filters or ()) or None
        changed = replace(metadata, compressor=_bounded_v2(metadata.compressor, max_bytes), filters=filters)
    inner = array.async_array
    return zarr.Array(type(inner)(metadata=changed, store_path=inner.store_path, config=inner.config))


def decompress(kind: str, data: bytes, max_bytes: int) -> bytes:
    """Return decompressed bytes, up to a limit.

    Args:
        kind: name of the codec in zarr.
        data: compressed bytes.
        max_bytes: maximum number of decompressed bytes.

    Raises:
        ValueError: if there are more.
        EOFError: if the stream is truncated.
    """
    return _DECODERS[kind](data, max_bytes)


@dataclass(frozen=True)
class _BoundedCodecV3(BytesBytesCodec):
    """A bounded replacement of a codec of format 3."""

    inner: BytesBytesCodec
    kind: str
    max_bytes: int

    is_fixed_size = False

    def to_dict(self) -> Any:
        return self.inner.to_dict()

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        return self.inner.compute_encoded_size(input_byte_length, chunk_spec)

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        plain = await asyncio.to_thread(decompress, self.kind, chunk_bytes.to_bytes(), self.max_bytes)
        return chunk_spec.prototype.buffer.from_bytes(plain)


class _BoundedCodecV2(numcodecs.abc.Codec):  # type: ignore[misc]
    """A bounded replacement of a codec of format 2."""

    codec_id = "bounded"  # zarr requires it on the class

    def __init__(self, inner: Any, max_bytes: int) -> None:
        self.inner, self.max_bytes = inner, max_bytes
        self.codec_id = inner.codec_id

    def encode(self, buf: Any) -> Any:
        return self.inner.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        assert out is None
        return decompress(self.codec_id, bytes(buf), self.max_bytes)

    def get_config(self) -> Any:
        return self.inner.get_config()


def _bounded_v2(codec: Any, max_bytes: int) -> Any:
    return _BoundedCodecV2(codec, max_bytes) if codec is not None and codec.codec_id in _DECODERS else codec


def _has_filters(codecs: Iterable[Any]) -> bool:
    return any(
        (isinstance(codec, ArrayArrayCodec) and not isinstance(codec, TransposeCodec))
        or (isinstance(codec, ShardingCodec) and _has_filters(codec.codecs))
        for codec in codecs
    )


def _bounded_all(codecs: Iterable[Any], max_bytes: int) -> tuple[Any, ...]:
    return tuple(_bounded_v3(codec, max_bytes) for codec in codecs)


def _bounded_v3(codec: Any, max_bytes: int) -> Any:
    if isinstance(codec, ShardingCodec):
        return replace(codec, codecs=_bounded_all(codec.codecs, max_bytes))
    kind = str(codec.to_dict()["name"]).removeprefix("numcodecs.")
    return _BoundedCodecV3(codec, kind, max_bytes) if kind in _DECODERS else codec


def _zstd(data: bytes, max_bytes: int) -> bytes:
    try:
        return bytes(imagecodecs.zstd_decode(data, out=max_bytes))
    except imagecodecs.ZstdError as error:
        raise ValueError(f"the chunk does not decompress to at most {max_bytes} bytes ({error})") from error


def _blosc(data: bytes, max_bytes: int) -> bytes:
    """Decompress blosc, which declares the size in its header and adheres to it (README_CHUNK_FORMAT)."""
    size = int.from_bytes(data[4:8], "little")
    _check_size(size, max_bytes)
    return bytes(numcodecs.blosc.Blosc().decode(data))


def _lz4(data: bytes, max_bytes: int) -> bytes:
    """Decompress lz4; numcodecs declares the size before the stream and adheres to it."""
    _check_size(int.from_bytes(data[:4], "little"), max_bytes)
    return bytes(numcodecs.lz4.LZ4().decode(data))


def _bounded_stream(create: Callable[[], Any]) -> Callable[[bytes, int], bytes]:
    """Return a bounded decoder from a decompressor of the standard library; streams may be concatenated."""

    def decode(data: bytes, max_bytes: int) -> bytes:
        parts: list[bytes] = []
        while data or not parts:
            stream = create()
            try:
                parts.append(stream.decompress(data, max_bytes + 1 - sum(map(len, parts))))
            except (zlib.error, lzma.LZMAError, OSError) as error:
                raise ValueError(f"the compressed stream is damaged ({error})") from error
            _check_size(sum(map(len, parts)), max_bytes)
            if not stream.eof:
                raise EOFError("the compressed stream is truncated")
            data = stream.unused_data.lstrip(b"\0")
        return b"".join(parts)

    return decode


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise ValueError(f"the chunk decompresses to more than {max_bytes} bytes")


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "blosc": _blosc,
    "bz2": _bounded_stream(bz2.BZ2Decompressor),
    "gzip": _bounded_stream(lambda: zlib.decompressobj(wbits=31)),
    "lz4": _lz4,
    "lzma": _bounded_stream(lzma.LZMADecompressor),
    "zlib": _bounded_stream(zlib.decompressobj),
    "zstd": _zstd,
}
