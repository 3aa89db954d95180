"""Jobs that write NIfTI and DICOM: interrupted and resumed, repeated, changed, cancelled."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from masked_denoiser.cli.main import main
from masked_denoiser.errors import AlreadyCompleteError, JobError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
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
