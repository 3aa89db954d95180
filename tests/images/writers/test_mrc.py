"""MRC files, read by mrcfile."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.selection import crop, parse_selection
from masked_denoiser.images.writers.create import create_sink
from masked_denoiser.images.writers.provenance import read_attributes
from tests.images.writers.copies import ATTRIBUTES, copy_image

RNG = np.random.default_rng(6)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float32"])
@pytest.mark.parametrize(("axes", "shape"), [("YX", (20, 24)), ("ZYX", (3, 20, 24)), ("TZYX", (2, 3, 20, 24))])
def test_mrc_keeps_pixels_and_voxel_size(dtype: str, axes: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    pixels = RNG.integers(0, 120, shape).astype(dtype)
    source = open_image(pixels, axes=axes)
    sizes = {a: 0.5 for a in "ZYX" if a in axes}
    source = replace(source, pixel_size=sizes, units=dict.fromkeys(sizes, "nanometer"))
    copy_image(source, tmp_path / "out.mrc")
    with mrcfile.open(tmp_path / "out.mrc") as file:
        assert np.array_equal(file.data, pixels)
        assert file.data.dtype == dtype
        assert file.voxel_size.x == 5
    assert mrcfile.validate(tmp_path / "out.mrc")
    assert read_attributes(tmp_path / "out.mrc") == {"job": ATTRIBUTES["job"], "complete": True}


def test_statistics_are_exact_in_bounded_memory(tmp_path: Path) -> None:
    """The deviation is a millionth of the mean, and not all pixels are finite."""
    pixels = np.asarray(RNG.normal(1e5, 0.1, (24, 256, 256)), np.float32)
    pixels[3, :5] = np.nan
    pixels[4, 0, :3] = np.inf, -np.inf, 2e5
    source = open_image(pixels, axes="ZYX")
    sink = create_sink(tmp_path / "out.mrc", source, chunk=256)
    for plane in list_planes(source.axes, source.sizes, source.rgb):
        sink.write(plane, 0, 0, source.read(plane, slice(0, 256), slice(0, 256)))
    tracemalloc.start()
    sink.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < pixels.nbytes / 2
    finite = pixels[np.isfinite(pixels)].astype(np.float64)
    with mrcfile.open(tmp_path / "out.mrc", header_only=True) as file:
        written = [float(file.header[name]) for name in ("dmin", "dmax", "dmean", "rms")]
    assert written == pytest.approx([finite.min(), finite.max(), finite.mean(), finite.std()], rel=1e-6)
    copy_image(open_image(np.full((8, 8), np.nan, np.float32), axes="YX"), tmp_path / "nan.mrc")
    with mrcfile.open(tmp_path / "nan.mrc", header_only=True) as file:
        assert file.header.dmax < file.header.dmin  # unknown, by MRC2014


PIXELS = RNG.integers(0, 120, (6, 20, 24)).astype(np.int16)
ORDERS = [(1, 2, 3), (2, 1, 3), (3, 1, 2)]


def _write_input(
    path: Path, order: tuple[int, ...] = (1, 2, 3), *, crystal: bool = False, byteorder: str = "<"
) -> None:
    """Write a volume with a place in its cell; that of a crystal is longer than the volume."""
    with mrcfile.new(path) as file:
        file.set_data(PIXELS.astype(f"{byteorder}i2"))
        header = file.header
        header.mapc, header.mapr, header.maps = order
        counts = dict(zip(order, reversed(PIXELS.shape), strict=True))
        header.mx, header.my, header.mz = (counts[axis] + 30 * crystal for axis in (1, 2, 3))
        header.cella = (1.5 * header.mx, 2.0 * header.my, 2.5 * header.mz)
        header.cellb = (90, 90, 120) if crystal else (90, 90, 90)
        header.nxstart, header.nystart, header.nzstart = 5, -6, 7
        header.ispg = 5 if crystal else 1
        header.label[0] = b"recorded at 300 kV"
        header.nlabl = 1


def _positions(path: Path) -> Any:
    """Return the place of each pixel in grid steps of the cell, [3 of x, y, z, sections, rows, columns]."""
    with mrcfile.open(path) as file:
        header, shape = file.header, file.data.shape
    starts = [int(header[name]) for name in ("nxstart", "nystart", "nzstart")]
    axes = [int(header[name]) for name in ("mapc", "mapr", "maps")]
    places = np.indices(shape)[::-1] + np.reshape(starts, (3, 1, 1, 1))
    return np.stack([places[axes.index(axis)] for axis in (1, 2, 3)])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("crystal", [False, True])
@pytest.mark.parametrize("part", ["", "X=2:9,Y=4:10,Z=3", "Z=1:5"])
def test_density_keeps_its_place(order: tuple[int, ...], crystal: bool, part: str, tmp_path: Path) -> None:
    _write_input(tmp_path / "in.map", order, crystal=crystal, byteorder=">" if crystal else "<")
    with open_image(tmp_path / "in.map") as source:
        cut = crop(source, parse_selection(part))
        copy_image(cut, tmp_path / "out.mrc")
    with mrcfile.open(tmp_path / "in.map") as before, mrcfile.open(tmp_path / "out.mrc") as after:
        assert after.voxel_size == before.voxel_size
        assert after.header.cellb == before.header.cellb
        assert after.header.ispg == before.header.ispg
        assert after.is_volume()
        if crystal or not part:
            assert after.header.cella == before.header.cella
        labels = [f"denoised by job {ATTRIBUTES['job']}", "Research use only"]
        assert after.get_labels() == ["recorded at 300 kV", *labels]
        places = _positions(tmp_path / "in.map").reshape(3, -1).T
        density = {tuple(place): value for place, value in zip(places, before.data.flat, strict=True)}
        written = _positions(tmp_path / "out.mrc").reshape(3, -1).T
        assert [density[tuple(place)] for place in written] == list(after.data.flat)
    assert mrcfile.validate(tmp_path / "out.mrc")
    with open_image(tmp_path / "out.mrc") as result:
        assert (result.axes, result.pixel_size, result.origin) == (cut.axes, cut.pixel_size, cut.origin)


@pytest.mark.parametrize("order", ORDERS)
def test_origin_is_that_of_the_part(order: tuple[int, ...], tmp_path: Path) -> None:
    _write_input(tmp_path / "in.mrc", order)
    with mrcfile.open(tmp_path / "in.mrc", "r+") as file:
        file.header.origin = (-10, 20, 30)
    with open_image(tmp_path / "in.mrc") as source:
        for number, part in enumerate(("", "X=2:9,Z=3")):
            cut = crop(source, parse_selection(part))
            copy_image(cut, tmp_path / f"{number}.mrc")
            with open_image(tmp_path / f"{number}.mrc") as result:
                assert result.origin == pytest.approx(cut.origin)
    with mrcfile.open(tmp_path / "0.mrc") as file:
        assert file.header.origin.item() == (-10, 20, 30)


def test_origin_may_become_zero(tmp_path: Path) -> None:
    _write_input(tmp_path / "in.mrc")
    with mrcfile.open(tmp_path / "in.mrc", "r+") as file:
        file.header.origin = (-3, 0, 0)
    with open_image(tmp_path / "in.mrc") as source:
        copy_image(crop(source, parse_selection("X=2:9")), tmp_path / "out.mrc")
    with open_image(tmp_path / "out.mrc") as result:
        assert result.origin == {}


@pytest.mark.parametrize(("kind", "axes"), [("stack", "TYX"), ("volumes", "TZYX"), ("image", "YX"), ("older", "ZYX")])
def test_kind_is_kept(kind: str, axes: str, tmp_path: Path) -> None:
    pixels = {"volumes": PIXELS.reshape(2, 3, 20, 24), "image": PIXELS[0]}.get(kind, PIXELS)
    with mrcfile.new(tmp_path / "in.mrc") as file:
        file.set_data(pixels)
        if kind == "stack":
            file.set_image_stack()
        file.header.ispg = {"older": 0, "volumes": 405}.get(kind, file.header.ispg)
        file.voxel_size = 2.0
        expected = [int(file.header[name]) for name in ("ispg", "mx", "my", "mz")]
    with open_image(tmp_path / "in.mrc") as source:
        assert source.axes == axes
        copy_image(source, tmp_path / "out.mrc")
    with mrcfile.open(tmp_path / "out.mrc") as file:
        assert np.array_equal(file.data, pixels)
        assert [int(file.header[name]) for name in ("ispg", "mx", "my", "mz")] == expected
        assert file.voxel_size.item() == (2, 2, 2)


def test_volume_opened_as_a_series_is_one(tmp_path: Path) -> None:
    _write_input(tmp_path / "in.mrc")
    with open_image(tmp_path / "in.mrc", axes="TYX") as source:
        copy_image(source, tmp_path / "out.mrc")
    with open_image(tmp_path / "out.mrc") as result:
        assert result.axes == "TYX"
        assert result.pixel_size == {"Y": 2.0, "X": 1.5}


def test_labels_of_an_input_do_not_grow(tmp_path: Path) -> None:
    _write_input(tmp_path / "0.mrc")
    with mrcfile.open(tmp_path / "0.mrc", "r+") as file:
        for number in range(1, 10):
            file.add_label(f"label {number}")
    for number in range(2):
        with open_image(tmp_path / f"{number}.mrc") as source:
            copy_image(source, tmp_path / f"{number + 1}.mrc")
    with mrcfile.open(tmp_path / "2.mrc") as file:
        assert file.get_labels()[:8] == ["recorded at 300 kV", *(f"label {number}" for number in range(1, 8))]
        assert len(file.get_labels()) == 10
    attributes = {**ATTRIBUTES, "settings": {"anonymize": True}}
    with open_image(tmp_path / "0.mrc") as source:
        copy_image(source, tmp_path / "out.mrc", attributes=attributes)
    assert b"300 kV" not in (tmp_path / "out.mrc").read_bytes()


def test_unsigned_bytes_are_stored_exactly(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (3, 20, 24), dtype=np.uint8)
    copy_image(open_image(pixels, axes="ZYX"), tmp_path / "out.mrc")
    assert np.array_equal(mrcfile.read(tmp_path / "out.mrc"), pixels)
