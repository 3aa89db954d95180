"""Pixel sizes and channels that microscopes and scanners declare, and pages that OME-XML does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from masked_denoiser.images.open import open_image
from masked_denoiser.images.readers.tiff.calibration import Calibration
from masked_denoiser.images.readers.tiff.microscopes import (
    from_fei,
    from_lsm,
    from_metamorph,
    from_olympus_sis,
    from_tvips,
    from_zeiss_sem,
)
from masked_denoiser.images.readers.tiff.slides import from_aperio
from masked_denoiser.images.source import Source

Opener = Callable[..., Source]
Read = Callable[[Mapping[str, Any]], Calibration]
GRAY = np.random.default_rng(0).integers(0, 255, (3, 64, 48)).astype(np.uint8)
FEI = "[User]\r\nDate=1\r\n[Scan]\r\nPixelWidth=4.0e-009\r\nPixelHeight=5e-9\r\n"
SEM = "0\r\n0\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = {}\r\nAP_WD\r\nWD = 5 mm\r\n"
QPI = """<?xml version="1.0" encoding="utf-16"?>
<PerkinElmer-QPI-ImageDescription><Name>{}</Name><Color>{}</Color><Responsivity><Filter><Name>x</Name></Filter>
</Responsivity></PerkinElmer-QPI-ImageDescription>"""


def _text(tag: int, text: str) -> list[Any]:
    return [(tag, 2, len(text) + 1, text, True)]


@pytest.mark.parametrize("tag", [34680, 34682])
def test_fei_pixel_size(tag: int, opened: Opener, tmp_path: Path) -> None:
    source = opened(GRAY[0], extratags=_text(tag, FEI), resolution=(300.5, 300.5), metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.is_fei
    assert source.pixel_size == pytest.approx({"Y": 0.005, "X": 0.004})
    assert set(source.units.values()) == {"micrometer"}


@pytest.mark.parametrize(("size", "micrometers"), [("2.5 nm", 0.0025), ("1.25 µm", 1.25), ("500 pm", 0.0005)])
def test_zeiss_sem_pixel_size(size: str, micrometers: float, opened: Opener, tmp_path: Path) -> None:
    content = SEM.format(size).encode("cp1252")
    source = opened(GRAY[0], extratags=[(34118, 7, len(content), content, True)], metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.is_sem
    assert source.pixel_size == pytest.approx({"Y": micrometers, "X": micrometers})


@pytest.mark.parametrize(
    ("names", "colours", "expected"),
    [
        (["DAPI", "Opal 520"], ["0,0,255", "0, 255, 128"], (("DAPI", "Opal 520"), ("0000FF", "00FF80"))),
        (["DAPI", ""], ["0,0,255", "white"], (("DAPI", "channel 1"), ())),
        (["", ""], ["0,0,256", "0,0"], ((), ())),
    ],
)
def test_qptiff_channels(names: list[str], colours: list[str], expected: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.qptiff"
    with tifffile.TiffWriter(path) as writer:
        for step in (1, 2):
            for pixels, name, colour in zip(GRAY, names, colours, strict=False):
                words = {"software": "PerkinElmer-QPI", "description": QPI.format(name, colour), "metadata": None}
                size = {"resolution": (20_000 / step, 20_000 / step), "resolutionunit": 3}
                writer.write(np.ascontiguousarray(pixels[::step, ::step]), tile=(16, 16), **words, **size)
            if step == 1:
                writer.write(GRAY[0, :9, :9], software="PerkinElmer-QPI", metadata=None)  # thumbnail
    with open_image(path) as source:
        assert (source.axes, source.channel_names, source.channel_colours) == ("CYX", *expected)
        assert source.pixel_size == pytest.approx({"Y": 0.5, "X": 0.5})
        assert len(source.levels) == 2


LSM = {
    "VoxelSizeX": 1e-7, "VoxelSizeY": 2e-7, "VoxelSizeZ": 1e-6, "TimeIntervall": 1.5,
    "ChannelColors": {"Colors": [[255, 0, 0, 0], [0, 255, 16, 0]], "ColorNames": ["Ch1", "Ch2"]},
}  # fmt: skip


METAMORPH = {"XCalibration": 0.3, "CalibrationUnits": "microns"}


@pytest.mark.parametrize(
    ("read", "metadata", "steps"),
    [
        (from_olympus_sis, {"pixelsizex": 1e-7, "pixelsizey": 2e-7}, {"Y": 0.2, "X": 0.1}),
        (from_tvips, {"PixelSizeX": 0.5, "PixelSizeY": 0.25}, {"Y": 0.00025, "X": 0.0005}),
        (from_tvips, {"PixelSizeX": 0.5e-9, "PixelSizeY": 0.5e-9}, {"Y": 0.0005, "X": 0.0005}),
        (from_metamorph, {"XCalibration": 0.3, "YCalibration": 0.4, "CalibrationUnits": "um"}, {"Y": 0.4, "X": 0.3}),
        (from_metamorph, {"XCalibration": 0.3, "CalibrationUnits": "microns"}, {"Y": 0.3, "X": 0.3}),
        (from_metamorph, {"XCalibration": 0.0, "YCalibration": 0.4, "CalibrationUnits": "um"}, {}),
        (from_metamorph, {"XCalibration": 1.0, "YCalibration": 1.0, "CalibrationUnits": "pixel"}, {}),
        (from_metamorph, {**METAMORPH, "ZDistance": np.full(4, 0.5)}, {"Z": 0.5, "Y": 0.3, "X": 0.3}),
        (from_metamorph, {**METAMORPH, "ZDistance": np.array([0.5, 0.4])}, {"Y": 0.3, "X": 0.3}),
        (from_aperio, "Aperio Image\r\n64x64|MPP = 0,2520", {"Y": 0.252, "X": 0.252}),
        (from_aperio, "Aperio Image\r\n64x64|AppMag = 40", {}),
        (from_lsm, LSM, {"Z": 1.0, "Y": 0.2, "X": 0.1, "T": 1.5}),
        (from_zeiss_sem, {"ap_pixel_size": ("Pixel Size", 3.0, "mm")}, {"Y": 3000.0, "X": 3000.0}),
        (from_zeiss_sem, {"ap_pixel_size": ("Pixel Size", "many", "nm")}, {}),
        (from_zeiss_sem, {"ap_pixel_size": ("Pixel Size", 3.0)}, {}),
        (from_fei, {"Scan": {"PixelWidth": 1e-9}}, {}),
        (from_fei, {"Scan": ""}, {}),
        (from_lsm, {"VoxelSizeX": "?", "VoxelSizeY": float("nan")}, {}),
    ],
)
def test_pixel_sizes(read: Read, metadata: Any, steps: dict[str, float]) -> None:
    found = read(metadata)
    assert found.steps == pytest.approx(steps)
    assert set(found.units) == set(steps)


def test_lsm_channels() -> None:
    found = from_lsm(LSM)
    assert (found.channel_names, found.channel_colours) == (("Ch1", "Ch2"), ("FF0000", "00FF10"))


OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="48" SizeY="64" SizeZ="2" SizeC="1" SizeT="1">'
    '<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData/></Pixels></Image></OME>'
)


@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("pages", [2, 3])
def test_undeclared_pages_are_told(pages: int, contiguous: bool, tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        for number in range(pages):
            words = {"description": OME if number == 0 else None, "metadata": None}
            writer.write(GRAY[number], contiguous=contiguous, **words)
    with open_image(tmp_path / "a.ome.tif") as source:
        np.testing.assert_array_equal(source.data[:], GRAY[:2])
        noted = "1 of 3 pages of the file are not declared in its OME-XML and are omitted"
        assert source.notes == ((noted,) if pages == 3 else ())


def test_declared_levels_and_images_are_no_undeclared_pages(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        writer.write(GRAY, subifds=1, photometric="minisblack", metadata={"axes": "ZYX"})
        writer.write(GRAY[:, ::2, ::2], subfiletype=1, photometric="minisblack", metadata=None)
        writer.write(GRAY[0, :9, :9], photometric="minisblack", metadata={"axes": "YX"})
    with open_image(tmp_path / "a.ome.tif") as source:
        assert [note for note in source.notes if "declared" in note] == []
        assert len(source.levels) == 2


@pytest.mark.parametrize("text", ["", "0,25", "NaN", "inf"])
def test_ome_sizes_that_are_no_numbers_are_unknown(text: str, opened: Opener) -> None:
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="48" SizeY="64" SizeC="1" SizeZ="1" SizeT="1" '
        f'PhysicalSizeX="{text}" PhysicalSizeY="0.5"><TiffData/></Pixels></Image></OME>'
    )
    source = opened(GRAY[0], description=xml.encode(), metadata=None)
    assert (source.pixel_size, source.units) == ({"Y": 0.5}, {"Y": "micrometer"})
    assert [note for note in source.notes if f"PhysicalSizeX={text!r}" in note and "step of X is not known" in note]
