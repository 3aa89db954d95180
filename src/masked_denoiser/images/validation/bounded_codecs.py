"""Zarr arrays whose chunks decompress to no more than their declared size.

The codecs of zarr hand out whatever is in a stream: a megabyte of zstd may hold 30 GB. Those that can be bounded are
put in their place, in an array of the same store and metadata.
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

#: Filters may widen samples before they are compressed, and checksums are added.
_WIDENED, _SLACK = 8, 2**16


def bounded(array: zarr.Array[Any]) -> zarr.Array[Any]:
    """The same array, read through bounded codecs.

    Args:
        array: see `check_array`, which says what codecs there can be.

    Returns:
        An array of which a chunk that holds more than it declares raises a ValueError when it is read.
    """
    metadata: Any = array.metadata
    pixels = prod(array.chunks) * array.dtype.itemsize
    if metadata.zarr_format == 3:
        most = pixels * (_WIDENED if _filtered(metadata.codecs) else 1) + _SLACK
        changed = replace(metadata, codecs=_bounded_all(metadata.codecs, most))
    else:
        most = pixels * (_WIDENED if metadata.filters else 1) + _SLACK
        # A compressor may stand among the filters as well.
        filters = tuple(_bounded_2(codec, most) for codec in metadata.filters or ()) or None
        changed = replace(metadata, compressor=_bounded_2(metadata.compressor, most), filters=filters)
    inner = array.async_array
    return zarr.Array(type(inner)(metadata=changed, store_path=inner.store_path, config=inner.config))


def decompress(kind: str, data: bytes, most: int) -> bytes:
    """Decompresses no more than `most` bytes.

    Args:
        kind: the codec's name, as in zarr.
        data: compressed.
        most: number of bytes.

    Raises:
        ValueError: if it holds more.
        EOFError: if it is torn.
    """
    return _DECODERS[kind](data, most)


@dataclass(frozen=True)
class _Bounded3(BytesBytesCodec):
    """In place of a codec of format 3."""

    inner: BytesBytesCodec
    kind: str
    most: int

    is_fixed_size = False

    def to_dict(self) -> Any:
        return self.inner.to_dict()

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        return self.inner.compute_encoded_size(input_byte_length, chunk_spec)

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        plain = await asyncio.to_thread(decompress, self.kind, chunk_bytes.to_bytes(), self.most)
        return chunk_spec.prototype.buffer.from_bytes(plain)


class _Bounded2(numcodecs.abc.Codec):  # type: ignore[misc]
    """In place of a codec of format 2."""

    codec_id = "bounded"  # zarr asks the class whether it has one

    def __init__(self, inner: Any, most: int) -> None:
        self.inner, self.most = inner, most
        self.codec_id = inner.codec_id

    def encode(self, buf: Any) -> Any:
        return self.inner.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        assert out is None
        return decompress(self.codec_id, bytes(buf), self.most)

    def get_config(self) -> Any:
        return self.inner.get_config()


def _bounded_2(codec: Any, most: int) -> Any:
    return _Bounded2(codec, most) if codec is not None and codec.codec_id in _DECODERS else codec


def _filtered(codecs: Iterable[Any]) -> bool:
    return any(
        (isinstance(codec, ArrayArrayCodec) and not isinstance(codec, TransposeCodec))
        or (isinstance(codec, ShardingCodec) and _filtered(codec.codecs))
        for codec in codecs
    )


def _bounded_all(codecs: Iterable[Any], most: int) -> tuple[Any, ...]:
    return tuple(_bounded_one(codec, most) for codec in codecs)


def _bounded_one(codec: Any, most: int) -> Any:
    if isinstance(codec, ShardingCodec):
        return replace(codec, codecs=_bounded_all(codec.codecs, most))
    kind = str(codec.to_dict()["name"]).removeprefix("numcodecs.")
    return _Bounded3(codec, kind, most) if kind in _DECODERS else codec


def _zstd(data: bytes, most: int) -> bytes:
    try:
        return bytes(imagecodecs.zstd_decode(data, out=most))
    except imagecodecs.ZstdError as error:
        raise ValueError(f"it does not decompress to at most {most} bytes ({error})") from error


def _blosc(data: bytes, most: int) -> bytes:
    """The size stands in the header, and blosc keeps to it: see its README_CHUNK_FORMAT."""
    size = int.from_bytes(data[4:8], "little")
    _check(size, most)
    return bytes(numcodecs.blosc.Blosc().decode(data))


def _lz4(data: bytes, most: int) -> bytes:
    """The codec of numcodecs puts the size before the stream, and keeps to it."""
    _check(int.from_bytes(data[:4], "little"), most)
    return bytes(numcodecs.lz4.LZ4().decode(data))


def _streamed(make: Callable[[], Any]) -> Callable[[bytes, int], bytes]:
    """For the decompressors of the standard library; several streams may follow each other."""

    def decode(data: bytes, most: int) -> bytes:
        whole: list[bytes] = []
        while data or not whole:
            stream = make()
            try:
                whole.append(stream.decompress(data, most + 1 - sum(map(len, whole))))
            except (zlib.error, lzma.LZMAError, OSError) as error:
                raise ValueError(f"the compressed stream is damaged ({error})") from error
            _check(sum(map(len, whole)), most)
            if not stream.eof:
                raise EOFError("the compressed stream is torn")
            data = stream.unused_data.lstrip(b"\0")
        return b"".join(whole)

    return decode


def _check(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"it decompresses to more than {most} bytes")


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "blosc": _blosc,
    "bz2": _streamed(bz2.BZ2Decompressor),
    "gzip": _streamed(lambda: zlib.decompressobj(wbits=31)),
    "lz4": _lz4,
    "lzma": _streamed(lzma.LZMADecompressor),
    "zlib": _streamed(zlib.decompressobj),
    "zstd": _zstd,
}
