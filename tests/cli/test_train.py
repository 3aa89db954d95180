"""`train`, `fine-tune` and `noise` on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
import zarr
from skimage.data import immunohistochemistry

from masked_denoiser.cli.main import main
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.models.file import read_model
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.training.recipe import PAPER_RECIPE


@pytest.fixture
def slide(tmp_path):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, np.ascontiguousarray(immunohistochemistry()[100:228, 60:220]), photometric="rgb")
    return str(path)


@pytest.fixture
def tiny(tmp_path):
    tiny_model().save(tmp_path / "tiny.safetensors")
    return str(tmp_path / "tiny.safetensors")


QUICK = ["--steps", "3", "--batch", "2", "--set", "patch=16", "--set", "unseen=[]", "--device", "cpu"]


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_fine_tune_tells_what_it_gained(slide, tiny, tmp_path, capsys):
    output = tmp_path / "mine.safetensors"
    assert run("fine-tune", slide, "--from", tiny, "--output", output, "--noise", "speckle", *QUICK) == 0
    out = capsys.readouterr().out
    assert "speckle: " in out
    assert "dB before" in out
    assert f"wrote {output}" in out
    assert read_model(output).card.training["recipe"]["noise"] == "speckle"
    assert run("fine-tune", slide, "--from", tiny, "--output", output, *QUICK) == 1
    assert "go on with --resume, or start again with --overwrite" in capsys.readouterr().err
    more = ["--noise", "speckle", *QUICK, "--steps", "4", "--resume", "--json", "--quiet"]
    assert run("fine-tune", slide, "--from", tiny, "--output", output, *more) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 4


def test_train_takes_a_preset_a_file_and_settings(slide, tmp_path, capsys, monkeypatch):
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"noise": "gaussian(sigma=0..50)", "patch": 16, "batch": 2, "steps": 2, "unseen": []}')
    monkeypatch.setattr(
        "masked_denoiser.cli.commands.train.start_network",
        lambda channels, seed, recipe, network: tiny_model(seed, channels),
    )
    output = tmp_path / "new.safetensors"
    assert run("train", slide, "--recipe", recipe, "--gray", "--output", output, "--seed", 5, "--device", "cpu") == 0
    card = read_model(output).card
    assert card.architecture.channels == 1
    assert card.training["recipe"]["seed"] == 5
    assert card.training["recipe"]["loss"] == PAPER_RECIPE.loss
    assert "red, green and blue are learned one by one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--noise", "gausian"], "character 1"),
        (["--set", "patch"], "has no '='"),
        (["--set", "colour=3"], "knows no 'colour'"),
        (["--validation", "SLIDE"], "both learned from and validated with"),
        (["--way", "pairs"], "belong together"),
        (["--from", "nothing"], "no model is called 'nothing'"),
        (["--output", "OUT/mine.pth"], "does not end in .safetensors"),
    ],
)
def test_refused_in_one_line(slide, tiny, tmp_path, capsys, more, said):
    more = [text.replace("SLIDE", slide).replace("OUT", str(tmp_path)) for text in more]
    base = ["fine-tune", slide, "--from", tiny, "--output", tmp_path / "mine.safetensors", *QUICK]
    assert run(*base, *more) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "mine.training").exists()


def test_ctrl_c_saves(slide, tiny, tmp_path):
    """A real interrupt in a process of its own: exit code 130, a checkpoint, a model."""
    output = tmp_path / "mine.safetensors"
    command = [sys.executable, "-m", "masked_denoiser.cli", "fine-tune", slide, "--from", tiny, "--output", str(output)]
    process = subprocess.Popen(
        [*command, *QUICK, "--steps", "100000"], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    log = tmp_path / "mine.training" / "log.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and log.read_text().count("loss") > 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "stopping, and saving what was learned" in error
    assert (tmp_path / "mine.training" / "checkpoint.pt").exists()
    assert read_model(output).card.training["ended"] == "stopped"


@pytest.mark.parametrize(("name", "dtype"), [("noisy.ome.zarr", np.uint8), ("noisy.ome.tif", np.uint16)])
def test_noise_add(tmp_path, capsys, name, dtype):
    """The noise is that of the definition, the same for the same seed, and the image keeps its kind."""
    pixels = np.full((3, 300, 520), 100, dtype)
    pixels[:, ::2] += np.asarray(100, dtype)
    pixels[:, 0], pixels[:, 2] = 0, 255  # the ends of the range, which uint16 is measured by
    tifffile.imwrite(tmp_path / "in.ome.tif", pixels, metadata={"axes": "ZYX", "PhysicalSizeX": 0.5}, ome=True)
    outs = []
    for number in range(2):
        out = tmp_path / f"{number}{name}"
        assert run("noise", "add", tmp_path / "in.ome.tif", out, "--noise", "gaussian(sigma=10)", "--quiet") == 0
        outs.append(
            np.asarray(tifffile.imread(out) if out.suffix == ".tif" else zarr.open_group(out, mode="r")["0"][:])
        )
    assert outs[0].dtype == dtype
    assert outs[0].shape == pixels.shape
    np.testing.assert_array_equal(*outs)
    noise = (outs[0].astype(float) - pixels)[:, 3:]
    assert noise.std() == pytest.approx(10, rel=0.02)
    assert not np.array_equal(outs[0][0], outs[0][1])
    assert run("noise", "add", tmp_path / "in.ome.tif", tmp_path / f"0{name}", "--noise", "none") == 1
    assert "exists; write elsewhere" in capsys.readouterr().err


def test_noise_list_is_what_recipes_know(capsys):
    assert run("noise", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    families = [line.split()[0] for line in lines if line and not line.startswith((" ", "A recipe"))]
    assert len(families) >= 9
    for family in families:
        assert str(parse_noise(family)).startswith(family)


def test_noise_is_estimated_in_units_of_the_image(tmp_path, capsys):
    """A 12-bit camera: gain 4, offset 100, on smooth cells."""
    rng = np.random.default_rng(0)
    ys, xs = np.mgrid[:400, :400] / 400
    photons = 40 + 300 * np.sin(3 * ys) ** 2 * np.cos(2 * xs) ** 2
    counts = np.clip(4 * rng.poisson(photons) + 100 + rng.normal(0, 3, photons.shape), 0, 4095)
    tifffile.imwrite(tmp_path / "cells.tif", np.rint(counts).astype(np.uint16))
    plot = tmp_path / "noise.png"
    assert main(["noise", "estimate", str(tmp_path / "cells.tif"), "--json", "--plot", str(plot)]) == 0
    found = json.loads(capsys.readouterr().out)
    (channel,) = found["channels"]
    assert "growing with the light" in found["verdict"]
    assert channel["gain"] == pytest.approx(4, rel=0.1)
    assert channel["offset"] == pytest.approx(100, abs=30)
    assert plot.stat().st_size > 5000
    assert (found["model"], found["recommended"]) == ("general-gray", "--noise auto")
    assert main(["noise", "estimate", str(tmp_path / "cells.tif")]) == 0
    said = capsys.readouterr().out
    assert "gain" in said
    assert "recommended: --model general-gray --noise auto: " in said


def test_a_model_file_keeps_its_card_when_it_is_imported(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    tiny_model().save(tmp_path / "mine.safetensors")
    target = tmp_path / "copy.safetensors"
    assert (
        main(["models", "import", str(tmp_path / "mine.safetensors"), "--name", "ours", "--output", str(target)]) == 0
    )
    card = read_model(target).card
    assert card == tiny_model().card.renamed("ours")
