"""Fuzzing of untrusted files: each is opened or refused in one line, without side effects."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.run import Target, run
from tests.fuzz.targets import INPUTS, TARGETS

SHORT = [(name, 50) for name in TARGETS]
LONG = [pytest.param(name, INPUTS[name], marks=pytest.mark.long) for name in TARGETS]


@pytest.mark.parametrize(("name", "count"), [*SHORT, *LONG])
def test_broken_inputs_are_opened_or_refused(name: str, count: int, tmp_path: Path) -> None:
    tally = run(TARGETS[name](), count, tmp_path)
    assert tally.failures == []
    assert tally.refused > count // 10, "the inputs are hardly broken: nothing is tested"
    assert tally.refused + tally.opened == count


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: (folder.parent / "x").touch(), "open"),
        (lambda folder: (folder.parent / "secret" / "key").read_text(), "open"),
        (lambda _: os.system("true"), "os.system"),
        (lambda _: pickle.loads(pickle.dumps(Path())), "pickle.find_class"),
        (lambda folder: (folder / "a").rename(folder.parent / "a"), "os.rename"),
        (lambda _: [][1], "IndexError"),
    ],
)
def test_harmful_actions_are_detected(harm: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    """Check the watch itself with a target that does something forbidden on broken input."""

    def use(folder: Path) -> None:
        if (folder / "a").read_bytes() != b"whole":
            harm(folder)

    target = Target("harmful", lambda: [{"a": b"whole"}], lambda _: lambda _random, _data: b"broken", use)
    place = tmp_path / "place"
    place.mkdir()
    assert words in " ".join(run(target, 1, place).failures)
