"""Tests of the noise grid and of real pairs against values calculated by hand."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from skimage.data import immunohistochemistry
from skimage.metrics import peak_signal_noise_ratio

from masked_denoiser.cli.evaluated_images import list_pairs
from masked_denoiser.cli.main import main
from masked_denoiser.errors import BaselineError, EvaluationError
from masked_denoiser.evaluation.baselines import make_baseline
from masked_denoiser.evaluation.features import compare_features
from masked_denoiser.evaluation.grid import make_denoiser, mean_scores, noise_generator, score_noise_grid
from masked_denoiser.evaluation.image_files import read_pixels
from masked_denoiser.evaluation.pairs import score_pairs
from masked_denoiser.evaluation.safety.cases import cases_of_images, cases_of_pairs
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.spec.options import Options

IDENTITY = {"noisy": lambda image: image}


@pytest.fixture
def folder(tmp_path):
    """Return a folder of two clean images of 48 x 64 pixels, RGB and gray."""
    tissue = immunohistochemistry()[:48, :64]
    (tmp_path / "clean").mkdir()
    Image.fromarray(tissue).save(tmp_path / "clean" / "a.png")
    Image.fromarray(tissue[..., 1]).save(tmp_path / "clean" / "b.png")
    return tmp_path / "clean"


def damage(path, pixels):
    """Write a TIFF and overwrite a tile of it, so that it cannot be decoded."""
    tifffile.imwrite(path, pixels, compression="zlib", tile=(64, 64))
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages.first.dataoffsets[5]
    content = bytearray(path.read_bytes())
    content[offset : offset + 16] = bytes(16)
    path.write_bytes(content)


def test_noise_has_expected_psnr_and_is_reproducible(folder):
    paths = sorted(folder.iterdir())
    scores = list(score_noise_grid(IDENTITY, paths, ["gaussian(sigma=10)", "none"], seed=1))
    assert [s.image for s in scores] == ["a.png", "a.png", "b.png", "b.png"]
    means = mean_scores(scores)
    assert means["noisy", "gaussian(sigma=10)"][0] == pytest.approx(20 * np.log10(255 / 10), abs=0.4)
    assert means["noisy", "none"] == (100, pytest.approx(1))
    assert list(score_noise_grid(IDENTITY, paths, ["gaussian(sigma=10)", "none"], seed=1)) == scores


def test_denoisers_receive_identical_noise(folder):
    seen = []
    denoisers = {name: lambda image: seen.append(image) or image for name in ("one", "other")}
    list(score_noise_grid(denoisers, sorted(folder.iterdir())[:1], ["speckle(variance=0.04)"]))
    assert np.array_equal(*seen)


def test_pairs_with_fitted_gain(folder, tmp_path):
    """Fitting gain and offset leaves only the noise as a difference from the truth."""
    (tmp_path / "noisy").mkdir()
    rng = np.random.default_rng(0)
    for path in folder.iterdir():
        clean = np.asarray(Image.open(path)).astype(float)
        noisy = np.clip(np.rint(clean * 0.5 + 20 + rng.normal(0, 2, clean.shape)), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(tmp_path / "noisy" / path.name)
    both = [sorted(f.iterdir()) for f in (tmp_path / "noisy", folder)]
    plain, fitted = (mean_scores(list(score_pairs(IDENTITY, *both, fit))).popitem()[1][0] for fit in (False, True))
    assert plain < 18
    assert fitted == pytest.approx(20 * np.log10(255 / 4), abs=0.7)  # noise of 2, doubled by the fitted gain


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_pairs_of_any_type_are_scored_in_units_of_the_range_of_the_truth(tmp_path, dtype):
    rng = np.random.default_rng(0)
    truth = rng.normal(1000, 300, (48, 64)).clip(200, 2000)
    noisy = (truth * 0.5 + 20 + rng.normal(0, 40, truth.shape)).astype(dtype)
    truth = truth.astype("float32" if dtype == "uint16" else dtype)  # a mean of frames is a float image
    for folder, pixels in (("noisy", noisy), ("clean", truth)):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", pixels)
    files = [[tmp_path / folder / "a.tif"] for folder in ("noisy", "clean")]
    (plain,), (fitted,) = (list(score_pairs(IDENTITY, *files, fit)) for fit in (False, True))
    span = float(truth.max()) - float(truth.min())
    assert plain.psnr == pytest.approx(peak_signal_noise_ratio(truth * 1.0, noisy * 1.0, data_range=span), abs=1e-4)
    gain, offset = np.polyfit(noisy.astype(float).ravel(), truth.astype(float).ravel(), 1)
    expected = peak_signal_noise_ratio(truth * 1.0, noisy * gain + offset, data_range=span)
    assert fitted.psnr == pytest.approx(expected, abs=1e-4)
    assert plain.ssim < fitted.ssim < 1
    names = ["noisy", "nlm", _tiny(tmp_path)]
    denoisers = {name: make_denoiser(name, "cpu", Options(noise="none")) for name in names}
    scores = list(score_pairs(denoisers, *files, True))
    assert [score.denoiser for score in scores] == names
    assert scores[0] == replace(fitted, denoiser="noisy")
    assert all(np.isfinite(score.psnr) and score.psnr > plain.psnr for score in scores)


@pytest.mark.parametrize(("bad", "words"), [(np.nan, "has NaN"), (1.0, "is constant")])
def test_pairs_without_a_score_are_refused(tmp_path, bad, words):
    tifffile.imwrite(tmp_path / "a.tif", np.full((32, 32), bad, np.float32))
    files = [tmp_path / "a.tif"]
    with pytest.raises(EvaluationError, match=words):
        list(score_pairs(IDENTITY, files, files, fit_gain=False))


def test_unsuitable_images_are_refused_before_any_work(folder, tmp_path):
    """The errors are raised by the call; scores would follow only when they are asked for."""
    late = tmp_path / "z.tif"
    damage(late, np.zeros((256, 256), np.uint16))
    clean = sorted(folder.iterdir())
    with pytest.raises(EvaluationError, match=r"z\.tif is YX \(256, 256\) uint16; give an 8-bit"):
        score_noise_grid(IDENTITY, [*clean, late], ["none"])
    with pytest.raises(EvaluationError, match=r"z\.tif is YX \(256, 256\) uint16; give an 8-bit"):
        compare_features(tiny_model(), [*clean, late], ["none", "gaussian"], torch.device("cpu"))
    with pytest.raises(EvaluationError, match=r"a\.png and b\.png do not form a pair: shapes \(48, 64, 3\) and \(48, "):
        score_pairs(IDENTITY, [clean[1], clean[0]], [clean[1], clean[1]], fit_gain=False)
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((4, 48, 64), np.uint16), metadata={"axes": "ZYX"}, imagej=True)
    with pytest.raises(EvaluationError, match=r"stack\.tif is ZYX .* uint16; give a gray or RGB image of one plane"):
        score_pairs(IDENTITY, [clean[1], tmp_path / "stack.tif"], [clean[1], clean[1]], fit_gain=False)
    with pytest.raises(EvaluationError, match=r"b\.png and z\.tif do not form a pair"):
        cases_of_pairs([clean[0], clean[1]], [clean[0], late], crop=16)
    np.save(tmp_path / "mask.npy", np.zeros((20, 20), np.bool_))
    with pytest.raises(EvaluationError, match=r"mask\.npy has dtype bool; give an image of integers"):
        cases_of_images([*clean, tmp_path / "mask.npy"])


@pytest.mark.parametrize("mode", [[], ["--safety"], ["--safety", "--crop", "250"], ["--features"]])
def test_damaged_image_is_named_in_one_line(tmp_path, capsys, mode):
    damage(tmp_path / "a.tif", np.random.default_rng(0).integers(0, 256, (256, 256), np.uint8))
    assert main(["evaluate", str(tmp_path / "a.tif"), *mode, "--model", _tiny(tmp_path), "--quiet"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "a.tif: cannot be read (" in error
    assert error.endswith("; copy the file again, or leave it out\n")


def test_pixels_are_read_in_the_axes_of_the_image():
    rng = np.random.default_rng(0)
    for axes, shape, rgb in (("ZYXS", (2, 9, 8, 4), True), ("CYX", (3, 9, 8), True), ("YXC", (9, 8, 2), False)):
        pixels = rng.integers(0, 256, shape, np.uint8)
        source = replace(open_image(pixels, axes=axes), rgb=rgb)
        np.testing.assert_array_equal(read_pixels(source), pixels)
        inner = tuple(slice(*{"Y": (2, 7), "X": (1, 6)}.get(letter, (None,))) for letter in axes)
        np.testing.assert_array_equal(read_pixels(source, 5), pixels[inner])


def test_large_seeds_have_noise_and_small_ones_keep_theirs(folder):
    paths = sorted(folder.iterdir())
    scores = [list(score_noise_grid(IDENTITY, paths, ["gaussian"], seed=seed)) for seed in (2**63 - 1, 2**63 - 2)]
    assert scores[0] != scores[1]
    assert noise_generator(3, 2).initial_seed() == 3 * 1_000_003 + 2


@pytest.mark.parametrize("name", ["nlm", "wavelet"])
def test_classical_denoisers_improve_psnr(name):
    clean = immunohistochemistry()[:96, :96] / 255
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 0.1, clean.shape), 0, 1)
    out = make_baseline(name)(noisy)
    assert peak_signal_noise_ratio(clean, out) > peak_signal_noise_ratio(clean, noisy) + 3


def test_unknown_and_uninstalled_baselines(monkeypatch):
    with pytest.raises(BaselineError, match="choose one of: noisy, nlm"):
        make_baseline("median")
    monkeypatch.setitem(__import__("sys").modules, "bm3d", None)
    with pytest.raises(BaselineError, match="pip install bm3d"):
        make_baseline("bm3d")


def test_command_prints_table_or_json(folder, tmp_path, capsys):
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
    ("arguments", "message"),
    [
        ([], "no images"),
        (["gone.png"], "does not exist"),
        (["--noisy", "{folder}"], "pairs need both folders"),
        (["{folder}", "--noise", "gausian"], "did you mean"),
        (["{folder}", "--model", "nope"], "no model is called"),
        (["--noisy", "{folder}", "--clean", "{folder}/a.png"], "2 noisy images and 1 clean"),
    ],
)
def test_invalid_arguments_are_refused(folder, capsys, arguments, message):
    command = [a.replace("{folder}", str(folder)) for a in arguments]
    assert main(["evaluate", *command, "--quiet", "--baseline", "noisy", "--device", "cpu"]) == 1
    assert message in capsys.readouterr().err


def test_lpips_is_in_table_and_json(folder, monkeypatch, capsys):
    """The package lpips is large and optional: test its error when missing, and a stand-in."""
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
        def __init__(self, **_kwargs):
            super().__init__()

        def forward(self, a, b):
            return (a - b).abs().mean()

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=LPIPS))
    assert main(command) == 0
    assert "100.00 / 1.000 / 0.000 |" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [m["lpips"] > 0 for m in values["means"]] == [True, False]


def _tiny(folder):
    tiny_model().save(folder / "tiny.safetensors")
    return str(folder / "tiny.safetensors")


def test_crop_and_pictures(folder, tmp_path, capsys):
    """Scores and pictures cover the same pixels; rows are noises, columns noisy, denoised and clean images."""
    noises = ["gaussian(sigma=20)", "none"]
    command = ["evaluate", str(folder / "a.png"), "--baseline", "noisy", "--model", "general-rgb", "--crop", "40"]
    command += [f"--noise={noise}" for noise in noises]
    assert main([*command, "--pictures", str(tmp_path / "p.png"), "--json", "--quiet"]) == 0
    psnrs = {(m["denoiser"], m["noise"]): m["psnr"] for m in json.loads(capsys.readouterr().out)["means"]}
    picture = np.asarray(Image.open(tmp_path / "p.png"))
    assert picture.shape == (40 * 2 + 2, 40 * 4 + 3 * 2, 3)
    noisy, denoised, _, clean = (picture[:40, i * 42 : i * 42 + 40] for i in range(4))
    np.testing.assert_array_equal(clean, immunohistochemistry()[4:44, 12:52])
    for name, shown in (("general-rgb", denoised), ("noisy", noisy)):
        assert peak_signal_noise_ratio(clean, shown) == pytest.approx(psnrs[name, noises[0]], abs=1e-6)
    np.testing.assert_array_equal(picture[42:, :40], clean)


def test_pairs_are_matched_by_number(tmp_path):
    for folder, suffix in (("noisy", ""), ("clean", "_gt")):
        (tmp_path / folder).mkdir()
        for number in (1, 2, 10):
            Image.fromarray(np.full((16, 16), number, np.uint8)).save(tmp_path / folder / f"Cell{number}{suffix}.png")
    noisy, clean = list_pairs(str(tmp_path / "noisy"), str(tmp_path / "clean"))
    assert [path.stem for path in noisy] == ["Cell1", "Cell2", "Cell10"]
    assert [path.stem for path in clean] == ["Cell1_gt", "Cell2_gt", "Cell10_gt"]


def test_names_that_contradict_the_order_are_refused(folder, tmp_path, capsys):
    (tmp_path / "noisy").mkdir()
    image = Image.open(folder / "b.png")
    for name in ("b.tif", "c.tif"):
        image.save(tmp_path / "noisy" / name)
    command = ["evaluate", "--noisy", str(tmp_path / "noisy"), "--clean", str(folder), "--json", "--treat", "none"]
    command += ["--model", _tiny(tmp_path), "--quiet", "--device", "cpu"]
    assert main(command) == 1
    assert "b.tif would be compared with a.png" in capsys.readouterr().err
    (tmp_path / "noisy" / "c.tif").unlink()
    (folder / "a.png").unlink()
    assert main(command) == 0
    (score,) = json.loads(capsys.readouterr().out)["images"]
    assert (score["image"], score["clean"]) == ("b.tif", "b.png")


def test_scores_are_printed_before_a_plot_fails(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    command = ["evaluate", str(folder), "--baseline", "noisy", "--noise", "gaussian(sigma=25)", "--noise", "gaussian"]
    command += ["--device", "cpu", "--model", _tiny(tmp_path), "--quiet"]
    assert main([*command, "--plot", str(tmp_path / "plot.png")]) == 1
    printed = capsys.readouterr()
    assert "| gaussian(sigma=25) |" in printed.out
    assert "plots need the package matplotlib" in printed.err


def test_images_too_small_for_ssim_are_refused(folder, tmp_path, capsys):
    assert main(["evaluate", str(folder), "--baseline", "noisy", "--crop", "8", "--quiet"]) == 1
    assert "--crop 8 is too small for SSIM; give 11 or more" in capsys.readouterr().err
    Image.fromarray(np.zeros((10, 40), np.uint8)).save(tmp_path / "small.png")
    assert main(["evaluate", str(tmp_path / "small.png"), "--baseline", "noisy", "--quiet"]) == 1
    assert "10 x 40 pixels, SSIM needs 11 x 11" in capsys.readouterr().err
