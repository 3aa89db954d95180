"""Sources over a network: zarr and OME-Zarr at http, https and s3 addresses, for reading only, through fsspec.

Whatever a server needs beside the address (an own endpoint, anonymous access) is taken from fsspec's own configuration:
https://filesystem-spec.readthedocs.io/en/latest/features.html#configuration.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from urllib.parse import urlsplit

import zarr
from zarr.abc.store import ByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.base import Found
from masked_denoiser.images.readers.zarr import explained, find_node
from masked_denoiser.images.validation.zarr_store import GuardedStore

#: What an address begins with, and the package that reads from there.
_PACKAGES = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs"}


def find_remote(url: str) -> Found:
    """A zarr array or group at an address.

    Raises:
        ImageError: if there is none, the address is of an unknown kind or tells a secret, a package is missing, or the
            network fails.
    """
    _check(url)
    with explained(url, "check the address and the connection"):
        store = _store(url)
        try:
            node = zarr.open(GuardedStore(store), mode="r")
        except FileNotFoundError as error:
            raise ImageError(
                f"{url}: there is no zarr; check the address, and copy anything else, such as a TIFF, to a disk first"
            ) from error
        return replace(find_node(node, url.rstrip("/").rpartition("/")[2]), url=url)


def _check(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in _PACKAGES:
        known = ", ".join(f"{scheme}://" for scheme in _PACKAGES)
        raise ImageError(f"{url}: is an address of an unknown kind; give one of {known}, or the path of a file")
    if parts.password or parts.query or parts.fragment:
        # Such as a signature or token: the address would be kept in job and log, and no chunk lies below a query.
        raise ImageError(f"{parts.scheme}://{parts.hostname}: an address with a password, ? or # cannot be opened")
    package = _PACKAGES[parts.scheme]
    if not (find_spec("fsspec") and find_spec(package)):
        raise ImageError(f"{url}: needs the package {package}: pip install 'napari-masked-denoiser[remote]'")


def _store(url: str) -> FsspecStore:
    from fsspec.core import url_to_fs
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

    # The wrapped, blocking form ends its connections by itself; each source has its own.
    system, path = url_to_fs(url, skip_instance_cache=True)
    return _Store(AsyncFileSystemWrapper(system, asynchronous=True), read_only=True, path=path)


class _Store(FsspecStore):
    """A store that says every failure of a network as an OSError, and is not taken in by servers without ranges."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        with _said():
            found = await super().get(key, prototype, byte_range)
        wanted = _length(byte_range)
        if found is not None and wanted is not None and len(found) != wanted:
            raise OSError(f"{key}: {wanted} bytes were asked for and {len(found)} came; does the server know ranges?")
        return found

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        with _said():
            async for name in super().list_dir(prefix):
                yield name


def _length(wanted: ByteRequest | None) -> int | None:
    if isinstance(wanted, RangeByteRequest):
        return wanted.end - wanted.start
    return wanted.suffix if isinstance(wanted, SuffixByteRequest) else None


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except _failures() as error:
        if isinstance(error, OSError):
            raise
        raise OSError(f"{type(error).__name__}: {error}") from error


def _failures() -> tuple[type[Exception], ...]:
    """What a network library raises beside OSError, and that only if it is there."""
    found: list[type[Exception]] = []
    if find_spec("aiohttp"):
        from aiohttp import ClientError

        found.append(ClientError)
    if find_spec("botocore"):
        from botocore.exceptions import BotoCoreError

        found.append(BotoCoreError)
    return tuple(found)
