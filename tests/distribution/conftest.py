"""Builds of this checkout that several tests share."""

from __future__ import annotations

import sys

import pytest

from ..test_packaging import ROOT, run


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Return the path of the wheel that is built from this checkout, without an sdist in between."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path
