"""Tests of the distribution: sdist -> wheel -> installation in an empty environment."""

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

INSPECT = """
import json
import masked_denoiser
from importlib.metadata import distribution
from importlib.resources import files
from masked_denoiser.samples import SAMPLES, sample_path

package = files("masked_denoiser")
metadata = distribution("napari-masked-denoiser")
print(json.dumps({
    "package": str(package),
    "version": masked_denoiser.__version__,
    "entry points": [[point.group, point.name, point.value] for point in metadata.entry_points],
    "samples": [str(sample_path(name)) for name in SAMPLES],
    "weights": [str(path) for path in package.joinpath("models", "bundled").glob("*.safetensors")],
}))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without this environment's PYTHON* variables, and return its output; show it on failure."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    process = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Return the paths of the sdist and of the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory):
    """Install the wheel in an empty environment, and return what its Python reports of it."""
    home = tmp_path_factory.mktemp("empty")
    venv.create(home, with_pip=False)
    scripts, suffix = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
    python = home / scripts / f"python{suffix}"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", dist[1], cwd=home)
    facts = json.loads(run(python, "-I", "-c", INSPECT, cwd=home))
    facts["command"] = home / scripts / f"masked-denoiser{suffix}"
    assert home.resolve() in Path(facts["package"]).resolve().parents
    return facts


def test_version_equals_pyproject(installed):
    assert installed["version"] == PROJECT["version"]


def test_command_is_installed(installed):
    assert installed["command"].exists()


def test_npe2_finds_manifest(installed):
    points = {group: (name, value) for group, name, value in installed["entry points"]}
    assert points["napari.manifest"] == (PROJECT["name"], "masked_denoiser:napari.yaml")
    manifest = PluginManifest.from_file(Path(installed["package"], "napari.yaml"))
    assert manifest.name == PROJECT["name"]


def test_package_contains_samples(installed):
    assert installed["samples"]
    for sample in map(Path, installed["samples"]):
        assert Path(installed["package"]) in sample.parents
        original = ROOT / "sample_data" / sample.name
        assert sample.read_bytes() == original.read_bytes()


def test_package_contains_weights(installed):
    sizes = {Path(path).name: Path(path).stat().st_size for path in installed["weights"]}
    assert {"paper-rgb.safetensors", "general-rgb.safetensors", "general-gray.safetensors"} <= sizes.keys()
    assert min(sizes.values()) > 100_000
    assert sum(sizes.values()) <= 12_000_000


def test_package_is_typed(installed):
    assert Path(installed["package"], "py.typed").exists()


def test_sdist_contains_files_for_tests(dist):
    with tarfile.open(dist[0]) as archive:
        members = {member.name.partition("/")[2]: member for member in archive.getmembers()}
    needed = ("README.md", "LICENSE", "Makefile", "constraints.txt", "tests/test_packaging.py", "sample_data/make.py")
    assert set(needed) <= members.keys()
    assert members["napari.yaml"].size > 0 or members["napari.yaml"].issym()


def test_root_manifest_equals_packaged_one():
    link, packaged = ROOT / "napari.yaml", ROOT / "src" / "masked_denoiser" / "napari.yaml"
    if link.is_symlink():
        assert link.resolve() == packaged.resolve()
    else:  # git on Windows checks a symlink out as a text file, an sdist may hold a copy
        texts = {"src/masked_denoiser/napari.yaml", packaged.read_text(encoding="utf-8").strip()}
        assert link.read_text(encoding="utf-8").strip() in texts
