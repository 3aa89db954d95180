"""Sets of OME-TIFF, whose files describe the images of all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from masked_denoiser.errors import ImageError
from masked_denoiser.images.discovery import find_images, images_in
from masked_denoiser.images.open import open_image
from masked_denoiser.images.writers.output_path import check_output

SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
SIDES = (64, 96, 80)


def describe(number: int, planes: int = 1) -> str:
    """Return the element of an image; plane `i` is the only page of the file `number + i`."""
    size = SIDES[number]
    data = "".join(
        f'<TiffData IFD="0" PlaneCount="1" FirstZ="{z}">'
        f'<UUID FileName="{number + z}.ome.tif">urn:uuid:{number + z}</UUID></TiffData>'
        for z in range(planes)
    )
    return (
        f'<Image ID="Image:{number}" Name="position"><Pixels ID="Pixels:{number}" DimensionOrder="XYZCT" Type="uint16" '
        f'SizeX="{size}" SizeY="{size}" SizeC="1" SizeZ="{planes}" SizeT="1" PhysicalSizeX="{number + 1}" '
        f'PhysicalSizeY="{number + 1}"><Channel ID="Channel:{number}:0" Name="dye {number}"/>{data}</Pixels></Image>'
    )


def write_set(folder: Path, images: str, sides: tuple[int, ...], **options: Any) -> None:
    """Write files of one page each, whose pixels have the number of the file."""
    for number, side in enumerate(sides):
        xml = f'<?xml version="1.0"?><OME xmlns="{SCHEMA}" UUID="urn:uuid:{number}">{images}</OME>'
        pixels = np.full((side, side), number, np.uint16)
        tifffile.imwrite(folder / f"{number}.ome.tif", pixels, description=xml.encode(), metadata=None, **options)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("missing", [(), (0,), (0, 2)])
def test_each_file_opens_its_own_image(compression: str | None, missing: tuple[int, ...], tmp_path: Path) -> None:
    """The files may be alone, renamed, and smaller than the others."""
    write_set(tmp_path, "".join(map(describe, range(3))), SIDES, compression=compression)
    for number in missing:
        (tmp_path / f"{number}.ome.tif").unlink()
    (tmp_path / "1.ome.tif").rename(tmp_path / "renamed.ome.tif")
    for number in {0, 1, 2} - {*missing}:
        path = tmp_path / ("renamed.ome.tif" if number == 1 else f"{number}.ome.tif")
        with open_image(path) as source:
            assert source.shape == (SIDES[number],) * 2
            assert (np.asarray(source.data[:]) == number).all()
            assert (source.pixel_size, source.channel_names) == ({"Y": number + 1, "X": number + 1}, (f"dye {number}",))
            assert (source.inputs, source.notes) == ((path,), ())


@pytest.mark.parametrize("opened", ["0.ome.tif", "no pixels.ome.tif"])
def test_files_that_are_read_may_neither_be_written_nor_be_truncated(opened: str, tmp_path: Path) -> None:
    write_set(tmp_path, describe(0, planes=2), (64, 64))
    xml = (tmp_path / "0.ome.tif").read_bytes()
    start = xml.index(b"<?xml")
    description = xml[start : xml.index(b"</OME>") + 6].replace(b'UUID="urn:uuid:0">', b'UUID="urn:uuid:9">', 1)
    tifffile.imwrite(tmp_path / "no pixels.ome.tif", np.zeros((8, 8), np.uint8), description=description, metadata=None)
    with open_image(tmp_path / opened) as source:
        assert np.asarray(source.data[:]).mean(axis=(1, 2)).tolist() == [0, 1]
        with pytest.raises(ImageError, match=r"1\.ome\.tif is, holds or lies in the input"):
            check_output(tmp_path / "1.ome.tif", source)
    other = tmp_path / "1.ome.tif"
    other.write_bytes(other.read_bytes()[:-100])
    with pytest.raises(ImageError, match=r"1\.ome\.tif: is truncated: it has"):
        open_image(tmp_path / opened)


def test_file_that_another_one_describes(tmp_path: Path) -> None:
    """Its pages are one axis, and the user reads where the axes are described."""
    binary_only = '<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:2"/>'
    xml = f'<OME xmlns="{SCHEMA}" UUID="urn:uuid:1">{binary_only}</OME>'
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tif:
        for number in range(6):
            page = np.full((64, 80), number, np.uint16)
            tif.write(page, description=None if number else xml, metadata=None, resolution=(2e4, 2e4), resolutionunit=3)
    with open_image(tmp_path / "a.ome.tif") as source:
        assert (source.shape, source.pixel_size) == ((6, 64, 80), {"Y": 0.5, "X": 0.5})
        assert any("set.companion.ome, which is not in its folder" in note for note in source.notes)


def write_described_set(folder: Path, images: str, sides: tuple[int, ...], metadata: str) -> None:
    """Write files of one page each whose OME-XML only names another file."""
    for number, side in enumerate(sides):
        binary_only = f'<BinaryOnly MetadataFile="{metadata}" UUID="urn:uuid:set"/>'
        xml = f'<OME xmlns="{SCHEMA}" UUID="urn:uuid:{number}">{binary_only}</OME>'
        if f"{number}.ome.tif" == metadata:
            xml = f'<OME xmlns="{SCHEMA}" UUID="urn:uuid:{number}">{images}</OME>'
        pixels = np.full((side, side), number, np.uint16)
        tifffile.imwrite(folder / f"{number}.ome.tif", pixels, description=xml.encode(), metadata=None)
    if metadata.endswith(".companion.ome"):
        (folder / metadata).write_text(f'<OME xmlns="{SCHEMA}" UUID="urn:uuid:set">{images}</OME>')


@pytest.mark.parametrize("metadata", ["set.companion.ome", "0.ome.tif"])
def test_files_are_opened_as_the_file_with_their_metadata_describes_them(metadata: str, tmp_path: Path) -> None:
    write_described_set(tmp_path, describe(0, planes=2), (64, 64), metadata)
    files = {tmp_path / name for name in ("0.ome.tif", "1.ome.tif", metadata)}
    for path in files:
        with open_image(path) as source:
            assert (source.shape, source.axes, source.notes) == ((2, 64, 64), "ZYX", ())
            assert (source.pixel_size, source.channel_names) == ({"Y": 1, "X": 1}, ("dye 0",))
            assert np.asarray(source.data[:]).mean(axis=(1, 2)).tolist() == [0, 1]
            assert {*source.inputs} == files
            for file in (file for file in files if file.suffix == ".tif"):
                with pytest.raises(ImageError, match="is, holds or lies in the input"):
                    check_output(file, source)


def test_companion_stands_for_all_images_of_its_files(tmp_path: Path) -> None:
    """Images of one size, one in each file; each is named once."""
    images = "".join(describe(number) for number in range(3)).replace('"96"', '"64"').replace('"80"', '"64"')
    for number in range(3):
        images = images.replace('Name="position"', f'Name="well {number}"', 1)
    write_described_set(tmp_path, images, (64, 64, 64), "set.companion.ome")
    companion = tmp_path / "set.companion.ome"
    expected = [f"{companion}::well {number}" for number in range(3)]
    assert find_images([str(tmp_path)]) == find_images([f"{tmp_path}/*"]) == expected
    assert find_images([str(path) for path in tmp_path.iterdir()]) == expected
    for number, image in enumerate(expected):
        with open_image(image) as source:
            assert (source.channel_names, source.notes) == ((f"dye {number}",), ())
            assert (np.asarray(source.data[:]) == number).all()
    companion.unlink()
    assert find_images([str(tmp_path)]) == [f"{tmp_path}/{number}.ome.tif" for number in range(3)]


def test_image_in_several_files_is_one_image_of_a_folder(tmp_path: Path) -> None:
    write_set(tmp_path, describe(0, planes=3), (64, 64, 64))
    files = [f"{tmp_path}/{number}.ome.tif" for number in range(3)]
    assert find_images([str(tmp_path)]) == find_images(files) == images_in(tmp_path) == files[:1]
    assert find_images(files[1:]) == files[1:]  # the first is not requested
    assert find_images(files[2:]) == files[2:]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<OME><Image>", r"set\.companion\.ome: its OME-XML is broken"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><OME/>', "declares entities"),
        (f'<OME xmlns="{SCHEMA}"/>', "none of the files that it describes is in its folder"),
        (f'<OME xmlns="{SCHEMA}">{describe(0).replace("0.ome.tif", "../0.ome.tif")}</OME>', "outside its folder"),
    ],
)
def test_broken_companion_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "set.companion.ome").write_text(text)
    with pytest.raises(ImageError, match=message):
        open_image(tmp_path / "set.companion.ome")


@pytest.mark.parametrize(
    ("unit", "origin"),
    [("µm", {"Z": -3.0, "X": 1500.0}), ("mm", {"Z": -3000.0, "X": 1.5e6}), ("reference frame", {}), (None, {})],
)
def test_positions_of_the_stage(unit: str | None, origin: dict[str, float], tmp_path: Path) -> None:
    """Where planes disagree, as those along Y here, there is no position."""
    positions: dict[str, Any] = {"PositionX": [1500.0] * 2, "PositionY": [1.0, 2.0], "PositionZ": [-3.0, -2.0]}
    if unit:
        positions |= {f"Position{axis}Unit": [unit] * 2 for axis in "XYZ"}
    sizes = {f"PhysicalSize{axis}": 0.5 for axis in "XYZ"}
    pixels = np.zeros((2, 64, 64), np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, metadata={"axes": "ZYX", **sizes, "Plane": positions})
    with open_image(tmp_path / "a.ome.tif") as source:
        assert source.origin == pytest.approx(origin)
