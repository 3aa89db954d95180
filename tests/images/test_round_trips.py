"""What goes in comes out: every format that is read, through every form that is written, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts.round_trips import CASES, FORMS, round_trip

ZARR = [form for form in FORMS if form.startswith("OME-Zarr")]
TIFF = ["OME-TIFF"]
_COLOUR = (ZARR, ["axes YXS become CYX"])

#: All that is not kept, and why: OME-Zarr prescribes the order TCZYX and knows no samples; OME-TIFF knows fewer types,
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
    "numpy of truths": [(TIFF, ["refused: OME-TIFF cannot hold bool"])],
    "numpy, seconds unsaid": [(TIFF, ["the step of T is lost"])],
    "dask": [
        (ZARR, ["refused: axes CYXS have both channels (C) and samples (S), and OME-Zarr has room for one of them"])
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_a_round_trip_keeps_all_that_the_form_can_hold(name: str, tmp_path: Path) -> None:
    found = {}
    for form in FORMS:
        folder = tmp_path / form
        folder.mkdir()
        found[form] = round_trip(CASES[name], form, folder)
    assert found == {form: [] for form in FORMS} | {
        form: lost for forms, lost in EXPECTED.get(name, []) for form in forms
    }
