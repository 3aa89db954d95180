"""Tests of the tutorials: the commands of each page are run in their order, and the outcome is checked."""

from __future__ import annotations

import re
import runpy
import socket
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

import masked_denoiser as md

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
PAGE_RUNNER = runpy.run_path(str(ROOT / "docs/generate/site/run_page.py"), run_name="run_page")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the pages are run by bash")


def run(page, folder, replaced=None):
    """Run a page, check what it says that its commands print, and return what they printed."""
    steps = PAGE_RUNNER["read_steps"](TUTORIALS / f"{page}.md")
    outputs = PAGE_RUNNER["run_steps"](steps, folder, replaced)
    assert len(outputs) == len(steps) > 3
    for step, output in zip(steps, outputs, strict=True):
        assert not PAGE_RUNNER["missing_lines"](step, output), output
    return outputs


def shown(page):
    """Return what a page shows as the output of its commands."""
    return "\n".join(line for step in PAGE_RUNNER["read_steps"](TUTORIALS / f"{page}.md") for line in step.shown)


def decibels(output):
    """Return the figures of lines such as `after: 24.0 dB`."""
    return {name: float(value) for name, value in re.findall(r"^(\S+): ([\d.]+) dB$", output, flags=re.MULTILINE)}


def camera_parameters(output):
    """Return gain and offset of each channel in lines of `noise estimate`."""
    found = re.findall(r"gain ([\d.]+) per photon, offset ([\d.]+)", output)
    return np.array(found, float)


def pixels(path):
    with md.open_image(path) as image:
        return np.asarray(image.data[:])


def test_every_tutorial_has_a_test():
    tested = {"whole-slide", "two-channel-stack", "ct-series", "fine-tune", "cluster"}
    assert {page.stem for page in TUTORIALS.glob("*.md")} == tested


@pytest.mark.long
def test_whole_slide(tmp_path):
    outputs = run("whole-slide", tmp_path)
    assert "7 of 16 tiles were background" in "".join(outputs)
    scores = decibels(outputs[-1])
    assert scores["clean.ome.zarr"] > scores["slide.ome.tif"] + 8
    assert scores == pytest.approx(decibels(shown("whole-slide")), abs=0.2)  # processors round differently
    assert {"map.png", "report.html"} <= {path.name for path in tmp_path.iterdir()}


def test_two_channel_stack(tmp_path):
    outputs = "".join(run("two-channel-stack", tmp_path))
    assert camera_parameters(outputs) == pytest.approx(camera_parameters(shown("two-channel-stack")), rel=1e-3)
    noisy, alone, averaged = (pixels(tmp_path / f"{n}.ome.tif") for n in ("stack", "clean", "with_neighbours"))
    assert noisy.dtype == alone.dtype == np.uint16
    roughness = [np.abs(np.diff(stack.astype(float), axis=-1)).mean() for stack in (noisy, alone)]
    assert roughness[1] < 0.6 * roughness[0]
    assert not np.array_equal(alone, averaged)


def test_ct_series(tmp_path):
    run("ct-series", tmp_path)
    truth = np.load(tmp_path / "truth.npy")
    errors = [np.abs(pixels(tmp_path / name) - truth).mean() for name in ("ct", "clean.dicom")]
    assert errors[1] < 0.7 * errors[0]
    written = [pydicom.dcmread(path) for path in (tmp_path / "clean.dicom").glob("*.dcm")]
    assert [str(file.PatientName) for file in written] == ["Phantom"] * 3
    assert all("research" in file.DerivationDescription.lower() for file in written)


@pytest.mark.long
def test_fine_tune(tmp_path):
    outputs = run("fine-tune", tmp_path, {"--minutes 10": "--steps 4 --batch 2 --set keep=last"})
    scores = decibels(outputs[-1])
    assert scores["before"] > scores["noisy"] + 3
    assert scores["after"] != scores["before"]
    assert (
        md.load_model(tmp_path / "mine.safetensors").card.architecture == md.load_model("paper-rgb").card.architecture
    )


@pytest.mark.long
def test_cluster(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    outputs = run("cluster", tmp_path, {"8786": port})
    assert "the job has ended early" in "".join(outputs)
    assert not (tmp_path / "three.ome.zarr.journal").exists()
    assert np.array_equal(pixels(tmp_path / "one.ome.zarr"), pixels(tmp_path / "three.ome.zarr"))
