"""Round trips of every readable format through every writable format.

What is lost, and why: OME-Zarr prescribes the order TCZYX and knows no samples; OME-TIFF knows fewer types, no contrast
window and no step of time without a unit, and tifffile leaves out axes of length 1; NIfTI has no channels, always Z
before T, and two units of length; MRC has few types and only angstrom.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.round_trips import CASES, row

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.mark.parametrize("name", CASES)
def test_what_is_kept_is_what_the_table_states(name: str, tmp_path: Path) -> None:
    assert row(name, tmp_path) in PAGE.read_text().splitlines(), "run python -m tests.reliability.round_trips"
