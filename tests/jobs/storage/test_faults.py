"""Failures in the middle of a job: nothing is lost, and errors name the cause and the region."""

import errno
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mrcfile
import nibabel
import numpy as np
import pytest
import tifffile
import zarr

from masked_denoiser.errors import AlreadyCompleteError, DamagedError, ImageError, JobError, OutputError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.writers.provenance import read_attributes
from masked_denoiser.jobs.api import denoise_file
from masked_denoiser.jobs.noisy_copy import noisy_copy
from masked_denoiser.jobs.pipeline.events import Finished, TileDone
from masked_denoiser.jobs.prepare import prepare_file
from masked_denoiser.jobs.residual import check_residual, write_residual
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.jobs.storage.output import std_path
from masked_denoiser.messages import Message
from masked_denoiser.noise.synthetic.parse import parse_noise
from tests.jobs.job_cases import OPTIONS, fingerprint, leftovers, make_input


@pytest.fixture
def image(tmp_path):
    return make_input(tmp_path)


def prepare(image, output, options=OPTIONS, **how):
    model = image.parent / "tiny.safetensors"
    return prepare_file(open_image(image), output, model=model, options=options, device="cpu", **how)


def finish(image, output, **how):
    return list(prepare(image, output, **how).pipeline.run())


def corrupt_chunk(image, row, column):
    """Corrupt a byte in the middle of a chunk."""
    chunk = image / "c" / str(row) / str(column) / "0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 0xFF
    chunk.write_bytes(bytes(content))


def test_damage_stops_the_job_and_repair_allows_resume(image, tmp_path):
    finish(image, tmp_path / "whole.ome.zarr")
    good = (image / "c" / "2" / "1" / "0").read_bytes()
    pipeline = prepare(image, tmp_path / "cut.ome.zarr").pipeline
    corrupt_chunk(image, 2, 1)
    with pytest.raises(DamagedError, match=r"in.zarr: is damaged at rows .*--resume"):
        list(pipeline.run())
    assert Journal.path_for(tmp_path / "cut.ome.zarr").exists()
    (image / "c" / "2" / "1" / "0").write_bytes(good)
    assert isinstance(finish(image, tmp_path / "cut.ome.zarr", resume=True)[-1], Finished)
    assert fingerprint(tmp_path / "cut.ome.zarr") == fingerprint(tmp_path / "whole.ome.zarr")


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_output_lists_damaged_regions(image, tmp_path, suffix):
    corrupt_chunk(image, 2, 1)
    finish(image, tmp_path / f"out{suffix}", options=replace(OPTIONS, on_error="skip"))
    listed = read_attributes(tmp_path / f"out{suffix}")["damage"]
    assert len(listed) == 9  # tiles that contain or border on the damage are not denoised
    assert "rows 64 to 96, columns 32 to 64" in listed
    assert "rows 32 to 64, columns 0 to 32" in listed


def test_damaged_regions_are_skipped_on_request(image, tmp_path):
    skip = replace(OPTIONS, on_error="skip", halo=8)
    finish(image, tmp_path / "whole.ome.zarr")
    corrupt_chunk(image, 2, 1)
    with open_image(tmp_path / "whole.ome.zarr") as source:
        whole = np.moveaxis(source.data[:], 0, -1)
    events = finish(image, tmp_path / "out.ome.zarr", options=skip)
    with open_image(tmp_path / "out.ome.zarr") as source:
        out = np.moveaxis(source.data[:], 0, -1)
    assert events[-1].damage
    messages = [event.text for event in events if isinstance(event, Message)]
    assert any("rows 64 to 96, columns 32 to 64" in text for text in messages)
    assert (out[64:96, 32:64] == 0).all()  # unreadable, so zero
    far = np.ones((128, 128), bool)
    far[32:128, 0:96] = False  # tiles that see the damage
    np.testing.assert_array_equal(out[far], whole[far])
    adjacent = np.zeros((128, 128), bool)
    adjacent[32:64, 32:64] = True  # a tile with damage in its halo is copied unchanged
    with open_image(image) as source:
        np.testing.assert_array_equal(out[32:64, 32:64], source.data[32:64, 32:64])


def test_skipped_regions_are_known_after_resume(image, tmp_path):
    skip = replace(OPTIONS, on_error="skip")
    corrupt_chunk(image, 0, 1)
    output = tmp_path / "out.ome.zarr"
    pipeline = prepare(image, output, options=skip).pipeline
    for event in pipeline.run():
        if isinstance(event, TileDone) and event.progress.done == 8:
            pipeline.cancel.set()
    events = finish(image, output, options=skip, resume=True)
    assert any("columns 32 to 64" in place for place in events[-1].damage)


def test_vanished_input_is_not_skipped(image, tmp_path):
    pipeline = prepare(image, tmp_path / "out.ome.zarr", options=replace(OPTIONS, on_error="skip")).pipeline

    class Gone:
        shape, dtype = pipeline.source.data.shape, pipeline.source.data.dtype

        def __getitem__(self, _):
            raise OSError(errno.ESTALE, "Stale file handle")

    object.__setattr__(pipeline.source, "data", Gone())
    with pytest.raises(ImageError, match="cannot be reached") as caught:
        list(pipeline.run())
    assert not isinstance(caught.value, DamagedError)


@pytest.mark.skipif(os.name == "nt", reason="POSIX limits")
@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_full_disk_loses_nothing(image, tmp_path, suffix):
    """Limit the file size: the system raises EFBIG as it raises ENOSPC for a full disk."""
    finish(image, tmp_path / f"whole{suffix}")
    output = tmp_path / f"out{suffix}"
    pipeline = prepare(image, output).pipeline
    import resource  # not on Windows

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = Journal.path_for(output).stat().st_size + 60
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OutputError, match="free space on its disk, then --resume"):
            list(pipeline.run())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(finish(image, output, resume=True)[-1], Finished)
    assert fingerprint(output) == fingerprint(tmp_path / f"whole{suffix}")
    assert leftovers(output) == []


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.EACCES, "restore the permission to write there"),
        (errno.ENOSPC, "free space"),
        (errno.ESTALE, "its disk is mounted"),
    ],
)
def test_output_errors_are_distinguished(image, tmp_path, monkeypatch, number, mend):
    pipeline = prepare(image, tmp_path / "out.ome.zarr").pipeline
    monkeypatch.setattr(pipeline.sink, "write", lambda *_: (_ for _ in ()).throw(OSError(number, os.strerror(number))))
    with pytest.raises(OutputError, match=f"{os.strerror(number)}.*{mend}.*--resume") as caught:
        list(pipeline.run())
    assert caught.value.errno == number
    assert Journal.path_for(tmp_path / "out.ome.zarr").exists()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="tells what a descriptor is by /proc")
def test_pixels_are_synced_before_the_journal_record(image, tmp_path, monkeypatch):
    """The sync order is the chunk, its folder, and only then the journal record."""
    synced = []
    fsync = os.fsync

    def noted(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path))
        fsync(descriptor)

    output = tmp_path / "out.ome.zarr"
    pipeline = prepare(image, output).pipeline
    monkeypatch.setattr(os, "fsync", noted)
    list(pipeline.run())
    records = [i for i, path in enumerate(synced) if path.name.endswith(".journal")]
    assert len(records) == 16
    for number, record in enumerate(records):
        before = synced[records[number - 1] + 1 if number else 0 : record]
        row, column = divmod(number, 4)
        chunk = Path("out.ome.zarr", "0", "c", "0", str(row), str(column))
        assert chunk in before
        assert chunk.parent in before


def test_one_output_has_one_writer(image, tmp_path):
    output = tmp_path / "out.ome.zarr"
    pipeline = prepare(image, output).pipeline
    for how in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(JobError, match=f"is being written by process {os.getpid()} on "):
            prepare(image, output, **how)
    pipeline.cancel.set()
    list(pipeline.run())
    finish(image, output, resume=True)
    assert leftovers(output) == []


def test_standard_deviation_output_is_locked(image, tmp_path):
    options = replace(OPTIONS, passes=2, std=True)
    pipeline = prepare(image, tmp_path / "a.ome.zarr", options=options).pipeline
    with pytest.raises(JobError, match="is being written"):
        prepare(image, tmp_path / "a_std.ome.zarr", overwrite=True)
    list(pipeline.run())
    assert leftovers(tmp_path / "a_std.ome.zarr") == []


def test_journal_on_a_full_disk_releases_the_output(image, tmp_path, monkeypatch):
    output = tmp_path / "out.ome.zarr"
    pipeline = prepare(image, output).pipeline

    class Full:
        def write(self, _):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    pipeline.journal._records.close()
    pipeline.journal._records._file = Full()
    with pytest.raises((OutputError, OSError), match="No space left"):
        list(pipeline.run())
    assert isinstance(finish(image, output, resume=True)[-1], Finished)


def test_complete_output_of_another_input_is_refused(image, tmp_path):
    output = tmp_path / "out.ome.zarr"
    finish(image, output)
    zarr.open_array(image, mode="r+")[...] = 7
    with pytest.raises(JobError, match="the input has changed") as caught:
        prepare(image, output, resume=True)
    assert not isinstance(caught.value, AlreadyCompleteError)


def test_lock_excludes_processes_and_ends_when_killed(image, tmp_path):
    output = tmp_path / "out.ome.zarr"
    holder = (
        "import sys, time; from pathlib import Path\n"
        "from masked_denoiser.jobs.storage.journal import lock_output\n"
        f"lock = lock_output(Path({str(output)!r})); print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(JobError, match="is being written"):
            prepare(image, output)
        assert not Journal.path_for(output).exists()
        process.kill()
    assert isinstance(finish(image, output)[-1], Finished)


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_resume_of_a_complete_output(image, tmp_path, suffix):
    output = tmp_path / f"out{suffix}"
    settings = {"model": image.parent / "tiny.safetensors", "device": "cpu", "noise": "none", "tile": 32}
    denoise_file(image, output, **settings)
    before = fingerprint(output)
    with pytest.raises(AlreadyCompleteError):
        denoise_file(image, output, **settings, resume=True)
    with pytest.raises(JobError, match="of another job: seed was 0 and is 1") as caught:
        denoise_file(image, output, **settings | {"seed": 1}, resume=True)
    assert not isinstance(caught.value, AlreadyCompleteError)
    assert fingerprint(output) == before
    assert leftovers(output) == []


@pytest.mark.parametrize("done", [0, 8])
@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_file_put_at_the_path_of_an_interrupted_job_is_kept(image, tmp_path, suffix, done):
    output = tmp_path / f"out{suffix}"
    pipeline = prepare(image, output).pipeline
    if done == 0:
        pipeline.cancel.set()
    for event in pipeline.run():
        if isinstance(event, TileDone) and event.progress.done == done:
            pipeline.cancel.set()
    other = tmp_path / f"other{suffix}"
    finish(image, other, options=replace(OPTIONS, tile=64))
    if output.exists():
        shutil.rmtree(output)
    other.rename(output)
    before = fingerprint(output)
    with pytest.raises(JobError, match=r"was not written by the job that is to be resumed.*--overwrite"):
        prepare(image, output, resume=True)
    assert fingerprint(output) == before


def test_file_put_at_the_path_while_a_job_runs_is_kept(image, tmp_path):
    output = tmp_path / "out.ome.tif"
    events = prepare(image, output).pipeline.run()
    next(event for event in events if isinstance(event, TileDone))
    output.write_bytes(b"the only copy")
    with pytest.raises(ImageError, match=r"was put there while it was to be written.*--resume"):
        list(events)
    assert output.read_bytes() == b"the only copy"
    output.unlink()
    assert isinstance(finish(image, output, resume=True)[-1], Finished)


def test_strength_is_part_of_a_job(image, tmp_path):
    output, options = tmp_path / "out.ome.zarr", replace(OPTIONS, noise="sigma=9", strength=0.5)
    pipeline = prepare(image, output, options=options).pipeline
    pipeline.cancel.set()
    list(pipeline.run())
    with pytest.raises(JobError, match=r"strength was 0\.5 and is 1\.5"):
        prepare(image, output, options=replace(options, strength=1.5), resume=True)
    finish(image, output, options=options, resume=True)
    with pytest.raises((JobError, AlreadyCompleteError), match="complete"):
        prepare(image, output, options=options, resume=True)


def write_foreign(path):
    """Write an image as another program does."""
    pixels = np.zeros((4, 4), np.float32)
    if path.name.endswith("zarr"):
        zarr.create_group(path).create_array("s0", data=pixels)
    elif path.name.endswith("nii.gz"):
        nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), path)
    elif path.name.endswith("mrc"):
        mrcfile.write(path, pixels)
    else:
        tifffile.imwrite(path, pixels, ome=".ome." in path.name)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["raw.tif", "raw.ome.tif", "raw.ome.zarr", "raw.nii.gz", "raw.mrc"])
def test_images_of_other_programs_are_never_replaced(image, tmp_path, name):
    output = tmp_path / name
    write_foreign(output)
    before = contents(tmp_path)
    with pytest.raises(JobError, match="was not written by this program, which does not replace it"):
        prepare(image, output, overwrite=True)
    with open_image(image) as source:
        with pytest.raises(JobError, match="was not written by this program"):
            list(noisy_copy(source, output, parse_noise("gaussian(sigma=5)"), overwrite=True))
        with pytest.raises(JobError, match="was not written by this program"):
            check_residual(output, source, [tmp_path / "out.ome.tif"], overwrite=True)
    with pytest.raises(JobError, match="exists; write elsewhere, or remove it yourself"):
        prepare(image, output)
    with pytest.raises(JobError, match="was not written by this program"):
        prepare(image, output, resume=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["a.ome.tif", "a.nii.gz", "a.mrc"])
def test_journal_does_not_allow_to_replace_an_image_of_another_program(image, tmp_path, name):
    output, gray = tmp_path / name, tmp_path / "gray.zarr"
    zarr.create_array(gray, data=zarr.open_array(image, mode="r")[..., 0], dimension_names=["y", "x"])
    pipeline = prepare(gray, output).pipeline
    pipeline.cancel.set()
    list(pipeline.run())
    write_foreign(output)
    before = output.read_bytes()
    with pytest.raises(JobError, match="was not written by this program"):
        prepare(gray, output, overwrite=True)
    assert output.read_bytes() == before


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08\0\0\0\0\0\0\0broken", b"II*\0", b"II*\0\x08\0\0\0\xff\xff"])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.ome.tif", "a.mrc"])
def test_damaged_files_of_unknown_origin_are_kept(image, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(JobError, match="was not written by this program"):
        prepare(image, tmp_path / name, overwrite=True)


def test_empty_files_are_replaced(image, tmp_path):
    """Workflow managers create them before a job starts."""
    output = tmp_path / "a.ome.tif"
    output.touch()
    finish(image, output, overwrite=True)
    assert read_attributes(output)


@pytest.mark.parametrize("name", ["own.ome.tif", "own.ome.zarr", "own.nii.gz", "own.mrc"])
def test_own_images_are_replaced(image, tmp_path, name):
    output, gray = tmp_path / name, tmp_path / "gray.zarr"
    pixels = zarr.open_array(image, mode="r")[..., 0]
    zarr.create_array(gray, data=pixels, dimension_names=["y", "x"])
    for noise in ("gaussian(sigma=5)", "gaussian(sigma=9)"):
        with open_image(gray) as source:
            list(noisy_copy(source, output, parse_noise(noise), overwrite=True))
    finish(gray, output, overwrite=True)
    finish(gray, output, overwrite=True)
    residual = tmp_path / f"residual{name.removeprefix('own')}"
    for _ in range(2):
        with open_image(gray) as source, open_image(output) as result:
            check_residual(residual, source, [output], overwrite=True)
            write_residual(residual, source, result, overwrite=True)


def test_noisy_copy_does_not_replace_an_unfinished_output(image, tmp_path):
    output = tmp_path / "out.ome.zarr"
    pipeline = prepare(image, output).pipeline
    pipeline.cancel.set()
    list(pipeline.run())
    with open_image(image) as source, pytest.raises(JobError, match="unfinished output of a job"):
        list(noisy_copy(source, output, parse_noise("gaussian(sigma=5)"), overwrite=True))


def test_anonymous_output_has_a_format_without_names(image, tmp_path):
    with pytest.raises(JobError, match="OME-Zarr keeps the names"):
        prepare(image, tmp_path / "out.ome.zarr", options=replace(OPTIONS, anonymize=True))


def test_file_of_a_memory_map_is_an_input(tmp_path):
    path = tmp_path / "pixels.ome.tif"
    np.memmap(path, np.uint8, "w+", shape=(64, 64)).flush()
    mapped = np.memmap(path, np.uint8, "r", shape=(64, 64))[:32].view(np.ndarray)
    with pytest.raises(ImageError, match="input"):
        denoise_file(open_image(mapped, axes="YX"), path, overwrite=True)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("clean.ome.zarr", "clean_std.ome.zarr"),
        ("1.2.840.1.dicom", "1.2.840.1_std.nii.gz"),
        ("a.b.TIF", "a.b_std.TIF"),
        ("v.nii.gz", "v_std.nii.gz"),
    ],
)
def test_path_of_the_standard_deviation(output, expected):
    assert std_path(Path(output)).name == expected


@pytest.mark.parametrize("name", ["Clean.ome.tif", "clean_std.ome.tif"])
def test_residual_does_not_replace_another_output(image, tmp_path, name):
    output = tmp_path / "clean.ome.tif"
    with open_image(image) as source, pytest.raises(ImageError, match="write the residual elsewhere"):
        check_residual(tmp_path / name, source, [output, std_path(output)])
