"""Store wrapper that detects a vanished backend."""

from __future__ import annotations

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from masked_denoiser.images.zarr_files import ZARR_FILES


class GuardedStore(WrapperStore[Store]):
    """A store whose missing chunks count as empty only while its metadata exist.

    Chunks of only the fill value are not stored, so zarr reads a missing chunk as empty. Without this check, all
    chunks would be empty when a network share is unmounted or a bucket deleted.
    """

    def __init__(self, store: Store) -> None:
        """Wrap a store that is open or can be opened."""
        super().__init__(store)
        self._metadata_key = ""

    @property
    def wrapped(self) -> Store:
        """The wrapped store."""
        return self._store

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return the content at a key, or None.

        Raises:
            OSError: if a chunk is missing, and so are the metadata that were read before.
        """
        content = await super().get(key, prototype, byte_range)
        if key.rpartition("/")[2] in ZARR_FILES:
            self._metadata_key = self._metadata_key or (key if content is not None else "")
        elif content is None and self._metadata_key and await super().get(self._metadata_key, prototype) is None:
            raise OSError(f"{key} and the metadata are missing: the whole zarr has disappeared")
        return content
