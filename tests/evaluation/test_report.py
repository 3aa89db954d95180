"""Reports: self-contained pages with right figures."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masked_denoiser.cli.main import main
from masked_denoiser.errors import PictureError
from masked_denoiser.evaluation.report.figures import bias_by_intensity, show_places, spectrum
from masked_denoiser.evaluation.report.write import check_report_path, write_report
from masked_denoiser.evaluation.safety.removal import Removal
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image

Y, X = np.mgrid[:300, :400]
CLEAN = 120 + 50 * np.sin(X / 25) * np.cos(Y / 31)
RNG = np.random.default_rng(0)


def removal(removed: np.ndarray[Any, Any]) -> Removal:
    shape = removed.shape
    return Removal(CLEAN[: shape[0], : shape[1]] + removed, CLEAN[: shape[0], : shape[1]], removed == removed, removed)


def test_spectrum_of_white_noise_is_flat_and_that_of_a_grating_is_not() -> None:
    frequencies, power = spectrum([removal(RNG.normal(0, 10, CLEAN.shape))])
    assert (np.abs(power[2:] - 1) < 0.15).all()
    frequencies, power = spectrum([removal(10 * np.sin(2 * np.pi * 0.2 * X))])
    assert abs(frequencies[power.argmax()] - 0.2) < 0.02


def test_bias_is_found_at_its_intensity() -> None:
    removed = RNG.normal(0, 1, CLEAN.shape) + np.where(CLEAN > 160, 5.0, 0.0)
    rows = bias_by_intensity([removal(removed)])
    assert [row.intensity for row in rows] == sorted(row.intensity for row in rows)
    assert rows[-1].removed > 3
    assert all(abs(row.removed) < 4 * row.error for row in rows[:6])


def test_places_follow_their_rules() -> None:
    removed = np.zeros(CLEAN.shape)
    removed[130:250, 260:380] = 9
    most_removed, *_ = show_places([removal(removed)])
    assert (most_removed.row, most_removed.column) == (128, 256)
    red, green, blue = most_removed.removed[60, 60].tolist()
    assert green > max(red, blue)
    assert most_removed.removed[127, 127].tolist() == [255, 255, 255]


class References(HTMLParser):
    """Collector of what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [str(value) for name, value in attrs if name in ("src", "href") and tag != "a"]


@pytest.mark.parametrize(("shape", "axes"), [((300, 400), "YX"), ((300, 400, 3), "YXS"), ((2, 64, 64), "ZYX")])
def test_report_is_one_file_with_figures_and_escaped_names(tmp_path: Path, shape: tuple[int, ...], axes: str) -> None:
    clean = np.broadcast_to(CLEAN[:64, :64] if axes == "ZYX" else CLEAN[..., None] if axes == "YXS" else CLEAN, shape)
    noisy = clean + RNG.normal(0, 10, shape)
    attributes = {"model": "<b>evil</b>", "model_digest": "ab" * 32, "version": "1.2", "job": "cd" * 32}
    with open_image(noisy, axes=axes) as source, open_image(clean.copy(), axes=axes) as result:
        write_report(tmp_path / "r.html", source, result, attributes | {"damage": ["rows 1 to 2"]})
    text = (tmp_path / "r.html").read_text()
    page = References()
    page.feed(text)
    assert len(page.found) == 9
    assert all(reference.startswith("data:image/png;base64,") for reference in page.found)
    assert "<b>evil" not in text
    assert "Damaged region of the input, not denoised: rows 1 to 2." in text
    assert re.search(r"a standard deviation of (9\.\d+|10\.?\d*) intensity units", text)


def test_report_of_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tifffile

    tiny_model().save(tmp_path / "tiny.safetensors")
    tifffile.imwrite(tmp_path / "in.tif", CLEAN.astype("uint8"))
    words = [str(tmp_path / name) for name in ("in.tif", "out.ome.zarr")]
    more = ["--model", str(tmp_path / "tiny.safetensors"), "--noise", "none", "--device", "cpu"]
    outputs = ["--report", str(tmp_path / "r.html"), "--residual", str(tmp_path / "removed.ome.tif")]
    assert main(["denoise", *words, *more, *outputs]) == 0
    assert "what was removed" in capsys.readouterr().err
    assert "SHA-256 of the job" in (tmp_path / "r.html").read_text()
    assert main(["denoise", words[0], str(tmp_path / "b.ome.zarr"), *more, *outputs]) == 1
    assert "exists" in capsys.readouterr().err
    assert not (tmp_path / "b.ome.zarr").exists()
    assert main(["denoise", *words, *more, *outputs, "--resume"]) == 1
    assert "or remove it" in capsys.readouterr().err
    with pytest.raises(PictureError, match=r"does not end in \.html"):
        check_report_path(tmp_path / "r.txt")


@pytest.mark.parametrize(("noise", "words"), [(0, "removed nothing (left alone"), (10, "Treatment: denoised directly")])
def test_methods_say_whether_and_how_noise_was_removed(tmp_path: Path, noise: float, words: str) -> None:
    import tifffile

    pixels = np.rint(CLEAN + RNG.normal(0, noise, CLEAN.shape)) if noise else np.full(CLEAN.shape, 7)
    tifffile.imwrite(tmp_path / "in.tif", pixels.clip(0, 255).astype("uint8"))
    outputs = ["--report", str(tmp_path / "r.html"), "--quiet", "--device", "cpu"]
    assert main(["denoise", str(tmp_path / "in.tif"), str(tmp_path / "out.ome.tif"), *outputs]) == 0
    page = (tmp_path / "r.html").read_text()
    assert words in page
    assert ("The image was denoised with" in page) == bool(noise)
