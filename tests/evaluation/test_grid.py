"""The noise grid and real pairs, against figures worked out by hand."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import immunohistochemistry
from skimage.metrics import peak_signal_noise_ratio

from masked_denoiser.cli.main import main
from masked_denoiser.errors import BaselineError
from masked_denoiser.evaluation.baselines import baseline
from masked_denoiser.evaluation.grid import means, noise_grid, real_pairs
from masked_denoiser.evaluation.tile_error import tiny_model

NOTHING = {"noisy": lambda image: image}


@pytest.fixture
def folder(tmp_path):
    """Two clean images of 48 x 64 pixels, RGB and gray."""
    tissue = immunohistochemistry()[:48, :64]
    (tmp_path / "clean").mkdir()
    Image.fromarray(tissue).save(tmp_path / "clean" / "a.png")
    Image.fromarray(tissue[..., 1]).save(tmp_path / "clean" / "b.png")
    return tmp_path / "clean"


def test_noise_has_the_psnr_of_its_sigma_and_comes_again(folder):
    paths = sorted(folder.iterdir())
    scores = list(noise_grid(NOTHING, paths, ["gaussian(sigma=10)", "none"], seed=1))
    assert [s.image for s in scores] == ["a.png", "a.png", "b.png", "b.png"]
    found = means(scores)
    assert found["noisy", "gaussian(sigma=10)"][0] == pytest.approx(20 * np.log10(255 / 10), abs=0.4)
    assert found["noisy", "none"] == (100, pytest.approx(1))
    assert list(noise_grid(NOTHING, paths, ["gaussian(sigma=10)", "none"], seed=1)) == scores


def test_every_denoiser_sees_the_same_noise(folder):
    seen = []
    remember = {name: lambda image: seen.append(image) or image for name in ("one", "other")}
    list(noise_grid(remember, sorted(folder.iterdir())[:1], ["speckle(variance=0.04)"]))
    assert np.array_equal(*seen)


def test_pairs_with_fitted_gain(folder, tmp_path):
    """What differs from the truth by gain and offset alone is perfect once they are fitted."""
    (tmp_path / "noisy").mkdir()
    rng = np.random.default_rng(0)
    for path in folder.iterdir():
        clean = np.asarray(Image.open(path)).astype(float)
        noisy = np.clip(np.rint(clean * 0.5 + 20 + rng.normal(0, 2, clean.shape)), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(tmp_path / "noisy" / path.name)
    both = [sorted(f.iterdir()) for f in (tmp_path / "noisy", folder)]
    plain, fitted = (means(list(real_pairs(NOTHING, *both, fit))).popitem()[1][0] for fit in (False, True))
    assert plain < 18
    assert fitted == pytest.approx(20 * np.log10(255 / 4), abs=0.7)  # noise of 2, stretched to twice as much


@pytest.mark.parametrize("name", ["nlm", "wavelet"])
def test_classical_denoisers_denoise(name):
    clean = immunohistochemistry()[:96, :96] / 255
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 0.1, clean.shape), 0, 1)
    out = baseline(name)(noisy)
    assert peak_signal_noise_ratio(clean, out) > peak_signal_noise_ratio(clean, noisy) + 3


def test_what_is_missing_is_named(monkeypatch):
    with pytest.raises(BaselineError, match="there are: noisy, nlm"):
        baseline("median")
    monkeypatch.setitem(__import__("sys").modules, "bm3d", None)
    with pytest.raises(BaselineError, match="pip install bm3d"):
        baseline("bm3d")


def test_the_command_prints_a_table_or_json(folder, tmp_path, capsys):
    tiny_model().save(tmp_path / "tiny.safetensors")
    command = ["evaluate", str(folder), "--model", str(tmp_path / "tiny.safetensors"), "--baseline", "noisy", "--quiet"]
    command += ["--noise", "gaussian(sigma=25)", "--device", "cpu"]
    assert main(command) == 0
    table = capsys.readouterr().out
    assert table.startswith(f"| noise | {tmp_path / 'tiny.safetensors'} | noisy |")
    assert main([*command, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert len(values["images"]) == 4
    assert f"{values['means'][1]['psnr']:.2f}" in table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no images"),
        (["gone.png"], "does not exist"),
        (["--noisy", "{folder}"], "pairs need both folders"),
        (["{folder}", "--noise", "gausian"], "did you mean"),
        (["{folder}", "--model", "nope"], "no model is called"),
        (["--noisy", "{folder}", "--clean", "{folder}/a.png"], "2 noisy images and 1 clean"),
    ],
)
def test_refusals(folder, capsys, arguments, said):
    given = [a.replace("{folder}", str(folder)) for a in arguments]
    assert main(["evaluate", *given, "--quiet", "--baseline", "noisy", "--device", "cpu"]) == 1
    assert said in capsys.readouterr().err


def test_a_third_measure_is_in_table_and_json(folder, monkeypatch, capsys):
    """The package is large and optional: a stand-in, and what is said where it is missing."""
    command = [
        "evaluate",
        str(folder),
        "--baseline",
        "noisy",
        "--noise",
        "none",
        "--treat",
        "none",
        "--lpips",
        "--quiet",
    ]
    command += ["--model", _tiny(folder.parent), "--quiet"]
    monkeypatch.setitem(sys.modules, "lpips", None)
    assert main(command) == 1
    assert "pip install lpips" in capsys.readouterr().err

    class LPIPS(torch.nn.Module):
        def __init__(self, **_how):
            super().__init__()

        def forward(self, one, other):
            return (one - other).abs().mean()

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=LPIPS))
    assert main(command) == 0
    assert "100.00 / 1.000 / 0.000 |" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [m["lpips"] > 0 for m in values["means"]] == [True, False]


def _tiny(folder):
    tiny_model().save(folder / "tiny.safetensors")
    return str(folder / "tiny.safetensors")


def test_the_middle_and_pictures_of_it(folder, tmp_path, capsys):
    """The figures are of the same pixels as the pictures: noisy, denoised and clean, a row for each noise."""
    noises = ["gaussian(sigma=20)", "none"]
    given = ["evaluate", str(folder / "a.png"), "--baseline", "noisy", "--model", "general-rgb", "--crop", "40"]
    given += [f"--noise={noise}" for noise in noises]
    assert main([*given, "--pictures", str(tmp_path / "p.png"), "--json", "--quiet"]) == 0
    found = {(m["denoiser"], m["noise"]): m["psnr"] for m in json.loads(capsys.readouterr().out)["means"]}
    picture = np.asarray(Image.open(tmp_path / "p.png"))
    assert picture.shape == (40 * 2 + 2, 40 * 4 + 3 * 2, 3)
    noisy, denoised, _, clean = (picture[:40, i * 42 : i * 42 + 40] for i in range(4))
    np.testing.assert_array_equal(clean, immunohistochemistry()[4:44, 12:52])
    for name, shown in (("general-rgb", denoised), ("noisy", noisy)):
        assert peak_signal_noise_ratio(clean, shown) == pytest.approx(found[name, noises[0]], abs=1e-6)
    np.testing.assert_array_equal(picture[42:, :40], clean)
