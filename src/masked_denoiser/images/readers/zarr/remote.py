"""Reader of zarr and OME-Zarr at http, https and s3 addresses, through fsspec.

Further settings of a server (a custom endpoint, anonymous access) are taken from the configuration of fsspec:
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
from masked_denoiser.images.readers.base import ReaderResult
from masked_denoiser.images.readers.zarr.reader import read_zarr_node, wrap_zarr_errors
from masked_denoiser.images.validation.zarr_store import GuardedStore

#: Scheme of an address to the package that fsspec needs for it.
_PACKAGES = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs"}


def read_remote(url: str) -> ReaderResult:
    """Open a zarr array or group at an address.

    Raises:
        ImageError: if there is no zarr, the address has an unknown scheme or a secret, a package is missing, or
            the network fails.
    """
    _check_address(url)
    with wrap_zarr_errors(url, "check the address and the connection"):
        store = _open_store(url)
        try:
            node = zarr.open(GuardedStore(store), mode="r")
        except FileNotFoundError as error:
            raise ImageError(
                f"{url}: no zarr was found; check the address, and download other formats, such as TIFF, first"
            ) from error
        return replace(read_zarr_node(node, url.rstrip("/").rpartition("/")[2]), url=url)


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in _PACKAGES:
        supported = ", ".join(f"{scheme}://" for scheme in _PACKAGES)
        raise ImageError(f"{url}: is an address of an unknown kind; give one of {supported}, or a file path")
    if parts.password or parts.query or parts.fragment:
        # Such as a token: the address would be stored in jobs and logs, and chunk paths cannot follow a query.
        raise ImageError(f"{parts.scheme}://{parts.hostname}: an address with a password, ? or # cannot be opened")
    package = _PACKAGES[parts.scheme]
    if not (find_spec("fsspec") and find_spec(package)):
        raise ImageError(f"{url}: needs the package {package}: pip install 'napari-masked-denoiser[remote]'")


def _open_store(url: str) -> FsspecStore:
    from fsspec.core import url_to_fs
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

    # The wrapped, blocking file system closes its connections itself; each source has a separate one.
    system, path = url_to_fs(url, skip_instance_cache=True)
    return _NetworkStore(AsyncFileSystemWrapper(system, asynchronous=True), read_only=True, path=path)


class _NetworkStore(FsspecStore):
    """A store that raises network failures as OSError, and detects servers that ignore byte ranges."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        with _network_errors_as_oserror():
            content = await super().get(key, prototype, byte_range)
        length = _length(byte_range)
        if content is not None and length is not None and len(content) != length:
            raise OSError(f"{key}: got {len(content)} instead of {length} bytes; does the server support ranges?")
        return content

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        with _network_errors_as_oserror():
            async for name in super().list_dir(prefix):
                yield name


def _length(request: ByteRequest | None) -> int | None:
    if isinstance(request, RangeByteRequest):
        return request.end - request.start
    return request.suffix if isinstance(request, SuffixByteRequest) else None


@contextmanager
def _network_errors_as_oserror() -> Iterator[None]:
    try:
        yield
    except _network_errors() as error:
        if isinstance(error, OSError):
            raise
        raise OSError(f"{type(error).__name__}: {error}") from error


def _network_errors() -> tuple[type[Exception], ...]:
    """Return the base exceptions, other than OSError, of the installed network libraries."""
    errors: list[type[Exception]] = []
    if find_spec("aiohttp"):
        from aiohttp import ClientError

        errors.append(ClientError)
    if find_spec("botocore"):
        from botocore.exceptions import BotoCoreError

        errors.append(BotoCoreError)
    return tuple(errors)
