"""The wheel is the same from the checkout, from the sdist, and from the files that Docker gets."""

from __future__ import annotations

import shutil
import sys

import pytest

from ..test_packaging import ROOT, run


def build(kind, source, folder):
    """Build an sdist or a wheel without this project's environment variables, and return its path."""
    run(sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", folder, source, cwd=folder.parent)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


def test_wheel_from_sdist_is_the_same(sdist, wheel, tmp_path):
    shutil.unpack_archive(sdist, tmp_path)
    (source,) = tmp_path.iterdir()
    assert build("wheel", source, tmp_path / "wheel").read_bytes() == wheel.read_bytes()


def test_sdist_from_sdist_is_the_same(sdist, tmp_path):
    shutil.unpack_archive(sdist, tmp_path)
    (source,) = tmp_path.iterdir()
    assert build("sdist", source, tmp_path / "sdist").read_bytes() == sdist.read_bytes()


def test_wheel_from_docker_context_is_the_same(wheel, tmp_path):
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    source = tmp_path / "context"
    source.mkdir()
    for name in [line[1:] for line in lines if line.startswith("!")]:
        original = ROOT / name
        copy = shutil.copytree if original.is_dir() else shutil.copy
        copy(original, source / name)
    assert build("wheel", source, tmp_path / "wheel").read_bytes() == wheel.read_bytes()


def test_wheel_is_small(wheel):
    assert wheel.stat().st_size < 10_000_000
