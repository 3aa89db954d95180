"""Recognition of file formats by their first bytes and, where several formats share these, by the suffix."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

from masked_denoiser.images.validation.declared_size import JPEG, PNG

#: Number of bytes from the start of a file by which its format is recognised.
HEAD_BYTES = 1024

_DICOM_MAGIC = b"DICM"
#: First elements of data sets without the preamble: group 0002 or 0008, as little or big endian.
_DICOM_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08", b"\x00\x02")
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_GZIP = b"\x1f\x8b"
#: Size of the header of NIfTI-1.
_NIFTI_BYTES = 348
#: Positions at which the superblock of an HDF5 file may start (HDF5 File Format Specification, II.A).
_HDF5_STARTS = (0, 512)
#: Suffixes of MRC; files older than MRC2014 have no signature.
_MRC_SUFFIXES = (".mrc", ".mrcs", ".map", ".rec", ".st", ".ali", ".mrc.gz", ".map.gz")


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file; of a gzip file, those of its content."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.startswith(_GZIP):
        return head
    try:
        with gzip.open(path) as content:
            return content.read(HEAD_BYTES)
    except (OSError, EOFError, zlib.error):  # damaged: the reader that the suffix names reports it
        return head


def is_picture(path: Path, head: bytes) -> bool:
    """Return whether a file is a PNG, JPEG, BMP or GIF."""
    return head.startswith((PNG, JPEG, b"GIF87a", b"GIF89a")) or (head[:2] == b"BM" and path.suffix.lower() == ".bmp")


def is_dicom(path: Path, head: bytes) -> bool:
    """Return whether a file is DICOM, whose preamble may be the header of a TIFF (DICOM PS3.10, 7.1 and 7.5)."""
    if head[128:132] == _DICOM_MAGIC:
        return True
    return path.suffix.lower() in _DICOM_SUFFIXES and head.startswith(_DICOM_GROUPS)


def is_nifti(path: Path, head: bytes) -> bool:
    """Return whether a file is NIfTI-1 or -2, or one of a pair of header and image, compressed or not.

    A damaged file is recognised by its suffix, and an image, which has only pixels, by the header next to it.
    """
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0"):
        return True
    if path.suffix.lower() == ".img":
        header = next((each for each in map(path.with_suffix, (".hdr", ".HDR")) if each.is_file()), None)
        return header is not None and is_nifti(header, read_head(header))
    if path.name.lower().endswith((".nii", ".nii.gz")) and (len(head) < _NIFTI_BYTES or head.startswith(_GZIP)):
        return True
    sizes = {struct.unpack(f"{order}i", head[:4])[0] for order in "<>"} if len(head) >= 4 else set()
    return path.name.lower().endswith((".nii", ".nii.gz", ".hdr")) and bool(sizes & {348, 540})


def is_mrc(path: Path, head: bytes) -> bool:
    """Return whether a file is MRC2014, or an older one by its suffix."""
    return head[208:211] == b"MAP" or path.name.lower().endswith(_MRC_SUFFIXES)


def is_nd2(path: Path, head: bytes) -> bool:
    """Return whether a file is Nikon ND2, of NIS-Elements or of its predecessor (JPEG 2000)."""
    return head.startswith(b"\xda\xce\xbe\x0a") or (path.suffix.lower() == ".nd2" and head[4:8] == b"jP  ")


def is_czi(path: Path, head: bytes) -> bool:
    """Return whether a file is Zeiss CZI."""
    return head.startswith(b"ZISRAWFILE")


def is_lif(path: Path, head: bytes) -> bool:
    """Return whether a file is Leica LIF (or LOF)."""
    return head.startswith(b"\x70\x00\x00\x00") and head[8:9] == b"\x2a"


def is_olympus(path: Path, head: bytes) -> bool:
    """Return whether a file is Olympus OIB or OIF."""
    suffix = path.suffix.lower()
    return (suffix == ".oib" and head.startswith(_OLE)) or suffix == ".oif"


def is_numpy(path: Path, head: bytes) -> bool:
    """Return whether a file is an array of NumPy: npy, or npz (a zip archive of them)."""
    return head.startswith(b"\x93NUMPY") or (path.suffix.lower() == ".npz" and head.startswith(b"PK"))


def is_hdf5(path: Path, head: bytes) -> bool:
    """Return whether a file is HDF5."""
    return any(head[start : start + 8] == b"\x89HDF\r\n\x1a\n" for start in _HDF5_STARTS)


def is_zipped_zarr(path: Path, head: bytes) -> bool:
    """Return whether a file is a zip archive that by its suffix holds a zarr."""
    return head.startswith(b"PK") and path.name.lower().endswith((".zarr.zip", ".ozx", ".zip"))
