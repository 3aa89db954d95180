"""Dry run of the prepared training on the CPU, with only the packages of a bare machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import immunohistochemistry

from masked_denoiser.models.file import read_model

TOOL = Path(__file__).parents[2] / "tools" / "train_quarter_hour.py"

#: Code that runs a script as on a bare machine, which has torch, numpy, Pillow, safetensors, scikit-image and their
#: dependencies only.
_RUN_BARE = '''
import runpy, sys

MISSING = set("imagecodecs zarr numcodecs napari dask pydantic psutil tqdm platformdirs filelock yaozarrs".split())


class FinderWithoutPackages:
    """Finder that hides the modules of these packages."""

    def __init__(self, finder):
        self._finder = finder

    def __getattr__(self, name):
        return getattr(self._finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in MISSING else self._finder.find_spec(name, path, target)


sys.meta_path[:] = [FinderWithoutPackages(finder) for finder in sys.meta_path]
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
'''


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = immunohistochemistry()
    for number in range(4):
        part = pixels[:, number * 120 : number * 120 + 120]
        Image.fromarray(np.ascontiguousarray(part[:260])).save(folder / f"{number}.png")
    (folder / "more").mkdir()
    Image.fromarray(pixels[:256, :256]).save(folder / "more" / "large.png")
    Image.fromarray(pixels[:256, :256]).save(folder / "more" / "copy.png")
    (folder / "damaged.png").write_bytes((folder / "0.png").read_bytes()[:2000])
    return folder


@pytest.mark.parametrize("subject", ["general-gray", pytest.param("paper-rgb", marks=pytest.mark.long)])
def test_dry_run_on_a_bare_machine(images, tmp_path, subject):
    out = tmp_path / "out"
    arguments = [str(out), "--images", str(images), "--test", str(images), "--minutes", "0.4", "--train", subject]
    limits = ["--batch", "2", "--patch", "64", "--cpu", "--no-compile", "--grace", "600"]
    process = subprocess.run(
        [sys.executable, "-c", _RUN_BARE, str(TOOL), *arguments, *limits],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    report = json.loads((out / "report.json").read_text())
    failed = {name: part for name, part in report["parts"].items() if "failed" in (part["result"] or {})}
    assert not failed
    omitted = {Path(text.partition(": ")[0]).name for text in report["omitted images"]}
    assert {"damaged.png", "large.png"} <= omitted
    result = report["parts"][subject]["result"]
    assert result["before"]
    assert result["patches"] >= 2
    assert set(result["before"]) == set(result["after"])
    assert {path.name for path in out.iterdir()} == {"report.json", f"{subject}.safetensors", f"{subject}.jsonl"}
    model = read_model(out / f"{subject}.safetensors")
    assert model.card.training["recipe"]["minutes"] > 0
    assert all(torch.isfinite(tensor).all() for tensor in model.weights.values())


def test_it_ends_in_time_and_reports_failures(images, tmp_path):
    """The time is over before the first model is trained, as if a compiler hung."""
    out = tmp_path / "out"
    command = [sys.executable, str(TOOL), str(out), "--cpu", "--minutes", "0.05", "--grace", "0", "--images"]
    assert subprocess.run([*command, str(images)], timeout=120, check=False).returncode == 1
    assert "during" in json.loads((out / "report.json").read_text())["ended"]
    command = [sys.executable, str(TOOL), str(out), "--cpu", "--images", str(tmp_path / "out")]
    done = subprocess.run(command, timeout=120, check=False, capture_output=True, text=True)
    assert "no images of 128 pixels or more" in done.stderr
