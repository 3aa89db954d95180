"""Tests of `denoise` on folders and lists: exit codes, messages and resumption."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from masked_denoiser.cli.main import main
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    tiny_model().save(path)
    return str(path)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of two images with a broken file between them."""
    images = tmp_path / "in"
    images.mkdir()
    for seed, name in enumerate(("a.tif", "c.tif")):
        values = np.random.default_rng(seed).integers(0, 256, (48, 64), dtype=np.uint8)
        tifffile.imwrite(images / name, values)
    (images / "b.tif").write_bytes(b"II*\0 this is no image")
    return images


#: The command with a Ctrl-C after two groups of c.tif; a signal from outside could arrive after that image is done.
INTERRUPTED_COMMAND = """
import os, signal, sys
from masked_denoiser.cli.main import main
from masked_denoiser.jobs.storage.journal import Journal

add = Journal.add

def interrupted(self, *arguments):
    add(self, *arguments)
    if self.output.name == "c.ome.zarr" and len(self.done) == 2:
        os.kill(os.getpid(), signal.SIGINT)

Journal.add = interrupted
sys.exit(main(sys.argv[1:]))
"""


def denoise(*arguments, model):
    settings = ["--model", model, "--tile", "32", "--noise", "none", "--device", "cpu"]
    return main(["denoise", *settings, *map(str, arguments)])


def test_unreadable_file_does_not_stop_list_and_list_resumes(folder, tiny, capsys):
    output = folder.parent / "out"
    pattern = f"{folder}/*.tif"
    assert denoise(pattern, f"{output}/", "--json", "--quiet", model=tiny) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("masked-denoiser: file 2 of 3: b.tif: contains no image")
    assert len(captured.err.splitlines()) == 1
    summary = json.loads(captured.out)
    assert summary["complete"] is False
    assert [file["state"] for file in summary["files"]] == ["done", "failed", "done"]
    assert [Path(file["output"]).name for file in summary["files"]] == ["a.ome.zarr", "b.ome.zarr", "c.ome.zarr"]
    assert summary["files"][1]["reason"].startswith("contains no image")
    assert summary["files"][0]["seconds"] > 0
    jobs = [file["job"] for file in summary["files"]]
    stored = [zarr.open(output / f"{name}.ome.zarr").attrs["masked_denoiser"]["job"] for name in "ac"]
    assert jobs == [stored[0], None, stored[1]]
    assert sorted(path.name for path in output.iterdir()) == ["a.ome.zarr", "c.ome.zarr"]

    tifffile.imwrite(folder / "b.tif", np.zeros((48, 64), np.uint8))
    assert denoise(pattern, output, model=tiny) == 1  # existing outputs are refused, and the summary gives the reason
    captured = capsys.readouterr()
    assert f"{output}: 1 done, 2 failed" in captured.out
    assert f"failed: {folder / 'a.tif'}: {output / 'a.ome.zarr'} exists" in captured.out
    assert "file 2 of 3: b.tif: done in" in captured.err

    assert denoise(folder, output, "--resume", model=tiny) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{output}: 0 done, 3 already complete\n"
    assert denoise(folder, output, "--resume", "--json", model=tiny) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["complete"] is True
    assert [file["job"] for file in summary["files"]][::2] == stored


def test_files_and_folders_with_ending_option(folder, tiny, capsys):
    (folder / "b.tif").unlink()
    (folder.parent / "more").mkdir()
    tifffile.imwrite(folder.parent / "more" / "d.tif", np.zeros((48, 64), np.uint8))
    inputs = [folder / "c.tif", folder.parent / "more", folder / "a.tif"]
    assert denoise(*inputs, folder.parent / "out", "--ending", ".ome.tif", "--quiet", model=tiny) == 0
    assert capsys.readouterr().out == ""
    written = sorted((folder.parent / "out").iterdir())
    assert [path.name for path in written] == ["a.ome.tif", "c.ome.tif", "d.ome.tif"]
    with open_image(written[0]) as image:
        assert image.shape == (48, 64)


def test_formats_of_tiff_are_denoised_and_other_suffixes_reported(folder, tiny, capsys):
    (folder / "a.tif").rename(folder / "a.lsm")
    (folder / "b.tif").rename(folder / "b.flex")
    assert denoise(folder, folder.parent / "out", model=tiny) == 0
    assert sorted(path.name for path in (folder.parent / "out").iterdir()) == ["a.ome.zarr", "c.ome.zarr"]
    assert f"note: skipped 1 file with unknown suffixes in {folder}: b.flex; name or rename" in capsys.readouterr().err
    assert denoise("--quiet", folder, folder.parent / "again", model=tiny) == 0
    assert "skipped" not in capsys.readouterr().err


def test_output_in_folder_keeps_file_name(folder, tiny):
    assert denoise(folder / "a.tif", f"{folder}/", "--quiet", model=tiny) == 0
    assert (folder / "a.ome.zarr" / "zarr.json").is_file()


def test_finished_job_file_has_nothing_to_resume(folder, tiny, capsys):
    output, job = folder.parent / "a.ome.tif", folder.parent / "job.json"
    assert denoise(folder / "a.tif", output, "--save-job", job, "--quiet", model=tiny) == 0
    assert main(["run", str(job), "--quiet"]) == 0
    assert main(["run", str(job)]) == 1
    assert "exists" in capsys.readouterr().err
    assert main(["run", str(job), "--resume"]) == 0
    assert capsys.readouterr().out == f"{output} is already complete; nothing to resume\n"


def test_debug_shows_traceback_of_each_failure(folder, tiny, capsys):
    assert denoise(folder, folder.parent / "out", "--debug", "--quiet", model=tiny) == 1
    error = capsys.readouterr().err
    assert error.count("Traceback") == 1
    assert "ImageError: " in error


def test_skipped_damage_is_reported_for_each_image(folder, tiny, capsys):
    path = folder.parent / "damaged.tif"
    values = np.random.default_rng(0).integers(0, 256, (192, 192), dtype=np.uint8)
    tifffile.imwrite(path, values, compression="zlib", tile=(16, 16))
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[0].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + 40] = bytes(40)
    path.write_bytes(content)
    output = f"{folder.parent}/out/"
    assert denoise(path, output, "--quiet", model=tiny) == 1
    assert denoise(path, output, "--overwrite", "--on-error", "skip", model=tiny) == 0
    captured = capsys.readouterr()
    assert f"{path}: damaged regions, not denoised and empty where they cannot be read: " in captured.out
    assert denoise(path, output, "--overwrite", "--on-error", "skip", "--json", "--quiet", model=tiny) == 0
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert file["state"] == "done"
    assert file["damage"]


def test_invalid_arguments_fail_before_any_work(folder, tiny, capsys):
    before = sorted(folder.parent.rglob("*"))
    out = folder.parent / "out"
    for inputs, output, extra, message in (
        ([f"{folder}/*.czi"], out, [], "nothing matches"),
        ([folder / "a.tif", folder / "c.tif"], folder.parent / "out.ome.tif", [], "names one image"),
        ([folder], out, ["--device", "tpu"], "unknown device"),
        ([folder], out, ["--resume", "--overwrite"], "only one"),
        ([folder], folder, [], "is both input and output"),
        ([folder], out, ["--save-job", out], "stores the job of one image"),
    ):
        assert denoise(*inputs, output, *extra, model=tiny) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error
    assert denoise(folder, out, model="no-such-model") == 1
    assert "no-such-model" in capsys.readouterr().err
    assert sorted(folder.parent.rglob("*")) == before


def test_complete_output_has_nothing_to_resume(folder, tiny, capsys):
    output = folder.parent / "a.ome.zarr"
    assert denoise(folder / "a.tif", output, "--quiet", model=tiny) == 0
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    assert denoise(folder / "a.tif", output, "--resume", model=tiny) == 0
    assert capsys.readouterr().out == f"{output} is already complete; nothing to resume\n"
    assert denoise(folder / "a.tif", output, "--resume", "--json", model=tiny) == 0
    stored = zarr.open(output).attrs["masked_denoiser"]
    job = {"job": stored["job"], "noise": stored["settings"]["noise"]}
    assert json.loads(capsys.readouterr().out) == {"output": str(output), "complete": True, "already": True, **job}
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a child alone")
def test_interrupt_stops_list_within_image(folder, tiny, capsys):
    output = folder.parent / "out"
    values = np.random.default_rng(2).integers(0, 256, (64, 80), dtype=np.uint8)
    tifffile.imwrite(folder / "c.tif", values)
    tifffile.imwrite(folder / "d.tif", values)
    settings = ["--model", tiny, "--tile", "16", "--batch", "1", "--noise", "none", "--device", "cpu"]
    command = [sys.executable, "-c", INTERRUPTED_COMMAND, "denoise", str(folder), str(output), *settings]
    process = subprocess.run(command, capture_output=True, text=True)
    journal, out, err = output / "c.ome.zarr.journal", process.stdout, process.stderr
    assert process.returncode == 130, err
    assert f"{output}: 1 done, 1 failed, 1 cancelled, 1 not begun" in out
    assert "continue with --resume" in out
    assert "file 2 of 4: b.tif" in err
    assert journal.exists()
    assert main(["denoise", str(folder), str(output), *settings, "--resume", "--json", "--quiet"]) == 1
    files = json.loads(capsys.readouterr().out)["files"]
    assert [file["state"] for file in files] == ["already complete", "failed", "done", "done"]
    with open_image(output / "c.ome.zarr") as c, open_image(output / "d.ome.zarr") as d:
        np.testing.assert_array_equal(np.asarray(c.data), np.asarray(d.data))
    assert not journal.exists()
