"""Paths on the command line that could mean something else than was meant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile

from masked_denoiser.cli.main import main
from masked_denoiser.cli.progress import cancel_on_interrupt
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.discovery import find_images
from masked_denoiser.jobs.storage.journal import Journal

OPTIONS = ["--noise", "none", "--tile", "64", "--device", "cpu", "--quiet"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with an image and a model."""
    monkeypatch.chdir(tmp_path)
    tiny_model(channels=1).save(tmp_path / "tiny.safetensors")
    tifffile.imwrite("a.tif", np.random.default_rng(0).integers(0, 200, (150, 150)).astype(np.uint8), rowsperstrip=10)
    return tmp_path


def denoise(*arguments: str) -> int:
    return main(["denoise", *arguments, "--model", "tiny.safetensors", *OPTIONS])


@pytest.mark.parametrize("arguments", [("a.tif", ""), ("", "out"), ("a.tif", "", "out")])
def test_empty_paths_are_not_the_current_folder(
    arguments: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.iterdir())
    assert denoise(*arguments) == 1
    assert sorted(folder.iterdir()) == before
    assert "empty, as of a variable that is not set" in capsys.readouterr().err


def test_slash_that_a_shell_completes(folder: Path) -> None:
    assert denoise("a.tif", "out.ome.zarr") == 0
    assert denoise("a.tif", "out.ome.zarr/", "--overwrite") == 0
    assert (folder / "out.ome.zarr" / "zarr.json").exists()


def test_home_folder_in_quotes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "home").mkdir()
    monkeypatch.setenv("HOME", str(folder / "home"))
    assert denoise("a.tif", "~/out.ome.zarr", "--residual", "~/residual.ome.tif") == 0
    assert {path.name for path in (folder / "home").iterdir()} == {"out.ome.zarr", "residual.ome.tif"}


def test_names_that_only_begin_with_a_tilde(folder: Path) -> None:
    assert denoise("a.tif", "out.ome.zarr", "--report", "~draft.html") == 0
    assert (folder / "~draft.html").exists()


def test_parent_of_a_link_is_that_of_its_target(folder: Path) -> None:
    (folder / "real" / "sub").mkdir(parents=True)
    (folder / "link").symlink_to(folder / "real" / "sub")
    (folder / "real" / "a.tif").write_bytes(b"II*\0")
    assert find_images(["link/../a.tif", "a.tif", "./a.tif"]) == ["link/../a.tif", "a.tif"]


def test_residual_spares_an_unfinished_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("b.ome.tif.partial").mkdir()
    Journal.path_for(Path("b.ome.tif")).write_text("")
    assert denoise("a.tif", "out.ome.zarr", "--residual", "b.ome.tif", "--overwrite") == 1
    assert not Path("out.ome.zarr").exists()
    assert "unfinished output of a job" in capsys.readouterr().err


@pytest.mark.parametrize("report", ["missing/r.html", "in.zarr/r.html", "out.ome.zarr/r.html"])
def test_report_is_checked_before_the_job(report: str, folder: Path) -> None:
    import zarr

    zarr.create_array("in.zarr", data=np.zeros((64, 64), np.uint8), dimension_names=["y", "x"])
    assert denoise("in.zarr", "out.ome.zarr", "--report", report) == 1
    assert not Path("out.ome.zarr").exists()
    assert not Path(report).exists()


def test_lost_pixels_are_reported_with_quiet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite(
        "zlib.tif", np.zeros((150, 150), np.uint8) + np.arange(150, dtype=np.uint8), compression="zlib", rowsperstrip=10
    )
    content = bytearray(Path("zlib.tif").read_bytes())
    with tifffile.TiffFile("zlib.tif") as tif:
        start, count = tif.pages.first.dataoffsets[3], tif.pages.first.databytecounts[3]
    content[start : start + count] = b"\xff" * count
    Path("zlib.tif").write_bytes(content)
    assert denoise("zlib.tif", "a.tif", "results", "--on-error", "skip") == 0
    assert "damaged regions" in capsys.readouterr().err
    assert denoise("zlib.tif", "one.ome.zarr", "--on-error", "skip", "--residual", "r.ome.tif") == 0
    assert denoise("zlib.tif", "one.ome.zarr", "--on-error", "skip", "--overwrite", "--report", "r.html") == 0


def test_ignored_interrupt_stays_ignored() -> None:
    """A job in the background of a script is not cancelled by a Ctrl-C that is meant for another one."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        cancel = threading.Event()
        with cancel_on_interrupt(cancel):
            os.kill(os.getpid(), signal.SIGINT)
        assert not cancel.is_set()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, previous)


@pytest.mark.parametrize(
    ("package", "output", "extra"), [("nibabel", "x.nii.gz", "medical"), ("mrcfile", "x.mrc", "em")]
)
def test_missing_package_of_a_format_is_named(package: str, output: str, extra: str, folder: Path) -> None:
    block = f"import sys; sys.modules[{package!r}] = None"
    code = f"{block}; from masked_denoiser.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "denoise", "a.tif", output, "--model", "tiny.safetensors", *OPTIONS]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert f"pip install 'napari-masked-denoiser[{extra}]'" in ended.stderr
    assert "Traceback" not in ended.stderr
