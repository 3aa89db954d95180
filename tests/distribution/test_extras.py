"""Each extra is installed in an empty environment, and used for what it is for."""

from __future__ import annotations

import shutil
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from ..images.readers.samples.czi import Block, write_czi
from ..test_packaging import PROJECT, ROOT, run
from .use_extra import USES

#: Extras for development, which test nothing of a user.
_OF_DEVELOPERS = {"test", "dev", "docs"}

#: Packages that a user installs next to an extra.
_FURTHER = {"readers": ["bioio-imageio"]}


@pytest.fixture
def environment(tmp_path):
    """Return an empty environment, which is removed afterwards since it has a gigabyte."""
    path = tmp_path / "environment"
    venv.create(path)
    yield path
    shutil.rmtree(path)


def test_every_extra_has_a_use():
    assert set(USES) - {""} == set(PROJECT["optional-dependencies"]) - _OF_DEVELOPERS


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="environments of venv have other paths on Windows")
@pytest.mark.parametrize("extra", USES)
def test_extra_installs_and_works(extra, wheel, environment, tmp_path):
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    requirement = f"{wheel}[{extra}]" if extra else str(wheel)
    constraints = ROOT / "constraints.txt"
    run(
        *pip,
        "install",
        "--quiet",
        "--no-compile",
        "-c",
        constraints,
        requirement,
        *_FURTHER.get(extra, ()),
        cwd=tmp_path,
    )
    run(*pip, "check", cwd=tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    if extra == "microscopes":
        pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
        write_czi(folder / "sample.czi", [Block(pixels, {"Y": 0, "X": 0})])
    program = Path(__file__).with_name("use_extra.py")
    assert f"used {extra or 'no extra'}" in run(python, "-I", program, extra, folder, cwd=tmp_path)
