"""Table of the file formats that are read, and their suffixes.

Readers select a format by the content of a file. Its suffix decides which files of a folder are images, what the file
dialogs show, and for which files napari offers the reader: `images.discovery`, `plugin.shared.file_dialogs`,
`napari.yaml` and `docs/formats.md` follow this table, which `tests/images/test_suffixes.py` checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FileFormat:
    """Row of the table.

    Attributes:
        name: of the format, or of the programs that write it.
        suffixes: in lower case.
        pyramid: how lower resolutions are stored; "" if they are not.
        pixel_size: where the file states the pixel size; "" if it does not.
        is_folder: whether an image is a folder.
        in_napari: whether napari offers the reader. It reads PNG and JPEG itself, and they cannot be read in parts.
        extra: extra of this package that installs what reads it; "" for none.
    """

    name: str
    suffixes: tuple[str, ...]
    pyramid: str = ""
    pixel_size: str = ""
    is_folder: bool = False
    in_napari: bool = True
    extra: str = ""


_TAGS = "resolution tags"
_DICOM = "`PixelSpacing` and slice positions"

#: Formats that are read. The TIFF suffixes include those of `tifffile.TIFF.FILE_EXTENSIONS`.
FORMATS = (
    FileFormat(
        "TIFF, ImageJ", (".tif", ".tiff"), "SubIFDs", f"{_TAGS}, ImageJ's text, metadata of electron microscopes"
    ),
    FileFormat("BigTIFF", (".btf", ".tf8", ".tf2"), "SubIFDs", _TAGS),
    FileFormat("OME-TIFF", (".ome.tif", ".ome.tiff", ".ome.btf", ".ome.tf8", ".ome.tf2"), "SubIFDs", "OME-XML"),
    FileFormat("OME-XML that describes a set of OME-TIFF", (".companion.ome",), "SubIFDs", "OME-XML"),
    FileFormat("Aperio SVS", (".svs",), "yes", "`MPP`"),
    FileFormat("Hamamatsu NDPI", (".ndpi",), "yes", _TAGS),
    FileFormat("Leica SCN", (".scn",), "yes", "size of the view in nanometers"),
    FileFormat(
        "Ventana BIF", (".bif",), "yes", "`ScanRes`; its tiles may overlap at seams and are placed side by side"
    ),
    FileFormat("Akoya (PerkinElmer) QPTIFF", (".qptiff", ".qpi"), "yes", _TAGS),
    FileFormat("Argos AVS", (".avs",), "yes"),
    FileFormat("pyramidal TIFF, Objective Imaging ZIF", (".ptif", ".ptiff", ".zif"), "yes", _TAGS),
    FileFormat("Zeiss LSM", (".lsm",), "", "voxel sizes"),
    FileFormat("MetaMorph STK", (".stk",), "", "calibration of the stack"),
    FileFormat("TIFF of Image-Pro, PCO cameras, Molecular Dynamics scanners", (".seq", ".pcoraw", ".gel")),
    FileFormat("electron event representation (EER)", (".eer",)),
    FileFormat("OME-Zarr 0.1 to 0.5, bioformats2raw", (".ome.zarr",), "yes", "scale and unit", is_folder=True),
    FileFormat("zarr 2 and 3, sharded or not", (".zarr",), "", "coordinates of xarray", is_folder=True),
    FileFormat("zarr in a zip archive", (".ome.zarr.zip", ".zarr.zip", ".ozx"), "yes", "scale and unit"),
    FileFormat("PNG, JPEG", (".png", ".jpg", ".jpeg"), in_napari=False),
    FileFormat("BMP; GIF, its frames as T", (".bmp", ".gif"), in_napari=False),
    FileFormat("NumPy", (".npy", ".npz"), in_napari=False),
    FileFormat("HDF5: of ilastik, any data set", (".h5", ".hdf5"), extra="containers"),
    FileFormat("Imaris", (".ims",), "yes", "extents", extra="containers"),
    FileFormat("DICOM: file, multi-frame, folder of a series", (".dcm", ".dicom", ".ima"), "", _DICOM, extra="medical"),
    FileFormat("NIfTI-1 and -2", (".nii", ".nii.gz", ".hdr"), "", "header", extra="medical"),
    FileFormat(
        "MRC, CCP4", (".mrc", ".mrcs", ".map", ".rec", ".st", ".ali", ".mrc.gz", ".map.gz"), "", "cell", extra="em"
    ),
    FileFormat("Nikon ND2", (".nd2",), "", "metadata", extra="microscopes"),
    FileFormat("Zeiss CZI", (".czi",), "yes", "metadata", extra="microscopes"),
    FileFormat("Leica LIF", (".lif", ".lof"), "", "metadata", extra="microscopes"),
    FileFormat("Olympus OIB, OIF", (".oib", ".oif"), "", "metadata", extra="microscopes"),
)

#: Format of an output.
OutputKind = Literal["OME-Zarr", "OME-TIFF", "NIfTI", "DICOM", "MRC"]

ZARR_SUFFIXES = (".ome.zarr", ".zarr")
TIFF_SUFFIXES = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".ome.btf")

#: Suffixes of outputs, by format. Each DICOM output is a folder.
OUTPUT_SUFFIXES: Mapping[OutputKind, tuple[str, ...]] = {
    "OME-Zarr": ZARR_SUFFIXES,
    "OME-TIFF": TIFF_SUFFIXES,
    "NIfTI": (".nii.gz", ".nii"),
    "DICOM": (".dicom",),
    "MRC": (".mrc",),
}

#: Suffixes of all formats.
IMAGE_SUFFIXES = tuple(suffix for each in FORMATS for suffix in each.suffixes)

#: Suffixes of images that are single files.
FILE_SUFFIXES = tuple(suffix for each in FORMATS if not each.is_folder for suffix in each.suffixes)

_LONGEST_FIRST = sorted(IMAGE_SUFFIXES, key=len, reverse=True)


def suffix_of(name: str) -> str:
    """Return the suffix of an image's file name in its own case, such as ".ome.TIF"; "" for other files."""
    found = next((suffix for suffix in _LONGEST_FIRST if name.lower().endswith(suffix)), "")
    return name[len(name) - len(found) :]


def last_parts(suffixes: tuple[str, ...]) -> list[str]:
    """Return the last part of each suffix without duplicates: what a file dialog matches, ".tif" for ".ome.tif"."""
    return list(dict.fromkeys(f".{suffix.rpartition('.')[2]}" for suffix in suffixes))
