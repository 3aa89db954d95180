"""Unreadable images: a one-line error on opening with the image, the reason and the remedy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.readers.tiff.calibration import Calibration
from masked_denoiser.images.readers.tiff.slides import from_leica, from_ventana

NOISE = np.random.default_rng(0).integers(0, 255, (6, 128, 128)).astype(np.uint8)


def _refused(source: Any, words: str, **options: Any) -> None:
    with pytest.raises(ImageError) as caught:
        open_image(source, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def _file(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _folder(folder: Path) -> Path:
    (folder / "a").mkdir()
    return folder / "a"


def _json(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder

    return make


def _group(**attributes: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        group = zarr.open_group(folder / "a.zarr", mode="w", attributes=attributes)
        for key in "pq":
            group.create_array(key, data=np.zeros((4, 4), np.uint8))
        return folder / "a.zarr"

    return make


def _image(path: str) -> dict[str, Any]:
    return {"version": "0.5", "multiscales": [{"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": path}]}]}


def _zarr_of(dtype: str, shape: tuple[int, ...]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        zarr.create_array(folder / "a.zarr", shape=shape, dtype=dtype)
        return folder / "a.zarr"

    return make


def _tiff_of(dtype: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        tifffile.imwrite(folder / "a.tif", np.zeros((8, 8), dtype))
        return folder / "a.tif"

    return make


def _unknown_compression(folder: Path) -> Path:
    path = folder / "a.tif"
    tifffile.imwrite(path, NOISE[0], compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["Compression"].overwrite(34661)
    return path


def _corrupt_array(folder: Path) -> Path:
    path = _zarr_of("u1", (8, 8))(folder)
    known = json.loads((path / "zarr.json").read_text())
    del known["shape"]
    (path / "zarr.json").write_text(json.dumps(known))
    return path


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"

BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (
        lambda folder: folder / "no.tif",
        "no.tif: cannot be found (No such file or directory); check the path",
    ),
    "missing zarr": (lambda folder: folder / "no.zarr", "no.zarr: cannot be found"),
    "inside a file": (lambda folder: _file("a", b"x")(folder) / "b.tif", "b.tif: cannot be found (Not a directory)"),
    "empty": (_file("a.tif", b""), "a.tif: is an empty file; copy or export the image again"),
    "text": (_file("a.tif", b"not an image\n" * 9), "a.tif: is of no supported format; convert it to TIFF"),
    "png": (_file("a.png", PNG), "a.png: is a broken image"),
    "a header": (_file("a.tif", b"II*\0"), "a.tif: is a truncated or broken TIFF"),
    "no page": (_file("a.tif", b"II*\0\xff\xff\0\0...."), "a.tif: contains no image, or is truncated"),
    "no tags": (_file("a.tif", b"II*\0\x08\0\0\0" + bytes(9)), "a.tif: contains no image, or is truncated"),
    "folder": (_folder, "a: is a folder, but neither a zarr nor a DICOM series"),
    "no json": (_json("zarr.json", "{"), "its zarr metadata cannot be read"),
    "no json 2": (_json(".zarray", "[]"), "its zarr metadata cannot be read"),
    "no shape": (_corrupt_array, "its zarr metadata cannot be read"),
    "several": (_group(), "a.zarr: is a zarr group without image metadata that holds p, q; name one of its images"),
    "plate": (_group(ome={"version": "0.5", "plate": {}}), "a.zarr: is a plate of many images; open one of them"),
    "no axes": (_group(ome={"multiscales": [{"axes": "?", "datasets": 1}]}), "its zarr metadata cannot be read"),
    "no level": (_group(ome=_image("z")), "a.zarr: its level 'z' is missing; copy or export it again"),
    "empty zarr": (_zarr_of("u1", (0, 9)), "a.zarr: the image is empty, its shape is (0, 9); give one with pixels"),
    "complex zarr": (_zarr_of("c8", (9, 9)), "a.zarr: pixels of type complex64 cannot be denoised; convert them to"),
    "complex": (_tiff_of("complex64"), "a.tif: pixels of type complex64 cannot be denoised"),
    "compression": (_unknown_compression, "a.tif: its compression"),
}


@pytest.mark.parametrize(("make", "words"), BAD.values(), ids=BAD)
def test_bad_files_are_refused_and_unchanged(make: Callable[[Path], Path], words: str, tmp_path: Path) -> None:
    path = make(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    _refused(path, words)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"imagej": True},
        {"truncate": True},
        {"ome": True, "compression": "zlib"},
        {"compression": "zlib", "bigtiff": True, "tile": (32, 32)},
        {"compression": "zlib", "rowsperstrip": 8, "metadata": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_truncated_tiffs_are_refused(options: dict[str, Any], share: float, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, NOISE, photometric="minisblack", **options)
    content = path.read_bytes()
    open_image(path).close()
    path.write_bytes(content[: int(len(content) * share)])
    _refused(path, "truncated")


def test_missing_codec_is_reported_in_one_line(tmp_path: Path) -> None:
    """JETRAW is in no public build of imagecodecs, which tifffile detects only when it decodes."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, NOISE[0], compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["Compression"].overwrite(48124)
    with open_image(path) as source, pytest.raises(ImageError, match=r"a\.tif: cannot be decoded .*jetraw") as caught:
        source.read(next(list_planes("YX", source.sizes, False)), slice(0, 9), slice(0, 9))
    assert "\n" not in str(caught.value)


def test_files_without_read_permission_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _tiff_of("u1")(tmp_path)
    # Permissions do not bind root, who runs tests in containers.
    monkeypatch.setattr(os, "access", lambda *_: False)
    _refused(path, "a.tif: may not be read; ask for the right to, or copy it")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 0), np.uint8), "array: the image is empty, its shape is (4, 0)"),
        (np.zeros((4, 4), complex), "array: pixels of type complex128 cannot be denoised; convert them to integers"),
        (np.zeros((4, 4), object), "array: pixels of type object cannot be denoised"),
        (np.zeros((4, 4), [("a", "u1")]), "cannot be denoised"),
        (np.zeros((4, 4), np.longdouble), "array: pixels of type float128 cannot be denoised"),
        (np.zeros(4), "array: shape (4,) is not an image; give an array with at least the axes YX"),
        (np.zeros((2, 2, 2, 2, 5, 9, 9)), "array: axes cannot be guessed for shape (2, 2, 2, 2, 5, 9, 9); set --axes"),
        ({"a": 1}, "dict is not an image; give a path, or an array such as NumPy's"),
    ],
    ids=str,
)
def test_bad_arrays_are_refused(array: Any, words: str) -> None:
    _refused(array, words)


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ("ZYXC", "4 letters for 3 dimensions"),
        ("QYX", "'Q' is not an axis"),
        ("YYX", "a letter occurs twice"),
        ("TCX", "Y or X is missing"),
        ("", "0 letters for 3 dimensions"),
    ],
)
def test_mismatched_axes_are_refused(axes: str, reason: str) -> None:
    mend = "; give 3 different letters of TCZYXS, Y and X among them"
    _refused(np.zeros((5, 9, 9)), f"array: axes {axes!r} do not fit shape (5, 9, 9): {reason}{mend}", axes=axes)


def test_broken_slide_metadata_is_refused_or_ignored() -> None:
    for broken in (lambda: from_leica("<scn", 0), lambda: from_ventana([b"<iScan"])):
        with pytest.raises(ValueError, match="its XML is broken"):
            broken()
    image = '<image><pixels sizeX="{}" sizeY="9"><dimension/></pixels><view {}/></image>'
    image = f"<scn><collection>{image}</collection></scn>"
    for pixels, view in (("9", ""), ("0", 'sizeX="900" sizeY="900"'), ("nan", 'sizeX="inf" sizeY="many"')):
        assert from_leica(image.format(pixels, view), 0) == Calibration()
    for packet in (None, b"", "<a/>", b'<iScan ScanRes="-1"/>', b"<Metadata><iScan/></Metadata>"):
        assert from_ventana([packet]) == Calibration()
    nested = "<?xml version='1.0' encoding='utf-8' ?>\n<Metadata><iScan ScanRes='0.25'/></Metadata>\0"
    assert from_ventana([None, nested.encode()]).steps == {"Y": 0.25, "X": 0.25}


def test_missing_levels_are_refused() -> None:
    _refused(np.zeros((9, 9)), "array: there is no level 2; it has levels 0 to 0", level=2)


def test_truncated_single_page_imagej_stack_is_refused(tmp_path: Path) -> None:
    """ImageJ writes stacks of more than 4 GB as one page followed by the raw remaining planes."""
    path = tmp_path / "a.tif"
    words = "ImageJ=1.54f\nimages=6\nslices=6\nloop=false\n"
    tifffile.imwrite(path, NOISE[0], description=words, metadata=None)
    assert path.read_bytes().endswith(NOISE[0].tobytes())
    with path.open("ab") as file:
        file.write(NOISE[1:].tobytes())
    with open_image(path) as source:
        np.testing.assert_array_equal(np.asarray(source.data), NOISE)
    path.write_bytes(path.read_bytes()[:-1])
    _refused(path, "a.tif: is truncated: it has")
