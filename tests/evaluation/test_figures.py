"""Tests of the curves of the paper's figures and of the similarity of features."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from masked_denoiser.cli.main import main
from masked_denoiser.denoising.noise_measurement import measure_noise
from masked_denoiser.errors import LogError
from masked_denoiser.evaluation import noise_plot
from masked_denoiser.evaluation.curves import level_curves, training_curves
from masked_denoiser.evaluation.features import linear_cka
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "clean").mkdir()
    Image.fromarray(astronaut()[:64, 100:180]).save(tmp_path / "clean" / "a.png")
    tiny_model().save(tmp_path / "tiny.safetensors")
    return tmp_path


def test_level_curves_are_sorted_and_skip_other_noises():
    scores = {
        ("a", "gaussian(sigma=50)"): (25.0, 0.5),
        ("a", "gaussian(sigma=15)"): (31.0, 0.8),
        ("b", "gaussian(sigma=15)"): (32.0, 0.8),
        ("a", "none"): (44.0, 1.0),
        ("a", "gaussian(sigma=5) + speckle(variance=0.1)"): (30.0, 1.0),
    }
    assert level_curves(scores) == {"gaussian, sigma": {"a": [(15.0, 31.0), (50.0, 25.0)], "b": [(15.0, 32.0)]}}


def test_levels_are_those_of_the_parsed_recipes():
    noises = ("gaussian(sigma = 1e1)", "gaussian( sigma=30 )", "gaussian(sigma=5..9)", "one_of(none, jpeg)", "none")
    noises += ("bayer(sigma=5, gain=2)", "bayer(sigma=9, gain=2)", "bayer(sigma=9)", "speckle")
    assert level_curves({("a", noise): (number, 0.5) for number, noise in enumerate(noises)}) == {
        "gaussian, sigma": {"a": [(10.0, 0), (30.0, 1)]},
        "bayer, sigma (gain=2)": {"a": [(5.0, 5), (9.0, 6)]},
        "bayer, gain (sigma=9)": {"a": [(0.0, 7), (2.0, 6)]},
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"step": 0, "psnr": {}}', "has no validation yet"),
        ('{"step": 0, "psnr": {"x": "20"}}', "is damaged: 'step' is 0 and 'psnr' {'x': '20'}"),
        ('{"psnr": {"x": 20}}', "is damaged: 'step' is None"),
        ('{"step": 0, "psnr": [20]}', r"is damaged: 'step' is 0 and 'psnr' \[20\]"),
    ],
)
def test_unsuitable_logs_are_refused(tmp_path, line, message):
    (tmp_path / "log.jsonl").write_text(line + "\n")
    with pytest.raises(LogError, match=message):
        training_curves([tmp_path])


def test_title_of_a_noise_plot_fits(tmp_path, monkeypatch):
    rows, columns = np.mgrid[:64, :64]
    pixels = 120 + 50 * np.sin(rows / 25) * np.cos(columns / 31) + np.random.default_rng(0).normal(0, 9, (64, 64))
    measured = measure_noise(open_image(pixels, axes="YX"))
    measured = replace(
        measured, estimate=replace(measured.estimate, remarks=("with a remark that is as long as the rest of it " * 4,))
    )
    figures = []
    monkeypatch.setattr(noise_plot, "save_figure", lambda figure, path: figures.append(figure))
    noise_plot.plot_noise(measured, tmp_path / "plot.png")
    figures[0].canvas.draw()
    title = figures[0].axes[0].title
    assert title.get_text().split() == measured.estimate.verdict.split()
    box, page = title.get_window_extent(), figures[0].bbox
    assert box.x0 >= 0
    assert box.x1 <= page.width
    assert box.y1 <= page.height


def test_training_curves_use_last_line_of_a_step(tmp_path):
    folder = tmp_path / "mine.training"
    folder.mkdir()
    rows = [{"step": 0, "psnr": {"x": 20, "y": 21}}, {"step": 1, "loss": 0.1}, {"step": 5, "psnr": {"x": 22, "y": 19}}]
    rows.append({"step": 5, "psnr": {"x": 23, "y": 18}})
    # The last line is that of a training that was killed.
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step":200,"psn')
    assert training_curves([folder]) == {
        "trained noise": {"mine": [(0, 20), (5, 23)]},
        "y": {"mine": [(0, 21), (5, 18)]},
    }


def test_cka_equals_kernel_form():
    """Compare with eq. 2 and 3 of Kornblith et al., computed from the centred kernels."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 7)), rng.normal(size=(40, 5))
    y[:, :3] += 2 * x[:, :3]
    centre = np.eye(40) - 1 / 40
    k, l = (centre @ f @ f.T @ centre for f in (x, y))  # noqa: E741 (the paper's letters)
    expected = np.trace(k @ l) / np.sqrt(np.trace(k @ k) * np.trace(l @ l))
    assert linear_cka(x, y) == pytest.approx(expected)
    rotated = x @ np.linalg.qr(rng.normal(size=(7, 7)))[0] * 3 + 1
    assert linear_cka(x, rotated) == pytest.approx(1)
    assert linear_cka(x, np.ones_like(x)) == 0


def test_commands_draw_figures(folder, capsys):
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
    for extra in ([], ["--features"]):
        picture = folder / f"figure{len(extra)}.png"
        assert main([*grid, *noises, *extra, "--plot", str(picture)]) == 0
        assert np.asarray(Image.open(picture)).std() > 5
    assert "similarity (linear CKA)" in capsys.readouterr().out
    assert main([*grid, "--features", "--noise", "none"]) == 1
    assert "two or more" in capsys.readouterr().err
    assert main([*grid, "--noise", "none", "--plot", str(folder / "empty.png")]) == 1
    printed = capsys.readouterr()
    assert "two levels or more" in printed.err
    assert not printed.out  # nothing was scored
    for name in ("a", "b"):
        log = folder / name / "mine.training" / "log.jsonl"
        log.parent.mkdir(parents=True)
        log.write_text('{"step": 0, "psnr": {"x": 20}}\n{"step": 5, "psnr": {"x": 23}}\n')
    folders = [str(folder / name / "mine.training") for name in ("a", "b")]
    assert main(["evaluate", "--training-curve", *folders, "--plot", str(folder / "curve.png")]) == 0
    assert capsys.readouterr().out.count("23.00 dB at step 5, best 23.00 dB") == 2
    assert np.asarray(Image.open(folder / "curve.png")).std() > 5
    assert main(["evaluate", "--training-curve", str(folder)]) == 1
    assert "holds no log.jsonl" in capsys.readouterr().err
