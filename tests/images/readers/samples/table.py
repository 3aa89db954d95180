"""Table of the samples: one file for each format and way of storing pixels, with what a source must find in it."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import czifile
import h5py
import liffile
import mrcfile
import nd2
import nibabel as nib
import numpy as np
import oiffile
import pydicom
import pydicom.data
import SimpleITK as sitk  # noqa: N813 - its own convention
import zarr
from PIL import Image

from ...dicom_files import write_series
from . import czi, imaris, lif, olympus
from . import nd2 as nd2_files

Array = np.ndarray[Any, Any]

_RANDOM = np.random.default_rng(20)
_STACK = _RANDOM.integers(0, 4000, (2, 3, 50, 60)).astype(np.uint16)
_SLICES = _STACK[0]
_GRAY = _RANDOM.integers(0, 100, (4, 40, 50)).astype(np.uint8)
_RGB = _RANDOM.integers(0, 256, (40, 52, 3)).astype(np.uint8)
_FRAMES = _RANDOM.integers(0, 4000, (12, 50, 60, 2)).astype(np.uint16)
_MOVIE = _RANDOM.integers(0, 200, (2, 2, 5, 30, 40)).astype(np.uint8)


@dataclass(frozen=True)
class Sample:
    """A file to make, and what a source must find in it.

    Attributes:
        make: writes the file into an empty folder, and returns its path.
        pixels: what the source must read, in the order of `axes`.
        axes, part: as the source has them, and as it is opened.
        library: reads the same pixels, without axes of length 1, by the library of the format alone.
        pixel_size, units, channel_names: of the source.
        is_lazy: whether pixels are read as they are indexed; False for formats that are decoded whole.
        extra: of the package, which installs the library; "" for formats whose library always is.
        damaged: returns the file to truncate, in a copy of the sample's folder.
        wrong_part: whether the format holds several images, which the error for a wrong name lists.
    """

    make: Callable[[Path], Path]
    pixels: Array
    axes: str
    library: Callable[[Path], Array]
    part: str = ""
    pixel_size: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    is_lazy: bool = True
    extra: str = ""
    damaged: Callable[[Path], Path] = lambda path: path
    wrong_part: bool = False


def _mrc(pixels: Array, voxel: tuple[float, float, float] = (1.5, 2.0, 3.0)) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with mrcfile.new(folder / "a.mrc") as file:
            file.set_data(pixels)
            file.voxel_size = voxel
        return folder / "a.mrc"

    return make


def _mrc_gz(folder: Path) -> Path:
    path = _mrc(_SLICES)(folder)
    with gzip.open(f"{path}.gz", "wb") as file:
        file.write(path.read_bytes())
    path.unlink()
    return Path(f"{path}.gz")


def _npy(pixels: Array) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        np.save(folder / "a.npy", pixels)
        return folder / "a.npy"

    return make


def _npz(folder: Path) -> Path:
    np.savez_compressed(folder / "a.npz", stack=_SLICES, image=_GRAY, times=np.arange(3))
    return folder / "a.npz"


def _hdf5(**options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with h5py.File(folder / "a.h5", "w") as file:
            data = file.create_dataset("volumes/raw", data=_SLICES, **options)
            data.attrs["element_size_um"] = [2.0, 0.5, 0.25]
            for name, dimension in zip("zyx", data.dims, strict=True):
                dimension.label = name
            file["other"] = _GRAY
        return folder / "a.h5"

    return make


def _plain_hdf5(folder: Path) -> Path:
    """Write a data set without attributes of variable length."""
    with h5py.File(folder / "a.h5", "w") as file:
        data = file.create_dataset("volumes/raw", data=_SLICES, chunks=(1, 16, 32), compression="gzip", shuffle=True)
        data.attrs["element_size_um"] = [2.0, 0.5, 0.25]
    return folder / "a.h5"


def _hdf5_array(path: Path) -> Array:
    with h5py.File(path) as file:
        return np.asarray(file["volumes/raw"][:])


def _imaris_array(path: Path) -> Array:
    with h5py.File(path) as file:
        first = file["DataSet/ResolutionLevel 0"]
        _, _, depth, height, width = _MOVIE.shape
        channels = [[first[f"TimePoint {t}/Channel {c}/Data"][:] for c in range(2)] for t in range(2)]
    return np.array(channels)[..., :depth, :height, :width]


def _zarr_zip(top: str, **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        scale = [{"type": "scale", "scale": [2.0, 0.5, 0.25]}]
        axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
        image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
        ome: dict[str, Any] = {"version": "0.5", "multiscales": [image]}
        with zarr.storage.ZipStore(folder / "a.ome.zarr.zip", mode="w") as store:
            group = zarr.open_group(store, mode="w", path=top, attributes={"ome": ome})
            group.create_array("0", data=_SLICES, chunks=(1, 16, 32), **options)
        return folder / "a.ome.zarr.zip"

    return make


def _zarr_zip_array(path: Path) -> Array:
    with zarr.storage.ZipStore(path, mode="r") as store:
        return np.asarray(zarr.open_array(store, path="0", mode="r")[:])


def _picture(name: str, pixels: Array) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        Image.fromarray(pixels).save(folder / name)
        return folder / name

    return make


def _gif(folder: Path) -> Path:
    frames = [Image.fromarray(frame) for frame in _GRAY]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:], duration=50)
    return folder / "a.gif"


def _gif_array(path: Path) -> Array:
    with Image.open(path) as image:
        frames = []
        for number in range(len(_GRAY)):
            image.seek(number)
            frames.append(np.asarray(image.convert("L")))
        return np.array(frames)


def _czi_mosaic(folder: Path) -> Path:
    """Two channels, each of 2 x 2 tiles that lie on a grid."""
    blocks = [
        czi.Block(
            _STACK[c, 0, y : y + 25, x : x + 30], {"C": c, "Y": y - 7, "X": x + 11, "S": 0, "M": y // 25 * 2 + x // 30}
        )
        for c in range(2)
        for y in (0, 25)
        for x in (0, 30)
    ]
    return czi.write_czi(folder / "a.czi", blocks, czi.metadata_xml(["left"]))


def _lif(*names: str) -> Callable[[Path], Path]:
    """Return what writes two images in the order of their names; only the last one is damaged in a truncated file."""
    images = {"stack": ("CZYX", _STACK), "colour": ("YXS", _RGB)}
    return lambda folder: lif.write_lif(folder / "a.lif", {name: images[name] for name in names})


def _lif_array(name: str) -> Callable[[Path], Array]:
    def read(path: Path) -> Array:
        with liffile.LifFile(path) as file:
            return file.images[name].asarray()

    return read


def _nd2(**options: Any) -> Callable[[Path], Path]:
    return lambda folder: nd2_files.write_nd2(folder / "a.nd2", _FRAMES, {"T": 2, "P": 2, "Z": 3}, **options)


def _nd2_array(path: Path) -> Array:
    with nd2.ND2File(path) as file:
        return file.asarray()[:, 1]


def _olympus_array(path: Path) -> Array:
    """Return the planes as CZYX, as versions of oiffile differ in the order of the axes."""
    with oiffile.OifFile(path) as file:
        series = file.series[0]
        return np.moveaxis(series.asarray(), [series.axes.index(axis) for axis in "CZ"], [0, 1])


def _oif_plane(path: Path) -> Path:
    return sorted(path.with_name("a.oif.files").iterdir())[-1]


_MICROMETERS = {"Z": "micrometer", "Y": "micrometer", "X": "micrometer"}
_ANGSTROM = dict.fromkeys(_MICROMETERS, "angstrom")
_VOXEL = {"Z": 2.0, "Y": 0.5, "X": 0.25}
_PLANE = {"Y": 0.5, "X": 0.25}
_HDF5: dict[str, Any] = {
    "part": "/volumes/raw", "pixel_size": _VOXEL, "units": _MICROMETERS, "extra": "containers", "wrong_part": True,
}  # fmt: skip
_ND2: dict[str, Any] = {
    "part": "well 1", "pixel_size": {"T": 2.0, "Z": 1.5, "Y": 0.25, "X": 0.25},
    "units": _MICROMETERS | {"T": "second"}, "channel_names": ("channel 0", "channel 1"), "extra": "microscopes",
    "wrong_part": True,
}  # fmt: skip
_ND2_PIXELS = np.moveaxis(_FRAMES.reshape(2, 2, 3, 50, 60, 2)[:, 1], -1, 2)
_OLYMPUS: dict[str, Any] = {
    "pixel_size": _VOXEL, "units": _MICROMETERS, "channel_names": ("dye 1", "dye 2"), "extra": "microscopes",
    "wrong_part": True,
}  # fmt: skip

_MILLIMETERS = dict.fromkeys("ZYX", "millimeter")


def _nifti(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        image = nib.Nifti1Image(_SLICES.T, np.diag([0.25, 0.5, 1.5, 1]))
        image.header.set_xyzt_units("mm")
        nib.save(image, folder / name)
        return folder / name

    return make


def _nifti_array(path: Path) -> Array:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj).T


def _dicom_file(folder: Path) -> Path:
    (path,) = write_series(folder, _SLICES[:1])
    return path


_OF_PYDICOM = Path(pydicom.data.__file__).parent / "test_files"
_MR = pydicom.dcmread(_OF_PYDICOM / "MR_small.dcm").pixel_array


def _compressed_dicom(folder: Path) -> Path:
    return Path(shutil.copyfile(_OF_PYDICOM / "MR_small_jpeg_ls_lossless.dcm", folder / "a.dcm"))


def _dicom_series(folder: Path) -> Path:
    write_series(folder / "series", _SLICES)
    return folder / "series"


def _gdcm_series(folder: Path) -> Array:
    return np.stack([sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0] for path in sorted(folder.iterdir())])


#: Samples by name.
SAMPLES: dict[str, Sample] = {
    "dicom": Sample(
        _dicom_file, _SLICES[0].astype(np.int16) - 1024, "YX",
        lambda path: sitk.GetArrayFromImage(sitk.ReadImage(str(path))),
        pixel_size={"Y": 0.7, "X": 0.5}, units={"Y": "millimeter", "X": "millimeter"}, extra="medical",
    ),
    "compressed dicom": Sample(
        _compressed_dicom, _MR, "YX", lambda path: sitk.GetArrayFromImage(sitk.ReadImage(str(path))),
        pixel_size={"Y": 0.3125, "X": 0.3125}, units={"Y": "millimeter", "X": "millimeter"}, extra="medical",
    ),
    "dicom series": Sample(
        _dicom_series, _SLICES.astype(np.int16) - 1024, "ZYX", _gdcm_series,
        pixel_size={"Z": 2.5, "Y": 0.7, "X": 0.5}, units=_MILLIMETERS, extra="medical", wrong_part=True,
        damaged=lambda folder: folder / "0001.dcm",
    ),
    "nifti": Sample(
        _nifti("a.nii"), _SLICES, "ZYX", _nifti_array, pixel_size={"Z": 1.5, "Y": 0.5, "X": 0.25},
        units=_MILLIMETERS, extra="medical",
    ),
    "nifti.gz": Sample(
        _nifti("a.nii.gz"), _SLICES, "ZYX", _nifti_array, pixel_size={"Z": 1.5, "Y": 0.5, "X": 0.25},
        units=_MILLIMETERS, extra="medical",
    ),
    "mrc volume": Sample(
        _mrc(_SLICES.astype(np.int16)), _SLICES.astype(np.int16), "ZYX", mrcfile.read,
        pixel_size={"Z": 3.0, "Y": 2.0, "X": 1.5}, units=_ANGSTROM, extra="em",
    ),
    "mrc float16": Sample(
        _mrc(_SLICES.astype(np.float16)), _SLICES.astype(np.float16), "ZYX", mrcfile.read,
        pixel_size={"Z": 3.0, "Y": 2.0, "X": 1.5}, units=_ANGSTROM, extra="em",
    ),
    "mrc volumes": Sample(
        _mrc(_STACK.astype(np.float32)), _STACK.astype(np.float32), "TZYX", mrcfile.read,
        pixel_size={"Z": 3.0, "Y": 2.0, "X": 1.5}, units=_ANGSTROM, extra="em",
    ),
    "mrc.gz": Sample(
        _mrc_gz, _SLICES, "ZYX", mrcfile.read,
        pixel_size={"Z": 3.0, "Y": 2.0, "X": 1.5}, units=_ANGSTROM, extra="em", is_lazy=False,
    ),
    "npy": Sample(_npy(_SLICES), _SLICES, "CYX", np.load),
    "npy in columns, big endian": Sample(
        _npy(np.asfortranarray(_SLICES.astype(">f4"))), _SLICES.astype(np.float32), "CYX", np.load
    ),
    "npz": Sample(
        _npz, _SLICES, "CYX", lambda path: np.load(path)["stack"], part="stack", is_lazy=False, wrong_part=True
    ),
    "hdf5": Sample(_hdf5(), _SLICES, "ZYX", _hdf5_array, **_HDF5),
    "hdf5 in chunks": Sample(_hdf5(chunks=(2, 16, 16), compression="gzip"), _SLICES, "ZYX", _hdf5_array, **_HDF5),
    "hdf5 without axes": Sample(
        _plain_hdf5, _SLICES, "CYX", _hdf5_array, pixel_size=_PLANE, units={"Y": "micrometer", "X": "micrometer"},
        extra="containers", part="/volumes/raw", wrong_part=True,
    ),
    "imaris": Sample(
        lambda folder: imaris.write_imaris(folder / "a.ims", _MOVIE), _MOVIE, "TCZYX", _imaris_array,
        pixel_size={"T": 3.0, "Z": 1.0, "Y": 0.5, "X": 0.25}, units=_MICROMETERS | {"T": "second"},
        channel_names=("channel 0", "channel 1"), extra="containers", wrong_part=True,
    ),
    "zipped zarr": Sample(_zarr_zip(""), _SLICES, "ZYX", _zarr_zip_array, pixel_size=_VOXEL, units=_MICROMETERS),
    "bmp": Sample(_picture("a.bmp", _RGB), _RGB, "YXS", lambda path: np.asarray(Image.open(path)), is_lazy=False),
    "gif": Sample(_gif, _GRAY, "TYX", _gif_array, pixel_size={"T": 0.05}, units={"T": "second"}, is_lazy=False),
    "nd2": Sample(_nd2(), _ND2_PIXELS, "TZCYX", _nd2_array, **_ND2),
    "compressed nd2": Sample(_nd2(compressed=True), _ND2_PIXELS, "TZCYX", _nd2_array, **_ND2),
    "czi": Sample(
        _czi_mosaic, _STACK[:, 0], "CYX", czifile.imread, pixel_size=_PLANE,
        units={"Y": "micrometer", "X": "micrometer"}, channel_names=("DAPI", "GFP"), extra="microscopes",
        wrong_part=True,
    ),
    "lif": Sample(
        _lif("colour", "stack"), _STACK, "CZYX", _lif_array("stack"), part="stack", pixel_size=_VOXEL,
        units=_MICROMETERS,
        extra="microscopes", wrong_part=True,
    ),
    "colour lif": Sample(
        _lif("stack", "colour"), _RGB[..., ::-1], "YXS", _lif_array("colour"), part="colour", pixel_size=_PLANE,
        units={"Y": "micrometer", "X": "micrometer"}, extra="microscopes", wrong_part=True,
    ),
    "lof": Sample(
        lambda folder: lif.write_lof(folder / "a.lof", "CZYX", _STACK), _STACK, "CZYX",
        lambda path: liffile.imread(path), pixel_size=_VOXEL, units=_MICROMETERS, extra="microscopes", wrong_part=True,
    ),
    "oib": Sample(
        lambda folder: olympus.write_oib(folder / "a.oib", _STACK), _STACK, "CZYX", _olympus_array, **_OLYMPUS,
    ),
    "oif": Sample(
        lambda folder: olympus.write_oif(folder / "a.oif", _STACK), _STACK, "CZYX", _olympus_array, damaged=_oif_plane,
        **_OLYMPUS,
    ),
}  # fmt: skip
