"""Table of the readers of file formats, by content; the library of a format is imported when a file is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers import signatures
from masked_denoiser.images.readers.base import ReaderResult

_HERE = "masked_denoiser.images.readers"


@dataclass(frozen=True)
class FormatReader:
    """Reader of a family of formats.

    Attributes:
        name: of the format, with its article, for messages.
        recognizes: takes the path and the first bytes (of a gzip file: of its content).
        module: module under `images.readers` with `read(path, part)`, which returns a `ReaderResult`, and for formats
            that hold several images `list_parts(path)`, which returns their names.
        holds_several: whether a file may hold several images.
        package: module of the library, if it is not always installed.
        extra: extra of this package that installs it.
    """

    name: str
    recognizes: Callable[[Path, bytes], bool]
    module: str
    holds_several: bool = False
    package: str = ""
    extra: str = ""

    def read(self, path: Path, part: str = "") -> ReaderResult:
        """Open an image lazily.

        Args:
            path: of the file.
            part: name of the image in it; "" for its only one.

        Raises:
            ImageError: if the library is missing, the file is damaged, or it does not hold this image.
        """
        if part and not self.holds_several:
            raise ImageError(f"{path}: is {self.name}, which holds one image; leave out '::{part}'")
        self.check_installed(path)
        result: ReaderResult = self._function("read")(path, part)
        return result

    def list_parts(self, path: Path) -> list[str]:
        """Return the names of the images in a file that may hold several; [] for other formats.

        Raises:
            ImageError: if the library is missing, or the file is damaged.
        """
        if not self.holds_several:
            return []
        self.check_installed(path)
        names: list[str] = self._function("list_parts")(path)
        return names

    @property
    def is_installed(self) -> bool:
        """Whether the library of the format is installed."""
        return not self.package or find_spec(self.package) is not None

    def check_installed(self, path: Path) -> None:
        """Raise an ImageError that names the extra to install, if the library of the format is missing."""
        if not self.is_installed:
            raise ImageError(
                f"{path}: is {self.name}, and reading it needs {self.package}: "
                f"pip install 'napari-masked-denoiser[{self.extra}]'"
            )

    def _function(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(import_module(f"{_HERE}.{self.module}"), name)
        return function


#: Readers in the order in which they are tried. DICOM comes before TIFF, as its preamble may look like one.
READERS = (
    FormatReader("a DICOM image", signatures.is_dicom, "medical.dicom", package="pydicom", extra="medical"),
    FormatReader("a NIfTI image", signatures.is_nifti, "medical.nifti", package="nibabel", extra="medical"),
    FormatReader("a PNG, JPEG, BMP or GIF", signatures.is_picture, "pictures"),
    FormatReader("a NumPy file", signatures.is_numpy, "containers.numpy_files", holds_several=True),
    FormatReader("an HDF5 file", signatures.is_hdf5, "containers.hdf5", True, "h5py", "containers"),
    FormatReader("a zipped zarr", signatures.is_zipped_zarr, "zarr.zipped"),
    FormatReader("a Nikon ND2", signatures.is_nd2, "microscopes.nd2", True, "nd2", "microscopes"),
    FormatReader("a Zeiss CZI", signatures.is_czi, "microscopes.czi", True, "czifile", "microscopes"),
    FormatReader("a Leica LIF", signatures.is_lif, "microscopes.lif", True, "liffile", "microscopes"),
    FormatReader("an Olympus OIB or OIF", signatures.is_olympus, "microscopes.olympus", True, "oiffile", "microscopes"),
    FormatReader("an MRC", signatures.is_mrc, "electron.mrc", package="mrcfile", extra="em"),
)


def find_reader(path: Path) -> FormatReader | None:
    """Return the reader of a file by its content; None for TIFF, and for formats that are not known."""
    head = signatures.read_head(path)
    return next((reader for reader in READERS if reader.recognizes(path, head)), None)


def registered(module: str) -> FormatReader:
    """Return the reader in a module under `images.readers`."""
    return next(reader for reader in READERS if reader.module == module)


def one_part(path: Path, part: str, names: list[str]) -> int:
    """Return the position of an image among those of a file.

    Args:
        path: of the file.
        part: requested name, or its number from 0; "" for the only one.
        names: of the images in the file.

    Raises:
        ImageError: that lists the names, if there is no such image, or several and none is requested.
    """
    if not names:
        raise ImageError(f"{path}: holds no image; check that it is complete")
    if not part and len(names) == 1:
        return 0
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(names):
        return int(part)
    listed = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
    wanted = f"no image {part!r}" if part else f"{len(names)} images"
    raise ImageError(f"{path}: holds {wanted} ({listed}); name one of them, such as '{path.name}::{names[0]}'")
