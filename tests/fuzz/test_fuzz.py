"""Files from others: whatever is in them, they are opened or refused in a line, and nothing else happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.run import run
from tests.fuzz.targets import TARGETS

#: Together at least 100 000.
SHORT, LONG = 50, 10_000


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("count", [SHORT, pytest.param(LONG, marks=pytest.mark.long)])
def test_no_input_does_more_than_be_refused(name: str, count: int, tmp_path: Path) -> None:
    tally = run(TARGETS[name](), count, tmp_path)
    assert tally.failures == []
    assert tally.refused > count // 10, "the inputs are hardly broken: nothing is tested"
    assert tally.refused + tally.opened == count
