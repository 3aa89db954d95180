"""DICOM files of many frames, compared with what pydicom decodes at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames

from masked_denoiser.errors import DamagedError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from tests.images.dicom_files import write_series

FILES = Path(pydicom.data.__file__).parent / "test_files"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

#: How compressed frames are put into a file, by what tells where they begin.
CONTAINERS: dict[str, Callable[[pydicom.Dataset, list[bytes]], None]] = {
    "basic offsets": lambda d, frames: setattr(d, "PixelData", encapsulate(frames, has_bot=True)),
    "basic offsets of fragments": lambda d, frames: setattr(d, "PixelData", encapsulate(frames, 3, has_bot=True)),
    "fragments": lambda d, frames: setattr(d, "PixelData", encapsulate(frames, has_bot=False)),
    "ends of frames": lambda d, frames: setattr(d, "PixelData", encapsulate(frames, 3, has_bot=False)),
    "extended offsets": lambda d, frames: _set_extended(d, frames),
}


def _set_extended(dataset: pydicom.Dataset, frames: list[bytes]) -> None:
    dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(frames)


@pytest.mark.parametrize("name", ["rtdose", "rtdose_expb", "rtdose_rle", "SC_rgb_rle_2frame"])
def test_frames_equal_those_of_pydicom(name: str) -> None:
    dataset = pydicom.dcmread(FILES / f"{name}.dcm")
    expected = dataset.pixel_array.astype(float) * float(dataset.get("DoseGridScaling", 1))
    with open_image(FILES / f"{name}.dcm") as source:
        for plane in reversed(range(len(expected))):
            assert np.allclose(source.data[plane], expected[plane], rtol=1e-6)


@pytest.mark.parametrize("container", CONTAINERS)
def test_frames_of_any_container(container: str, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(FILES / "examples_ybr_color.dcm")
    frames = list(generate_frames(dataset.PixelData, number_of_frames=30))[:4]
    expected = dataset.pixel_array
    dataset.NumberOfFrames = 4
    CONTAINERS[container](dataset, frames)
    dataset.save_as(tmp_path / "a.dcm")
    with open_image(tmp_path / "a.dcm") as source:
        for at in (3, 1, 0, 2):
            assert np.array_equal(source.data[at], expected[at])


@pytest.mark.parametrize("name", ["rtdose", "rtdose_rle"])
def test_header_and_offsets_are_parsed_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header of an enhanced image describes each frame, and is longer the more there are."""
    calls: list[str] = []

    def counted(module: Any, function: str) -> None:
        original = getattr(module, function)

        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(function)
            return original(*arguments, **options)

        monkeypatch.setattr(module, function, call)

    from masked_denoiser.images.readers.medical import dicom_multiframe, dicom_pixels

    with open_image(FILES / f"{name}.dcm") as source:
        counted(pydicom, "dcmread")
        counted(pydicom.pixels.utils, "_array_common")
        counted(dicom_pixels, "pixel_array")
        counted(dicom_multiframe, "parse_basic_offsets")
        for plane in list_planes(source.axes, source.sizes, source.rgb):
            source.read(plane, slice(0, 5), slice(0, 5))
    assert calls == ["dcmread", *(["parse_basic_offsets"] if name == "rtdose_rle" else [])]


def test_damaged_frame_does_not_affect_the_others(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(FILES / "rtdose_rle.dcm")
    frames = list(generate_frames(dataset.PixelData, number_of_frames=15))
    expected = dataset.pixel_array * float(dataset.DoseGridScaling)
    frames[7] = frames[7][:70]
    dataset.PixelData = encapsulate(frames)
    dataset.save_as(tmp_path / "a.dcm")
    with open_image(tmp_path / "a.dcm") as source:
        planes = list(list_planes(source.axes, source.sizes, source.rgb))
        with pytest.raises(DamagedError, match="is damaged at rows 0 to 10"):
            source.read(planes[7], slice(0, 10), slice(0, 10))
        assert np.allclose(source.read(planes[8], slice(0, 10), slice(0, 10))[0], expected[8, :10])


@pytest.mark.parametrize(
    ("modality", "spacing", "axes", "step"),
    [("PT", 2.5, "ZYX", 2.5), ("PT", None, "ZYX", None), ("XA", 2.5, "TYX", None)],
)
def test_slices_in_a_file_with_one_position(
    modality: str, spacing: float | None, axes: str, step: float | None, tmp_path: Path
) -> None:
    """The position is that of the first slice; the frames of a film share it."""
    frames = np.arange(5 * 20 * 30).reshape(5, 20, 30)
    (path,) = write_series(tmp_path, frames[:1], modality="PT")
    dataset = pydicom.dcmread(path)
    dataset.Modality, dataset.NumberOfFrames, dataset.PixelData = modality, 5, frames.astype("<u2").tobytes()
    if spacing:
        dataset.SpacingBetweenSlices = spacing
    dataset.save_as(path)
    with open_image(path) as source:
        assert (source.axes, source.pixel_size.get("Z")) == (axes, step)
        assert np.array_equal(source.data[...], frames)
        if step:
            assert np.allclose(np.array(source.affine) @ [0, 0, 4, 1], [50, 60, 110, 1])


@pytest.mark.parametrize("pointer", [None, 0x00181063])
@pytest.mark.parametrize("position", [True, False])
def test_film_of_a_modality_of_slices(pointer: int | None, position: bool, tmp_path: Path) -> None:
    """As a heart in MRI, whose header may also state the spacing of other slices."""
    frames = np.arange(5 * 20 * 30).reshape(5, 20, 30)
    (path,) = write_series(tmp_path, frames[:1], modality="MR")
    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames, dataset.PixelData, dataset.SpacingBetweenSlices = 5, frames.astype("<u2").tobytes(), 8
    dataset.FrameTime = 40
    if pointer:
        dataset.FrameIncrementPointer = pointer
    if not position:
        del dataset.ImagePositionPatient
    dataset.save_as(path)
    with open_image(path) as source:
        assert (source.axes, source.pixel_size["T"]) == ("TYX", 40)


def test_table_of_measured_values_is_not_applied(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, np.arange(600).reshape(1, 20, 30), modality="PT")
    dataset, table = pydicom.dcmread(path), pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", [4096, 0, 16])
    table.add_new("LUTData", "OW", np.arange(4096, dtype=np.uint16)[::-1].tobytes())
    dataset.ModalityLUTSequence = [table]
    dataset.save_as(path)
    with open_image(path) as source:
        assert any("(modality LUT) is not applied" in note for note in source.notes)
