"""What a user gets from the index: sdist -> wheel -> an environment with nothing else in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tomllib
import venv
from pathlib import Path

import pytest
from npe2 import PluginManifest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

LOOK = """
import json
from importlib.metadata import distribution
from importlib.resources import files
from masked_denoiser.samples import SAMPLES, sample_path

package = files("masked_denoiser")
found = distribution("napari-masked-denoiser")
print(json.dumps({
    "package": str(package),
    "version": found.version,
    "entry points": [[point.group, point.name, point.value] for point in found.entry_points],
    "samples": [str(sample_path(name)) for name in SAMPLES],
    "weights": [str(path) for path in package.joinpath("models", "bundled").glob("*.safetensors")],
}))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Runs a command without this environment's PYTHONPATH; on failure shows what it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The sdist, and the wheel made from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory):
    """The wheel in an empty environment, and what a Python there sees of it."""
    home = tmp_path_factory.mktemp("empty")
    venv.create(home, with_pip=False)
    scripts, suffix = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
    python = home / scripts / f"python{suffix}"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", dist[1], cwd=home)
    seen = json.loads(run(python, "-I", "-c", LOOK, cwd=home))
    seen["command"] = home / scripts / f"masked-denoiser{suffix}"
    assert home.resolve() in Path(seen["package"]).resolve().parents
    return seen


def test_version_is_the_one_of_pyproject(installed):
    assert installed["version"] == PROJECT["version"]


def test_command_is_installed(installed):
    assert installed["command"].exists()


def test_manifest_is_where_npe2_looks(installed):
    points = {group: (name, value) for group, name, value in installed["entry points"]}
    assert points["napari.manifest"] == (PROJECT["name"], "masked_denoiser:napari.yaml")
    manifest = PluginManifest.from_file(Path(installed["package"], "napari.yaml"))
    assert manifest.name == PROJECT["name"]


def test_samples_are_in_the_package(installed):
    assert installed["samples"]
    for sample in map(Path, installed["samples"]):
        assert Path(installed["package"]) in sample.parents
        original = ROOT / "sample_data" / sample.name
        assert sample.read_bytes() == original.read_bytes()


def test_weights_are_in_the_package(installed):
    sizes = {Path(path).name: Path(path).stat().st_size for path in installed["weights"]}
    assert {"paper-rgb.safetensors", "general-rgb.safetensors", "general-gray.safetensors"} <= sizes.keys()
    assert min(sizes.values()) > 100_000
    assert sum(sizes.values()) <= 12_000_000


def test_types_are_in_the_package(installed):
    assert Path(installed["package"], "py.typed").exists()


def test_sdist_holds_what_the_tests_need(dist):
    with tarfile.open(dist[0]) as archive:
        members = {member.name.partition("/")[2]: member for member in archive.getmembers()}
    needed = ("README.md", "LICENSE", "Makefile", "constraints.txt", "tests/test_packaging.py", "sample_data/make.py")
    assert set(needed) <= members.keys()
    assert members["napari.yaml"].size > 0 or members["napari.yaml"].issym()


def test_manifest_at_the_top_is_the_packaged_one():
    link, packaged = ROOT / "napari.yaml", ROOT / "src" / "masked_denoiser" / "napari.yaml"
    if link.is_symlink():
        assert link.resolve() == packaged.resolve()
    else:  # git on Windows checks a symlink out as a text file, an sdist may hold a copy
        texts = {"src/masked_denoiser/napari.yaml", packaged.read_text(encoding="utf-8").strip()}
        assert link.read_text(encoding="utf-8").strip() in texts
