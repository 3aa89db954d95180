"""Present: a zarr store that is not taken in by a disk or a server that has gone."""

from __future__ import annotations

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from masked_denoiser.images.zarr_files import ZARR_FILES


class GuardedStore(WrapperStore[Store]):
    """A store whose missing chunks count as empty only while its metadata are there.

    Chunks of nothing but the fill value are not stored, so zarr reads a chunk that is not there as empty. When a share
    is unmounted or a bucket deleted, every chunk would be.
    """

    def __init__(self, store: Store) -> None:
        """Wraps a store that is open or can be opened."""
        super().__init__(store)
        self._metadata = ""

    @property
    def wrapped(self) -> Store:
        """The store itself."""
        return self._store

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """What lies at a key, or None.

        Raises:
            OSError: if it is a chunk that is missing together with the metadata that were read before.
        """
        found = await super().get(key, prototype, byte_range)
        if key.rpartition("/")[2] in ZARR_FILES:
            self._metadata = self._metadata or (key if found is not None else "")
        elif found is None and self._metadata and await super().get(self._metadata, prototype) is None:
            raise OSError(f"{key} is missing, and so are the metadata: the whole zarr has gone")
        return found
