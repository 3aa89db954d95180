"""Reader of a zarr in a zip archive (`.zarr.zip`; `.ozx` of OME-Zarr RFC-9), which is read where it lies.

See https://ngff.openmicroscopy.org/rfc/9.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import zarr
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ZipStore

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.base import ReaderResult
from masked_denoiser.images.readers.library_errors import wrap_errors
from masked_denoiser.images.readers.zarr.reader import read_zarr_node
from masked_denoiser.images.validation.size_limits import check_decoded_size
from masked_denoiser.images.validation.zarr_codecs import check_metadata_size
from masked_denoiser.images.validation.zarr_store import GuardedStore
from masked_denoiser.images.zarr_files import METADATA_FILES, ZARR_FILES


class _Archive(GuardedStore):
    """A store that stays closed, as `ZipStore` opens its archive again when it is read."""

    _was_closed = False

    def close(self) -> None:
        """Close the archive."""
        self._was_closed = True
        super().close()

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return the content at a key, or None.

        Raises:
            ValueError: if the archive was closed, or is damaged there.
        """
        if self._was_closed:
            raise ValueError("the source was closed; open it again to read it")
        try:
            return await super().get(key, prototype, byte_range)
        except BadZipFile as error:
            raise ValueError(f"{key}: {error}") from error


def read(path: Path, part: str = "") -> ReaderResult:
    """Open the zarr array or group in an archive; `part` is always "".

    Raises:
        ImageError: if it is not a zip archive of a zarr, damaged, or contains no image or several.
    """
    with wrap_errors(path, "a zip archive", BadZipFile):
        root = _root(path)
        store = ZipStore(path, mode="r")
        archive = _Archive(store)
        try:
            node = zarr.open(archive, path=root, mode="r")
            found = read_zarr_node(node, path.name, path)
        except BaseException:
            _close(store, archive)
            raise
        return replace(found, closer=archive.close)


def _close(store: ZipStore, archive: _Archive) -> None:
    """Close an archive, if zarr came as far as opening it."""
    if store._is_open:
        archive.close()


def _root(path: Path) -> str:
    """Return the folder of the zarr in an archive: "", or that of its only top folder.

    Raises:
        ImageError: if there is no zarr, or an entry would take too much memory. Entries without compression cannot
            become larger than the archive.
    """
    with ZipFile(path) as archive:
        entries = archive.infolist()
    for entry in entries:
        if entry.filename.rpartition("/")[2] in METADATA_FILES:
            check_metadata_size(entry.file_size, entry.filename, str(path))
        elif entry.compress_type != ZIP_STORED:
            check_decoded_size((entry.file_size,), 1, "an entry", str(path))
    names = {entry.filename for entry in entries}
    tops = sorted({name.partition("/")[0] for name in names if "/" in name})
    roots = [root for root in ("", *tops) if any(f"{root}/{file}".lstrip("/") in names for file in ZARR_FILES)]
    if roots and (roots[0] == "" or len(roots) == 1):
        return roots[0]
    held = f"holds {len(roots)} of them: {', '.join(roots[:5])}" if roots else "does not hold one at its top"
    raise ImageError(f"{path}: is a zip archive for one zarr, and {held}; zip the contents of a single .zarr folder")
