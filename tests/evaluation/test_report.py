"""Reports: self-contained pages with right figures."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masked_denoiser.cli.main import main
from masked_denoiser.errors import PictureError
from masked_denoiser.evaluation.report.figures import bias_by_intensity, show_places, spectrum
from masked_denoiser.evaluation.report.job_text import describe_settings
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


def text_of(page: Path) -> str:
    """Return the text of a page, with one space between words."""
    return " ".join(re.sub("<[^>]*>", " ", page.read_text()).split())


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (
            "--noise none",
            ["requested noise none noise not measured; no limits", "was not measured before, and no limits were set"],
        ),
        (
            "--noise sigma=60 --strength 1.5 --range 0 5000 --skip-background",
            [
                "requested noise sigma=60 noise sigma=60 strength 1.5",
                "intensity ranges 0 to 5000 ",
                "background tiles of nothing else were copied",
                "The noise of the image was stated as sigma=60, and taken to be 1.5 times as strong. Measured",
            ],
        ),
        (
            "--neighbours 1",
            [
                "requested noise auto",
                "neighbouring planes up to 1 on each side along Z",
                "The noise of the image was measured before: DAPI: ",
                "Each plane was averaged with its neighbouring planes before (up to 1 on each side along Z",
            ],
        ),
    ],
)
def test_report_states_how_the_noise_was_known_and_what_was_changed(
    tmp_path: Path, options: str, texts: list[str]
) -> None:
    import tifffile

    clean = 10 * CLEAN[:64, :96]
    planes = np.stack([np.stack([clean, clean / 40])] * 3) + RNG.normal(size=(3, 2, 64, 96)) * [[[60]], [[1.5]]]
    metadata = {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    tifffile.imwrite(tmp_path / "in.ome.tif", planes.clip(0).astype("uint16"), metadata=metadata)
    words = ["denoise", *(str(tmp_path / name) for name in ("in.ome.tif", "out.ome.tif")), *options.split()]
    assert main([*words, "--report", str(tmp_path / "r.html"), "--device", "cpu", "--quiet"]) == 0
    page = text_of(tmp_path / "r.html")
    for text in texts:
        assert text in page


def test_settings_of_each_channel_and_colour_are_named() -> None:
    scales = [{"low": low, "high": low + 10, "rician": 0.0} for low in (0, 1, 2, 3)]
    settings = {"axes": "TCYX", "shape": [9, 2, 5, 5], "ranges": list(enumerate(scales)), "context_planes": []}
    found = describe_settings(settings | {"hot_pixels": [[1, [[2, 3]]]]}, {0: "DAPI", 1: "GFP"})
    runs = "in 2 runs of planes with ranges of their own"
    assert found["intensity ranges"] == f"DAPI: 0 to 12, {runs}; GFP: 1 to 13, {runs}"
    assert (found["neighbouring planes"], found["hot pixels"]) == ("none", "GFP: 1 replaced")
    colours = {
        "axes": "YXS",
        "shape": [5, 5, 3],
        "rgb": True,
        "channels": "each",
        "ranges": list(enumerate(scales[:3])),
    }
    ranges = describe_settings(colours, {0: "colours of channel 0"})["intensity ranges"]
    assert ranges == "red: 0 to 10; green: 1 to 11; blue: 2 to 12"


def test_report_keeps_channels_apart(tmp_path: Path) -> None:
    clean = np.stack([2000 + 5 * CLEAN, CLEAN])
    noisy = clean + RNG.normal(size=clean.shape) * np.array([120, 3])[:, None, None]
    with open_image(noisy, axes="CYX") as source, open_image(clean, axes="CYX") as result:
        write_report(tmp_path / "r.html", replace(source, channel_names=("DAPI", "GFP")), result, {})
    page = text_of(tmp_path / "r.html")
    for name, sigma in (("DAPI", 120), ("GFP", 3)):
        for text in (
            f"removed from {name} has a standard deviation of ",
            rf"before, {name} \w+ noise \(standard deviation ",
        ):
            (figure,) = re.findall(rf"{text}([\d.]*\d)", page)
            assert float(figure) == pytest.approx(sigma, rel=0.1)
    bias = page.partition(" Bias ")[2].partition(" The mean of no region")[0]
    first, second = (re.findall(r"(\S+) [+-]\S+ \S+", part) for part in bias.split("GFP"))
    assert len(first) == len(second) == 10
    assert min(map(float, first)) > 2000
    assert max(map(float, second)) < 200


def test_report_of_a_small_image_claims_nothing(tmp_path: Path) -> None:
    noisy = CLEAN[:12, :20] + RNG.normal(0, 10, (12, 20))
    with open_image(noisy, axes="YX") as source, open_image(CLEAN[:12, :20], axes="YX") as result:
        write_report(tmp_path / "r.html", source, result, {})
    page = text_of(tmp_path / "r.html")
    assert "looks like noise" not in page
    assert "0% of its variance" not in page
    assert "There are too few pixels to judge whether what was removed is noise" in page
    assert "No region of 32 x 32 pixels has enough valid ones" in page


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
