"""Round trips of every readable format through every writable format."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.round_trips import CASES, FORMATS, round_trip

ZARR = [form for form in FORMATS if form.startswith("OME-Zarr")]
TIFF = ["OME-TIFF"]
_COLOUR = (ZARR, ["axes YXS become CYX"])

#: Metadata that is lost, and why: OME-Zarr prescribes the order TCZYX and knows no samples; OME-TIFF knows fewer types,
#: no contrast window and no step of time without a unit, and tifffile leaves out axes of length 1.
EXPECTED = {
    "ImageJ": [([*ZARR, *TIFF], ["axes TZCYX become TCZYX"])],
    "RGB TIFF": [_COLOUR],
    "SVS": [_COLOUR],
    "PNG": [_COLOUR],
    "zarr 3": [(TIFF, ["refused: OME-TIFF cannot hold float16"])],
    "OME-Zarr 0.4": [(TIFF, ["windows are lost"])],
    "OME-Zarr 0.5": [(TIFF, ["windows are lost"])],
    "OME-Zarr 0.5, one channel": [(TIFF, ["axes CYX become YX", "windows are lost"])],
    "numpy": [([*ZARR, *TIFF], ["axes ZCYX become CZYX"])],
    "numpy, Boolean": [(TIFF, ["refused: OME-TIFF cannot hold bool"])],
    "numpy, time step without unit": [(TIFF, ["the step of T is lost"])],
    "dask": [
        (ZARR, ["refused: axes CYXS have both channels (C) and samples (S), and OME-Zarr has room for one of them"])
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_round_trip_keeps_supported_metadata(name: str, tmp_path: Path) -> None:
    found = {}
    for form in FORMATS:
        folder = tmp_path / form
        folder.mkdir()
        found[form] = round_trip(CASES[name], form, folder)
    assert found == {form: [] for form in FORMATS} | {
        form: lost for forms, lost in EXPECTED.get(name, []) for form in forms
    }
