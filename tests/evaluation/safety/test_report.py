"""Tests of the safety report: removed structure, changed means and order of images."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.data import camera

from masked_denoiser.cli.commands.safety import format_table
from masked_denoiser.cli.main import main
from masked_denoiser.evaluation.safety.removal import Removal
from masked_denoiser.evaluation.safety.removed_structure import structure_share
from masked_denoiser.evaluation.safety.report import (
    Denoised,
    SafetyCase,
    SafetyReport,
    assess_safety,
    make_default_denoise,
    worst_first,
)
from masked_denoiser.evaluation.safety.scenes import grating
from masked_denoiser.evaluation.safety.synthetic import synthetic_cases
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.jobs.spec.options import Options

REPORT = SafetyReport("image", 1.0, 0.5, 1.0, 0.1, 1.0, 1.0, "noise", "treated")


def fake_denoiser(change):
    """Return a denoiser that applies `change` to the pixels and keeps their dtype."""

    def denoise(source):
        pixels = np.asarray(source.data[...])
        return Denoised(np.clip(np.rint(change(pixels.astype(float))), 0, 255).astype(pixels.dtype), "found", "done")

    return denoise


def noisy_photograph(sigma=10.0):
    truth = camera()[60:252, 160:352].astype(float)
    return SafetyCase("photograph", add_noise(truth, sigma), "YX", truth)


def add_noise(truth, sigma):
    return np.clip(np.rint(truth + np.random.default_rng(0).normal(0, sigma, truth.shape)), 0, 255).astype(np.uint8)


def test_perfect_denoiser_removes_no_structure():
    case = noisy_photograph()
    report = assess_safety(case, fake_denoiser(lambda pixels: case.truth))
    assert report.structure < 0.06
    assert report.mean_change < 4
    assert report.removed == pytest.approx(10, rel=0.1)
    assert report.noise_before == pytest.approx(10, rel=0.2)
    assert report.psnr_before == pytest.approx(28.3, abs=0.4)
    assert (report.psnr_after, report.noise, report.treatment) == (100, "found", "done")


def test_removing_half_of_the_noise_is_no_structure():
    """Noise that remains in the result is correlated with the removed noise; that must not count as structure."""
    case = noisy_photograph()
    assert assess_safety(case, fake_denoiser(lambda pixels: (pixels + case.truth) / 2)).structure < 0.06


@pytest.mark.parametrize(("blur", "least"), [(1.0, 0.2), (3.0, 0.4)])
def test_blur_is_reported_as_structure(blur, least):
    report = assess_safety(noisy_photograph(), fake_denoiser(lambda pixels: gaussian_filter(pixels, blur)))
    assert report.structure > least


def test_removed_grating_is_structure():
    """The result contains no trace of the grating, and no block is flat."""
    truth = grating(4.0, np.random.default_rng(1)) * 200
    case = SafetyCase("grating", add_noise(truth, 3), "YX", truth)
    report = assess_safety(case, fake_denoiser(lambda pixels: gaussian_filter(pixels, 4)))
    assert report.structure > 0.7
    assert report.gain < 0


def test_changed_means_are_reported_in_standard_errors():
    """A block of 32 x 32 pixels has a standard error of sigma / 32."""
    truth = np.full((128, 128), 100.0)
    case = SafetyCase("flat", add_noise(truth, 8), "YX", truth)

    def shift(pixels):
        pixels[32:64, 64:96] -= 5
        return pixels

    assert assess_safety(case, fake_denoiser(shift)).mean_change == pytest.approx(5 / (8 / 32), rel=0.1)


def test_clean_image_is_unchanged():
    """The default treatment of a noise-free synthetic image removes nothing."""
    case = next(case for case in synthetic_cases() if case.name == "grating of period 6 px, clean")
    report = assess_safety(case, make_default_denoise(Options(), "cpu"))
    assert (report.removed, report.structure, report.mean_change, report.gain) == (0, 0, 0, 0)


def test_missing_pixels_and_impulses_do_not_count():
    pixels = np.full((96, 96), 100.0)
    result = pixels.copy()
    result[:8, :8] = 0
    valid = result > 0
    removal = Removal(pixels, result, valid, np.ones_like(pixels))
    assert not removal.removed.any()
    assert (structure_share([removal]), removal.mean_change) == (0, 0)


def test_image_that_is_too_small_to_judge_has_no_figures():
    truth = camera()[60:70, 160:180].astype(float)
    small = SafetyCase("small", add_noise(truth, 10), "YX", None)
    report = assess_safety(small, fake_denoiser(lambda pixels: truth))
    assert (report.structure, report.mean_change) == (None, None)
    assert "| small |  |  | " in format_table([report])
    assert "%" not in format_table([report]).splitlines()[2].split("|")[6]
    judged = replace(REPORT, structure=0.0)
    assert [each.name for each in worst_first([report, judged])] == ["image", "small"]


def test_reports_are_sorted_worst_first():
    """Images with a truth are sorted by gain and come first; the others are sorted by structure."""
    gains = {"good": (30, 35), "bad": (30, 29), "unchanged": (30, 30)}
    reports = [replace(REPORT, name=name, psnr_before=b, psnr_after=a) for name, (b, a) in gains.items()]
    reports += [replace(REPORT, name=f"structure {share}", structure=share) for share in (0.0, 0.9, 0.3)]
    expected = ["bad", "unchanged", "good", "structure 0.9", "structure 0.3", "structure 0.0"]
    assert [report.name for report in worst_first(reports)] == expected


def test_synthetic_images_are_reproducible():
    first, again, other = (list(synthetic_cases(seed)) for seed in (0, 0, 1))
    assert len({case.name for case in first}) == len(first) > 60
    for case, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(case.image, same.image)
        assert case.image.shape == case.truth.shape
    assert any(not np.array_equal(a.image, b.image) for a, b in zip(first, other, strict=True))


def test_command_prints_table_or_json(tmp_path, capsys):
    case = noisy_photograph()
    for name, pixels in (("noisy", case.image), ("clean", case.truth.astype(np.uint8))):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels[:64, :64]).save(tmp_path / name / "a.png")
    tiny_model().save(tmp_path / "tiny.safetensors")
    command = ["evaluate", "--safety", "--model", str(tmp_path / "tiny.safetensors"), "--device", "cpu", "--quiet"]
    pairs = ["--noisy", str(tmp_path / "noisy"), "--clean", str(tmp_path / "clean")]
    assert main([*command, *pairs, "--json"]) == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    assert image["gain"] == pytest.approx(image["psnr_after"] - image["psnr_before"])
    report = SafetyReport(**{key: value for key, value in image.items() if key != "gain"})
    assert main([*command, *pairs]) == 0
    assert capsys.readouterr().out.strip() == format_table([report])
    assert main([*command, str(tmp_path / "noisy"), "--crop", "48"]) == 0
    header, _, row = capsys.readouterr().out.splitlines()
    assert header.startswith("| image | PSNR before -> after | gain (dB) |")
    assert row.startswith("| a.png |  |  |")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--synthetic"], "give both"),
        (["--safety"], "no images"),
        (["--safety", "--noisy", "."], "pairs need both folders"),
        (["--safety", "--synthetic", "--lpips"], "--lpips is not part of --safety"),
        (["--safety", "--synthetic", "--model", "a", "--model", "b"], "one model"),
    ],
)
def test_invalid_arguments_are_refused(capsys, arguments, message):
    assert main(["evaluate", *arguments, "--quiet"]) == 1
    assert message in capsys.readouterr().err
