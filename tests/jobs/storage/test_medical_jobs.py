"""Jobs that write NIfTI and DICOM: interrupted and resumed, repeated, changed, cancelled."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import NoReturn

import nibabel as nib
import numpy as np
import pytest

from masked_denoiser.cli.main import main
from masked_denoiser.errors import AlreadyCompleteError, ImageError, JobError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.images.writers.assembled import sink
from masked_denoiser.jobs.pipeline.events import Finished, TileDone
from masked_denoiser.jobs.prepare import prepare_file
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.storage.journal import Journal
from tests.images.dicom_files import PATIENT, write_series
from tests.jobs.job_cases import fingerprint

MODEL = tiny_model()
OPTIONS = Options(noise="sigma=20", tile=32, halo=8)
VOLUME = np.random.default_rng(8).normal(1000, 20, (3, 48, 64)).astype(np.uint16)


@pytest.fixture(params=["out.nii.gz", "out.dicom"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """Return an image and the path of its output."""
    if request.param == "out.dicom":
        write_series(tmp_path / "in", VOLUME, modality="MR")
        return tmp_path / "in", tmp_path / request.param
    nib.save(nib.Nifti1Image(VOLUME.T.astype(np.int16), np.eye(4)), tmp_path / "in.nii.gz")
    return tmp_path / "in.nii.gz", tmp_path / request.param


def run(case: tuple[Path, Path], stop_after: int | None = None, options: Options = OPTIONS, **mode: bool) -> bool:
    """Run a job, cancelled after some tiles; return whether it finished."""
    cancel, tiles = threading.Event(), 0
    with (
        open_image(case[0]) as source,
        prepare_file(source, case[1], model=MODEL, options=options, device="cpu", **mode) as prepared,
    ):
        events = []
        for event in prepared.pipeline.run(cancel):
            events.append(event)
            tiles += isinstance(event, TileDone)
            if stop_after is not None and tiles >= stop_after:
                cancel.set()
        return isinstance(events[-1], Finished)


def test_resumed_job_equals_an_uninterrupted_one(case: tuple[Path, Path]) -> None:
    image, output = case
    assert not run(case, stop_after=3)
    assert not output.exists()
    assert Journal.path_for(output).exists()
    assert run(case, resume=True)
    whole = output.with_name(f"whole{''.join(output.suffixes)}")
    assert run((image, whole))
    assert fingerprint(output) == fingerprint(whole)
    assert not list(output.parent.glob("*.partial"))
    with open_image(output) as result, open_image(image) as source:
        assert result.shape == source.shape
        assert result.pixel_size == source.pixel_size
        assert 0 < np.abs(np.asarray(result.data[...]).astype(float) - source.data[...]).mean() < 100


class KilledError(BaseException):
    """End of the process."""


def kill(*_: object, **__: object) -> NoReturn:
    """Do nothing further, as a killed process."""
    raise KilledError


def test_job_that_was_killed_after_the_output_got_its_name_is_resumed(
    case: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the resumed job is killed while it removes the output that it replaces."""
    image, output = case
    run((image, output.with_name(f"whole{''.join(output.suffixes)}")))
    for place in (f"{sink.__name__}.remove_folder", "shutil.rmtree"):
        with monkeypatch.context() as patched:
            patched.setattr(place, kill)
            with pytest.raises(KilledError):
                run(case, resume=place == "shutil.rmtree")
        assert output.exists() == (place != "shutil.rmtree" or output.suffix == ".gz")
    assert run(case, resume=True)
    assert fingerprint(output) == fingerprint(output.with_name(f"whole{''.join(output.suffixes)}"))
    names = {path.name for path in output.parent.iterdir()}
    assert names == {image.name, output.name, f"whole{''.join(output.suffixes)}"}


def test_leftovers_of_an_interrupted_removal_are_removed(
    case: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(case)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", kill)
        with pytest.raises(KilledError):
            run(case, overwrite=True)
    assert run(case, overwrite=True)
    assert {path.name for path in case[1].parent.iterdir()} == {path.name for path in case}


def test_complete_job_is_kept_and_another_one_refused(case: tuple[Path, Path]) -> None:
    run(case)
    written = fingerprint(case[1])
    with pytest.raises(AlreadyCompleteError):
        run(case, resume=True)
    with pytest.raises(JobError, match=r"is complete, but of another job: .*seed was 0 and is 1"):
        run(case, resume=True, options=Options(noise="sigma=20", tile=32, halo=8, seed=1))
    assert fingerprint(case[1]) == written
    assert run(case, overwrite=True)
    assert fingerprint(case[1]) == written


def test_folder_to_folder_by_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "in" / "ct", VOLUME)
    nib.save(nib.Nifti1Image(VOLUME.T.astype(np.int16), np.eye(4)), tmp_path / "in" / "head.nii.gz")
    MODEL.save(tmp_path / "tiny.safetensors")
    settings = ["--model", str(tmp_path / "tiny.safetensors"), "--noise", "sigma=20", "--device", "cpu", "--anonymize"]
    assert main(["denoise", str(tmp_path / "in"), str(tmp_path / "out"), *settings]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ct.dicom", "head.nii.gz"]
    shown = "".join(capsys.readouterr())
    assert "for research use only" in shown
    job = tmp_path / "job.json"
    command = ["denoise", str(tmp_path / "in" / "ct"), str(tmp_path / "again.dicom"), "--save-job", str(job)]
    assert main([*command, *settings]) == 0
    assert main(["run", str(job)]) == 0
    texts = [shown, job.read_text(), *(p.read_bytes().decode("latin1") for p in (tmp_path / "again.dicom").iterdir())]
    assert [secret for secret in PATIENT.values() if len(secret) > 2 for text in texts if secret in text] == []
    assert json.loads(job.read_text())["job"]["anonymize"] is True


def test_residual_and_copies_of_medical_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "ct", VOLUME)
    image = nib.Nifti1Image(VOLUME.T.astype(np.int16), np.eye(4))
    image.header["descrip"] = b"Doe^Jane"
    nib.save(image, tmp_path / "head.nii.gz")
    MODEL.save(tmp_path / "tiny.safetensors")
    settings = ["--model", str(tmp_path / "tiny.safetensors"), "--noise", "sigma=20", "--device", "cpu"]

    def denoise(image: str, output: str, *more: str) -> tuple[int, str]:
        code = main(["denoise", str(tmp_path / image), str(tmp_path / output), *settings, *more])
        return code, capsys.readouterr().err

    residual = str(tmp_path / "residual.nii.gz")
    assert denoise("head.nii.gz", "out.nii.gz", "--anonymize", "--residual", residual)[0] == 0
    removed = nib.load(residual)
    assert (bytes(removed.header["descrip"]).strip(b"\0"), bool(removed.get_fdata().min() < 0)) == (b"", True)  # type: ignore[attr-defined]
    for output, more, reason in (
        ("out.dicom", ("--residual", str(tmp_path / "r.dicom")), "a residual has negative values"),
        ("out.dicom", ("--dtype", "float32"), "DICOM stores the integers of the original"),
        ("out.dicom", ("--select", "Z=0"), "a part of a DICOM image"),
    ):
        code, message = denoise("ct", output, *more)
        assert (code, reason in message) == (1, True), message
    assert main(["noise", "add", str(tmp_path / "ct"), str(tmp_path / "noisy.dicom"), "--noise", "gaussian"]) == 1
    assert not [path for path in tmp_path.iterdir() if "dicom" in path.name]
    assert denoise("ct", "folder")[0] == 0
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["ct.dicom"]
    write_series(tmp_path / "foreign.dicom", VOLUME)
    code, message = denoise("ct", "foreign.dicom", "--overwrite")
    assert (code, "was not written by this program" in message) == (1, True), message


def test_encodings_of_originals(tmp_path: Path) -> None:
    """Big endian is refused before work; files without preamble, as before 1993, are written with one."""
    import pydicom
    import pydicom.data

    folder = Path(pydicom.data.__file__).parent / "test_files"
    bare = pydicom.filebase.DicomBytesIO()
    bare.is_little_endian, bare.is_implicit_VR = True, True
    pydicom.filewriter.write_dataset(bare, pydicom.dcmread(folder / "MR_small_implicit.dcm"))
    (tmp_path / "bare.dcm").write_bytes(bare.getvalue())
    assert run((tmp_path / "bare.dcm", tmp_path / "bare.dicom"))
    assert pydicom.dcmread(tmp_path / "bare.dicom" / "0001.dcm").pixel_array.shape == (64, 64)
    with pytest.raises(ImageError, match="big-endian pixels cannot be written as DICOM"):
        run((folder / "MR_small_bigendian.dcm", tmp_path / "big.dicom"))
    assert not (tmp_path / "big.dicom").exists()
