"""Base class of sinks that collect pixels in a working folder and write the file at the end."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from masked_denoiser.atomic_file import remove_leftovers
from masked_denoiser.errors import ImageError
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.images.validation.completeness import COMPLETE_KEY
from masked_denoiser.images.writers.base import ProgressCallback, Sink, no_progress
from masked_denoiser.images.writers.derived_folder import remove_derived_folder
from masked_denoiser.images.writers.fsync import sync_file, sync_tree
from masked_denoiser.images.writers.layout import Layout
from masked_denoiser.images.writers.output_path import remove_folder, working_folder
from masked_denoiser.images.writers.provenance import read_attributes
from masked_denoiser.images.writers.zarr_pyramid import FolderSink, ZarrFolder, make_folder
from masked_denoiser.images.zarr_files import UNFINISHED, WORKING_FOLDER_ATTRIBUTE


class AssembledSink(FolderSink):
    """A sink whose file is written at the end, since results arrive in any order.

    Until then they are in a zarr folder named `<output>.partial`, which is removed once the complete file, or folder of
    files, has its final name.
    """

    def __init__(self, path: Path, source: Source, layout: Layout, attributes: Mapping[str, Any]) -> None:
        """Open the working folder created by `make_working_folder`.

        Raises:
            ImageError: if its arrays do not match `layout`.
        """
        super().__init__(ZarrFolder(working_folder(path), layout))
        # The file is marked as complete from the start, as it gets its name only at the end.
        self._path, self._source = path, source
        self._attributes = {**attributes, COMPLETE_KEY: True}

    @classmethod
    def check(cls, source: Source, layout: Layout) -> None:
        """Check, before anything is created, that the format can store a source in this layout.

        Raises:
            ImageError: that names what it cannot store.
        """

    def note(self, values: Mapping[str, Any]) -> None:
        """Add values to the attributes that are stored with the image."""
        self._attributes |= values

    def finish(self, progress: ProgressCallback = no_progress) -> None:
        """Write the file, rename it to the output path and remove the working folder."""
        unfinished = self._folder.path / UNFINISHED
        _remove(unfinished)
        try:
            self._assemble(unfinished, progress)
            self._check_own()
            (sync_tree if unfinished.is_dir() else sync_file)(unfinished)
            if self._path.is_dir():  # a finished folder, whose process was killed before it removed the working folder
                remove_derived_folder(self._path)
            unfinished.replace(self._path)
            sync_file(self._path)
        finally:
            _remove(unfinished)
        remove_leftovers(self._path)
        remove_folder(self._folder.path)

    def _check_own(self) -> None:
        """Check that no other file was put at the path meanwhile.

        Raises:
            ImageError: if there is one; the pixels are kept.
        """
        job = self._attributes.get("job")
        if self._path.exists() and (job is None or read_attributes(self._path).get("job") != job):
            raise ImageError(f"{self._path} was put there while it was to be written; move it elsewhere, then --resume")

    @abstractmethod
    def _assemble(self, path: Path, progress: ProgressCallback) -> None:
        """Write the pixels of the working folder to `path`, a file or folder of another name than the output."""

    @property
    def _anonymizes(self) -> bool:
        """Whether the job removes what identifies a patient."""
        return bool(self._attributes.get("settings", {}).get("anonymize"))

    def _plane(self, index: Mapping[str, int]) -> np.ndarray[Any, Any]:
        """Return a stored plane, [height, width] or [height, width, samples]; `index` gives its other axes."""
        axes, array = self._folder.layout.axes, self._folder.levels[0]
        return np.asarray(array[tuple(index[a] if a in index else slice(None) for a in axes)])


class FinishedFile(Sink):
    """The sink of a resumed job whose file is already complete; it refuses further pixels."""

    def __init__(self, path: Path) -> None:
        """Store the path for the error message."""
        self._path = path

    def write(self, plane: Plane, y: int, x: int, pixels: np.ndarray[Any, Any]) -> None:
        """Raise ImageError: the working folder is gone, so the file cannot be changed."""
        raise ImageError(f"{self._path} is already finished: overwrite it or write elsewhere")

    def finish(self, progress: ProgressCallback = no_progress) -> None:
        """Do nothing: the file is complete."""

    def close(self) -> None:
        """Do nothing: no file is open."""


def make_working_folder(path: Path, layout: Layout) -> None:
    """Create the empty arrays, with fast compression, that collect the pixels of the file at `path`."""

    def make(folder: Path) -> None:
        group = zarr.create_group(folder, attributes={WORKING_FOLDER_ATTRIBUTE: path.name})
        for i, level in enumerate(layout.levels):
            group.create_array(
                str(i),
                shape=level.shape,
                chunks=level.chunks,
                shards=level.shards,
                dtype=layout.dtype,
                compressors=BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
            )

    make_folder(working_folder(path), make)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
