"""The curves of the paper's figures, and the likeness of features."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from masked_denoiser.cli.main import main
from masked_denoiser.evaluation.curves import curves_of, training_curves
from masked_denoiser.evaluation.features import linear_cka
from masked_denoiser.evaluation.tile_error import tiny_model


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "clean").mkdir()
    Image.fromarray(astronaut()[:64, 100:180]).save(tmp_path / "clean" / "a.png")
    tiny_model().save(tmp_path / "tiny.safetensors")
    return tmp_path


def test_curves_are_sorted_by_level_and_noises_without_one_left_out():
    found = {
        ("a", "gaussian(sigma=50)"): (25.0, 0.5),
        ("a", "gaussian(sigma=15)"): (31.0, 0.8),
        ("b", "gaussian(sigma=15)"): (32.0, 0.8),
        ("a", "none"): (44.0, 1.0),
        ("a", "gaussian(sigma=5) + speckle(variance=0.1)"): (30.0, 1.0),
    }
    assert curves_of(found) == {"gaussian, sigma": {"a": [(15.0, 31.0), (50.0, 25.0)], "b": [(15.0, 32.0)]}}


def test_training_curves_take_the_later_of_two_lines(tmp_path):
    folder = tmp_path / "mine.training"
    folder.mkdir()
    rows = [{"step": 0, "psnr": {"x": 20, "y": 21}}, {"step": 1, "loss": 0.1}, {"step": 5, "psnr": {"x": 22, "y": 19}}]
    rows.append({"step": 5, "psnr": {"x": 23, "y": 18}})
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert training_curves([folder]) == {
        "trained noise": {"mine": [(0, 20), (5, 23)]},
        "y": {"mine": [(0, 21), (5, 18)]},
    }


def test_cka_against_its_kernel_form():
    """Eq. 2 and 3 of Kornblith et al., with the centred kernels written out."""
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(40, 7)), rng.normal(size=(40, 5))
    other[:, :3] += 2 * one[:, :3]
    centre = np.eye(40) - 1 / 40
    k, l = (centre @ f @ f.T @ centre for f in (one, other))  # noqa: E741 (the paper's letters)
    expected = np.trace(k @ l) / np.sqrt(np.trace(k @ k) * np.trace(l @ l))
    assert linear_cka(one, other) == pytest.approx(expected)
    turned = one @ np.linalg.qr(rng.normal(size=(7, 7)))[0] * 3 + 1
    assert linear_cka(one, turned) == pytest.approx(1)
    assert linear_cka(one, np.ones_like(one)) == 0


def test_every_figure_is_drawn_by_its_command(folder, capsys):
    grid = [
        "evaluate",
        str(folder / "clean"),
        "--model",
        str(folder / "tiny.safetensors"),
        "--device",
        "cpu",
        "--quiet",
    ]
    noises = ["--noise", "gaussian(sigma=10)", "--noise", "gaussian(sigma=30)"]
    for more in ([], ["--features"]):
        picture = folder / f"figure{len(more)}.png"
        assert main([*grid, *noises, *more, "--plot", str(picture)]) == 0
        assert np.asarray(Image.open(picture)).std() > 5
    assert "likeness (linear CKA)" in capsys.readouterr().out
    assert main([*grid, "--features", "--noise", "none"]) == 1
    assert "two or more" in capsys.readouterr().err
    assert main([*grid, "--noise", "none", "--plot", str(folder / "empty.png")]) == 1
    assert "two levels or more" in capsys.readouterr().err
    for name in ("a", "b"):
        log = folder / name / "mine.training" / "log.jsonl"
        log.parent.mkdir(parents=True)
        log.write_text('{"step": 0, "psnr": {"x": 20}}\n{"step": 5, "psnr": {"x": 23}}\n')
    both = [str(folder / name / "mine.training") for name in ("a", "b")]
    assert main(["evaluate", "--training-curve", *both, "--plot", str(folder / "curve.png")]) == 0
    assert capsys.readouterr().out.count("23.00 dB at step 5, best 23.00 dB") == 2
    assert np.asarray(Image.open(folder / "curve.png")).std() > 5
    assert main(["evaluate", "--training-curve", str(folder)]) == 1
    assert "holds no log.jsonl" in capsys.readouterr().err
