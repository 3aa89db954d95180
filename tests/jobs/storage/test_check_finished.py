"""Finished groups are checked before a job is resumed: against the output on disk, and against the input."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from masked_denoiser.cli.main import main
from masked_denoiser.errors import JobError, OutputError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.images.writers.zarr_pyramid import FolderSink
from masked_denoiser.jobs.pipeline.events import Finished, TileDone
from masked_denoiser.jobs.prepare import prepare_file
from masked_denoiser.jobs.spec.options import Options
from tests.jobs.job_cases import fingerprint, make_input
from tests.jobs.storage.test_completeness import finish, interrupt, prepare, refuse


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_input(tmp_path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [truncate, Path.unlink, flip_a_bit])
@pytest.mark.parametrize(("suffix", "folder"), [(".ome.zarr", "out.ome.zarr"), (".ome.tif", "out.ome.tif.partial")])
def test_damaged_output_is_computed_again(image: Path, tmp_path: Path, suffix: str, folder: str, damage) -> None:
    finish(image, tmp_path / f"whole{suffix}")
    output = tmp_path / f"out{suffix}"
    interrupt(image, output, groups=6)
    chunks = sorted(path for path in (tmp_path / folder / "0" / "c").rglob("*") if path.is_file())
    damage(chunks[0])
    with prepare(image, output, resume=True) as prepared:
        assert any("missing or damaged on disk: computed again" in text for text in prepared.messages)
        assert isinstance(list(prepared.pipeline.run())[-1], Finished)
    with open_image(tmp_path / f"whole{suffix}") as whole, open_image(output) as out:
        np.testing.assert_array_equal(out.data[...], whole.data[...])
    if suffix == ".ome.zarr":
        assert fingerprint(output) == fingerprint(tmp_path / f"whole{suffix}")


def test_changed_chunk_of_a_finished_group_is_noticed(image: Path, tmp_path: Path) -> None:
    """The chunk is changed where the fingerprint samples no pixels, and keeps its size and its times."""
    output = tmp_path / "out.ome.zarr"
    interrupt(image, output)
    array = zarr.open_array(image, mode="r+")
    chunk = image / "c" / "0" / "0" / "0"
    status = chunk.stat()
    array[0, 0, 0] = 255 - array[0, 0, 0]
    os.utime(chunk, ns=(status.st_atime_ns, status.st_mtime_ns))
    refuse(image, output, JobError, r"the input has changed.*(rows 0 to 32, columns 0 to 32|its files)")


def test_touched_input_is_resumed(image: Path, tmp_path: Path) -> None:
    finish(image, tmp_path / "whole.ome.zarr")
    interrupt(image, tmp_path / "out.ome.zarr")
    for chunk in (image / "c").rglob("0"):
        os.utime(chunk, ns=(0, 0))
    finish(image, tmp_path / "out.ome.zarr", resume=True)
    assert fingerprint(tmp_path / "out.ome.zarr") == fingerprint(tmp_path / "whole.ome.zarr")


def test_tiff_rewritten_with_its_old_times_is_noticed(tmp_path: Path) -> None:
    make_input(tmp_path)
    rng, path, output = np.random.default_rng(1), tmp_path / "in.tif", tmp_path / "out.ome.zarr"
    pixels = rng.integers(0, 256, (128, 128)).astype("uint8")
    tifffile.imwrite(path, pixels)
    status = path.stat()
    interrupt(path, output)
    pixels[3, 60] ^= 1
    tifffile.imwrite(path, pixels)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    refuse(path, output, JobError, "the input has changed")


@pytest.mark.parametrize("kind", ["tif", "zarr"])
def test_job_file_refuses_a_changed_input(tmp_path: Path, kind: str, capsys) -> None:
    model, job = make_input(tmp_path).parent / "tiny.safetensors", tmp_path / "job.json"
    path, pixels = tmp_path / f"image.{kind}", np.random.default_rng(1).integers(0, 256, (600, 500)).astype("uint8")
    write = tifffile.imwrite if kind == "tif" else lambda p, a: zarr.save_array(p, a, mode="w")
    write(path, pixels)
    options = ["--model", str(model), "--noise", "none", "--device", "cpu"]
    assert main(["denoise", str(path), str(tmp_path / "out.ome.zarr"), *options, "--save-job", str(job)]) == 0
    changed = pixels[::-1].copy()
    changed[300 - 64 : 300 + 64, 250 - 64 : 250 + 64] = pixels[300 - 64 : 300 + 64, 250 - 64 : 250 + 64]
    write(path, changed)
    assert main(["run", str(job)]) == 1
    assert "the input has changed (" in capsys.readouterr().err
    assert not (tmp_path / "out.ome.zarr").exists()


def test_unreachable_output_is_not_taken_for_damaged(image: Path, tmp_path: Path, monkeypatch) -> None:
    output = tmp_path / "out.ome.zarr"
    interrupt(image, output)
    before = sorted(path for path in output.rglob("*") if path.is_file())

    def unreachable(*_):
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(FolderSink, "read", unreachable)
        refuse(image, output, OutputError, "check that its disk is mounted")
    assert sorted(path for path in output.rglob("*") if path.is_file()) == before


def test_damaged_lower_levels_are_written_again(image: Path, tmp_path: Path) -> None:
    array = zarr.open_array(image, mode="r")
    large = tmp_path / "large.zarr"
    zarr.create_array(large, data=np.tile(array[...], (3, 3, 1)), chunks=(32, 32, 3), dimension_names=["y", "x", "s"])
    output = tmp_path / "out.ome.zarr"
    interrupt(large, output)
    level = zarr.open_array(output / "1", mode="r+")
    level[:1, :64, :64] = 7
    chunk = output / "1" / "c" / "0" / "0" / "0"
    chunk.write_bytes(b"torn")
    with prepare(large, output, resume=True) as prepared:
        assert not chunk.exists()
        list(prepared.pipeline.run())
    finish(large, tmp_path / "whole.ome.zarr")
    assert fingerprint(output) == fingerprint(tmp_path / "whole.ome.zarr")


def test_damage_across_tiles_is_no_change(tmp_path: Path) -> None:
    """What counts as damaged depends on the rectangle that is read, here on tiles that are no multiples of 32."""
    pixels = np.random.default_rng(0).integers(0, 255, (400, 400), dtype=np.uint8)
    codec = zarr.codecs.ZstdCodec(checksum=True)
    array = zarr.create_array(
        tmp_path / "in.zarr", shape=pixels.shape, chunks=(100, 100), dtype="u1", compressors=codec
    )
    array[:] = pixels
    chunk = tmp_path / "in.zarr" / "c" / "0" / "0"
    content = bytearray(chunk.read_bytes())
    content[5000:5050] = bytes(50)
    chunk.write_bytes(content)
    tiny_model(channels=1).save(tmp_path / "tiny.safetensors")
    options = Options(noise="none", tile=112, batch=1, on_error="skip")

    def prepare_skipping(**how: bool) -> Any:
        source, model = open_image(tmp_path / "in.zarr"), tmp_path / "tiny.safetensors"
        return prepare_file(source, tmp_path / "out.ome.zarr", model=model, options=options, device="cpu", **how)

    with prepare_skipping() as prepared:
        for event in prepared.pipeline.run():
            if isinstance(event, TileDone) and event.progress.done == 5:
                prepared.pipeline.cancel.set()
    (tmp_path / "in.zarr" / "zarr.json").touch()
    os.utime(chunk)  # so that all groups are compared
    with prepare_skipping(resume=True) as prepared:
        assert isinstance(list(prepared.pipeline.run())[-1], Finished)
