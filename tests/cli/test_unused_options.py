"""No option of a command is dropped in silence: each is used, or refused in one line before any work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from masked_denoiser.cli.main import main
from masked_denoiser.evaluation.tile_error import tiny_model


@pytest.fixture
def settings(tmp_path: Path) -> list[str]:
    """Write an image a.tif, folders of pairs and a model; return the settings of a fast job."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    for folder in ("noisy", "clean"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "1.tif", pixels)
    tiny_model().save(tmp_path / "tiny.safetensors")
    return ["--model", str(tmp_path / "tiny.safetensors"), "--device", "cpu", "--quiet"]


def test_complete_output_still_gets_its_residual_and_report(
    tmp_path: Path, settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["denoise", str(tmp_path / "a.tif"), str(tmp_path / "out.ome.tif"), *settings, "--tile", "32"]
    residual, report = tmp_path / "residual.ome.tif", tmp_path / "report.html"
    assert main(command) == 0
    assert main([*command, "--resume", "--json", "--residual", str(residual), "--report", str(report)]) == 0
    assert json.loads(capsys.readouterr().out)["already"]
    removed = tifffile.imread(tmp_path / "a.tif").astype(np.float32) - tifffile.imread(tmp_path / "out.ome.tif")
    np.testing.assert_array_equal(tifffile.imread(residual), removed)
    assert report.read_text("utf-8").rstrip().endswith("</html>")


def test_saved_job_is_named_as_json(tmp_path: Path, settings: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    job = tmp_path / "job.json"
    command = ["denoise", str(tmp_path / "a.tif"), str(tmp_path / "out.ome.tif"), *settings]
    assert main([*command, "--save-job", str(job), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"job": str(job)}
    assert job.is_file()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("denoise a.tif out.ome.zarr --save-job job.json --report r.html", "--save-job stores no --residual"),
        ("denoise a.tif out.ome.zarr --save-job job.json --residual r.ome.tif", "--save-job stores no --residual"),
        ("denoise a.tif out.ome.zarr --ending .ome.tif", "--ending .ome.tif is for outputs in a folder"),
        ("evaluate --noisy noisy --clean clean --noise gaussian(sigma=5)", "--noise is for clean images"),
        ("evaluate --noisy noisy --clean clean --crop 32", "--crop is for clean images"),
        ("evaluate --noisy noisy --clean clean --pictures p.png", "--pictures is for clean images"),
        ("evaluate --noisy noisy --clean clean --plot p.png", "--plot is for clean images"),
        ("evaluate a.tif --noisy noisy --clean clean", "a.tif is for clean images"),
        ("evaluate a.tif --fit-gain", "--fit-gain is for pairs"),
        ("evaluate --safety --noisy noisy --clean clean --noise gaussian(sigma=5)", "is added to clean images"),
        ("evaluate --safety a.tif --fit-gain", "--fit-gain needs the truth"),
        ("evaluate --safety --synthetic --crop 32", "--crop 32 is for files"),
    ],
)
def test_options_without_effect_are_refused(
    tmp_path: Path,
    settings: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main([*command.split(), *settings]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("option", ["a.tif", "--model tiny", "--noise none", "--features", "--fit-gain", "--seed 1"])
def test_training_curve_is_of_folders_alone(capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert main(["evaluate", *option.split(), "--training-curve", "clean"]) == 1
    assert f"{option.split()[0]} is not part of --training-curve" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    ["--baseline noisy", "--crop 32", "--lpips", "--passes 2", "--pictures p.png", "--treat none", "--fit-gain"],
)
def test_features_are_of_noisy_copies_alone(capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert main(["evaluate", "a.tif", "--features", *option.split()]) == 1
    assert f"{option.split()[0]} is not part of --features" in capsys.readouterr().err
