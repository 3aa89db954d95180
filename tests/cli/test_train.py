"""Tests of `train`, `fine-tune` and `noise` on the command line."""

from __future__ import annotations

import json
import os
import re
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
from masked_denoiser.network.config import SwinConfig
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


def test_fine_tune_reports_gain(slide, tiny, tmp_path, capsys):
    output = tmp_path / "mine.safetensors"
    settings = ["--noise", "speckle", *QUICK, "--set", "keep=last"]
    assert run("fine-tune", slide, "--from", tiny, "--output", output, *settings) == 0
    out = capsys.readouterr().out
    assert "speckle: " in out
    assert "dB before" in out
    assert f"wrote {output}" in out
    assert read_model(output).card.training["recipe"]["noise"] == "speckle"
    assert run("fine-tune", slide, "--from", tiny, "--output", output, *QUICK) == 1
    assert "continue it with --resume, or use --overwrite" in capsys.readouterr().err
    extra = ["--noise", "speckle", *QUICK, "--steps", "4", "--resume", "--json", "--quiet"]
    assert run("fine-tune", slide, "--from", tiny, "--output", output, *extra) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 4


def test_fine_tuning_without_gain_does_not_offer_the_model_as_a_new_one(slide, tiny, tmp_path, capsys):
    """The learning rate of the second training ruins the network."""
    outputs = tmp_path / "good.safetensors", tmp_path / "mine.safetensors"
    longer = [*QUICK, "--steps", "40", "--rate", "0.01"]
    assert run("fine-tune", slide, "--from", tiny, "--output", outputs[0], *longer) == 0
    assert f"use it: --model {outputs[0]}" in capsys.readouterr().out
    ruin = ["--rate", "1", "--set", "ema=0"]
    assert run("fine-tune", slide, "--from", outputs[0], "--output", outputs[1], *QUICK, *ruin) == 0
    out = capsys.readouterr().out
    assert f"training finished; no validated step was better than good: {outputs[1]} holds good, unchanged; log" in out
    assert "use it" not in out
    assert "wrote" not in out
    assert run("models", "info", outputs[1]) == 0
    assert "mine: good, unchanged: no validated step of a training on 1 image was better.\n" in capsys.readouterr().out
    assert read_model(outputs[1]).digest == read_model(outputs[0]).digest


def test_card_of_a_model_that_was_trained_from_random_weights(slide, tmp_path, capsys, monkeypatch):
    config = SwinConfig(embed=12, depths=(2,), heads=(2,))
    monkeypatch.setattr("masked_denoiser.models.random_weights.NETWORKS", {"paper": config})
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    assert run("train", slide, "--output", first, *QUICK) == 0
    assert run("train", slide, "--from", first, "--output", second, "--licence", "CC-BY-4.0", *QUICK) == 0
    capsys.readouterr()
    assert run("models", "info", first) == 0
    out = capsys.readouterr().out
    assert "first: Trained from random weights for 3 steps on 1 image: noise gaussian(sigma=15).\n" in out
    assert re.search(r"^  licence +not stated\n  source +trained from random weights$", out, re.MULTILINE)
    assert re.search(r"^  training +3 steps, on the CPU", out, re.MULTILINE)
    assert run("models", "info", second) == 0
    out = capsys.readouterr().out
    assert re.search(r"^  licence +CC-BY-4\.0\n  source +trained from first$", out, re.MULTILINE)
    assert re.search(r"^  training +3 steps in the last of several stages", out, re.MULTILINE)


def test_recipe_of_fine_tuning_keeps_the_masks_of_the_model(slide, tiny, tmp_path):
    outputs = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert run("fine-tune", slide, "--from", tiny, "--output", outputs[0], *QUICK) == 0
    assert run("train", slide, "--recipe", "fine-tune", "--from", tiny, "--output", outputs[1], *QUICK) == 0
    assert read_model(outputs[0]).digest == read_model(outputs[1]).digest


def test_train_with_recipe_file_and_settings(slide, tmp_path, capsys, monkeypatch):
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
    assert "red, green and blue are trained as separate planes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--noise", "gausian"], "character 1"),
        (["--set", "patch"], "has no '='"),
        (["--set", "colour=3"], "unknown training recipe field 'colour'"),
        (["--validation", "SLIDE"], "used for both training and validation"),
        (["--way", "pairs"], "belong together"),
        (["--from", "nothing"], "no model is called 'nothing'"),
        (["--output", "OUT/mine.pth"], "does not end in .safetensors"),
    ],
)
def test_invalid_arguments_are_one_line_errors(slide, tiny, tmp_path, capsys, extra, message):
    extra = [text.replace("SLIDE", slide).replace("OUT", str(tmp_path)) for text in extra]
    base = ["fine-tune", slide, "--from", tiny, "--output", tmp_path / "mine.safetensors", *QUICK]
    assert run(*base, *extra) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "mine.training").exists()


def test_interrupt_saves_checkpoint_and_model(slide, tiny, tmp_path):
    """Interrupt a separate process: it exits with 130 and writes a checkpoint and a model, here of the last weights."""
    output = tmp_path / "mine.safetensors"
    command = [sys.executable, "-m", "masked_denoiser", "fine-tune", slide, "--from", tiny, "--output", str(output)]
    process = subprocess.Popen(
        [*command, *QUICK, "--steps", "100000", "--set", "keep=last"], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    log = tmp_path / "mine.training" / "log.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and log.read_text().count("loss") > 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "stopping and saving the model" in error
    assert (tmp_path / "mine.training" / "checkpoint.pt").exists()
    assert read_model(output).card.training["ended"] == "stopped"


@pytest.mark.parametrize(("name", "dtype"), [("noisy.ome.zarr", np.uint8), ("noisy.ome.tif", np.uint16)])
def test_noise_add(tmp_path, capsys, name, dtype):
    """The noise has the defined strength and is reproducible; the image keeps its shape and dtype."""
    pixels = np.full((3, 300, 520), 100, dtype)
    pixels[:, ::2] += np.asarray(100, dtype)
    pixels[:, 0], pixels[:, 2] = 0, 255  # the limits of the range, which is measured for uint16
    tifffile.imwrite(tmp_path / "in.ome.tif", pixels, metadata={"axes": "ZYX", "PhysicalSizeX": 0.5}, ome=True)
    results = []
    for number in range(2):
        out = tmp_path / f"{number}{name}"
        assert run("noise", "add", tmp_path / "in.ome.tif", out, "--noise", "gaussian(sigma=10)", "--quiet") == 0
        results.append(
            np.asarray(tifffile.imread(out) if out.suffix == ".tif" else zarr.open_group(out, mode="r")["0"][:])
        )
    assert results[0].dtype == dtype
    assert results[0].shape == pixels.shape
    np.testing.assert_array_equal(*results)
    noise = (results[0].astype(float) - pixels)[:, 3:]
    assert noise.std() == pytest.approx(10, rel=0.02)
    assert not np.array_equal(results[0][0], results[0][1])
    assert run("noise", "add", tmp_path / "in.ome.tif", tmp_path / f"0{name}", "--noise", "none") == 1
    assert "exists; write elsewhere" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["none", "gaussian(sigma=0)", "poisson(alpha=0)", "mixture(level=0)"])
def test_no_noise_changes_nothing(tmp_path, capsys, recipe):
    """Neither the brightest pixels, which are beyond the measured range, nor the depth of the pixels are lost."""
    pixels = np.random.default_rng(0).normal(8000, 1000, (200, 200)).astype(np.uint16)
    pixels[50:52, 50:52] = 60000
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    assert run("noise", "add", tmp_path / "in.tif", tmp_path / "out.ome.tif", "--noise", recipe) == 0
    assert "255 grey levels of noise recipes are these intensities of the image: " in capsys.readouterr().err
    written = tifffile.imread(tmp_path / "out.ome.tif")
    assert np.abs(written.astype(int) - pixels).max() <= (recipe == "mixture(level=0)")


def test_noisy_floats_stay_between_0_and_1_and_impulses_replace(tmp_path):
    rng = np.random.default_rng(0)
    tifffile.imwrite(tmp_path / "unit.tif", rng.random((64, 64), np.float32))
    assert run("noise", "add", tmp_path / "unit.tif", tmp_path / "a.ome.tif", "--noise", "gaussian(sigma=60)") == 0
    written = tifffile.imread(tmp_path / "a.ome.tif")
    assert (written.min(), written.max()) == (0, 1)
    pixels = rng.normal(8000, 300, (200, 200)).astype(np.uint16)
    pixels[50:52, 50:52] = 60000
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    recipe = "salt_and_pepper(density=1)"
    assert run("noise", "add", tmp_path / "in.tif", tmp_path / "b.ome.tif", "--noise", recipe, "--seed", "2") == 0
    written = tifffile.imread(tmp_path / "b.ome.tif")
    low, high = np.unique(written[:40])
    assert low < 7500
    assert high < 10000
    assert set(np.unique(written[50:52, 50:52])) == {low, 60000}


@pytest.mark.parametrize("seed", ["-1", "1.5", "99999999999999999999"])
def test_impossible_seeds_are_an_invalid_command(tmp_path, capsys, seed):
    with pytest.raises(SystemExit) as ended:
        run("noise", "add", "in.tif", "out.ome.tif", "--noise", "none", "--seed", seed)
    assert ended.value.code == 2
    assert f"'{seed}' is not a seed" in capsys.readouterr().err


def test_noise_list_matches_recipe_parser(capsys):
    assert run("noise", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    families = [line.split()[0] for line in lines if line and not line.startswith((" ", "Example recipes"))]
    assert len(families) >= 9
    for family in families:
        assert str(parse_noise(family)).startswith(family)


def test_noise_estimate_is_in_image_units(tmp_path, capsys):
    """Estimate the noise of a 12-bit camera with gain 4 and offset 100, on smooth structures."""
    rng = np.random.default_rng(0)
    ys, xs = np.mgrid[:400, :400] / 400
    photons = 40 + 300 * np.sin(3 * ys) ** 2 * np.cos(2 * xs) ** 2
    counts = np.clip(4 * rng.poisson(photons) + 100 + rng.normal(0, 3, photons.shape), 0, 4095)
    tifffile.imwrite(tmp_path / "cells.tif", np.rint(counts).astype(np.uint16))
    plot = tmp_path / "noise.png"
    assert main(["noise", "estimate", str(tmp_path / "cells.tif"), "--json", "--plot", str(plot)]) == 0
    estimate = json.loads(capsys.readouterr().out)
    (channel,) = estimate["channels"]
    assert "growing with intensity" in estimate["verdict"]
    assert channel["gain"] == pytest.approx(4, rel=0.1)
    assert channel["offset"] == pytest.approx(100, abs=30)
    assert plot.stat().st_size > 5000
    assert (estimate["model"], estimate["recommended"]) == ("general-gray", "--noise auto")
    assert main(["noise", "estimate", str(tmp_path / "cells.tif")]) == 0
    text = capsys.readouterr().out
    assert "gain" in text
    assert "recommended: --model general-gray --noise auto: " in text
    assert "Rician" not in text
    assert main(["noise", "estimate", str(tmp_path / "cells.tif"), "--modality", "mri"]) == 0
    assert "Rician" in capsys.readouterr().out


def test_imported_model_file_keeps_card_and_is_found_as_printed(tmp_path, monkeypatch, capsys):
    for module in ("masked_denoiser.models.catalogue", "masked_denoiser.cli.commands.models"):
        monkeypatch.setattr(f"{module}.user_folder", lambda: tmp_path / "models")
    tiny_model().save(tmp_path / "mine.safetensors")
    target = tmp_path / "copy.safetensors"
    assert (
        main(["models", "import", str(tmp_path / "mine.safetensors"), "--name", "ours", "--output", str(target)]) == 0
    )
    card = read_model(target).card
    assert card == tiny_model().card.renamed("ours")
    assert main(["models", "import", str(target), "--name", "theirs"]) == 0
    for line, model in zip(capsys.readouterr().out.splitlines()[1::2], (str(target), "theirs"), strict=True):
        assert line.endswith(f"; use it with --model {model}")
        assert main(["models", "info", model]) == 0
