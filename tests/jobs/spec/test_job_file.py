import json
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.errors import JobError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.images.validation.fingerprint import Fingerprint
from masked_denoiser.jobs.executor import LocalExecutor
from masked_denoiser.jobs.prepare import prepare_file, prepare_job
from masked_denoiser.jobs.spec.job_file import job_from_json, read_job_file, write_job_file
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.resolve import make_job
from tests.jobs.job_cases import OPTIONS, fingerprint, make_input

IMAGE = np.random.default_rng(0).integers(0, 256, (3, 40, 48)).astype(np.uint8)

options = st.builds(
    Options,
    tile=st.sampled_from([16, 64, 512]),
    halo=st.sampled_from([0, 8, "default", "exact"]),
    batch=st.integers(0, 9),
    seed=st.integers(0, 2**63 - 1),
    intensity=st.none() | st.just((0.0, 255.0)),
    noise=st.sampled_from(["auto", "none", "sigma=12", "gain=2,offset=100,correlation=2"]),
    precision=st.sampled_from(["float32", "bfloat16"]),
    skip_background=st.booleans(),
    on_error=st.sampled_from(["stop", "skip"]),
)


@given(options)
def test_job_file_round_trip(tmp_path_factory, job_options):
    job = make_job(open_image(IMAGE, axes="CYX"), tiny_model(), job_options, "cpu", "out.ome.zarr", "float32", "tiny")
    path = tmp_path_factory.getbasetemp() / "job.json"
    write_job_file(path, job)
    assert read_job_file(path) == job.with_absolute_paths()


def test_job_file_gives_the_same_result_as_options(tmp_path):
    image, model = make_input(tmp_path), tmp_path / "tiny.safetensors"
    source = open_image(image)
    prepared = prepare_file(source, tmp_path / "a.ome.zarr", model=model, options=OPTIONS, device="cpu")
    write_job_file(tmp_path / "job.json", replace(prepared.job, output=str(tmp_path / "b.ome.zarr")))
    list(prepared.pipeline.run())
    list(prepare_job(LocalExecutor(), read_job_file(tmp_path / "job.json"), source).pipeline.run())
    assert fingerprint(tmp_path / "a.ome.zarr") == fingerprint(tmp_path / "b.ome.zarr")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fingerprint": Fingerprint(0, 7)}, r"the input has changed \(.*its pixels\)"),
        ({"shape": (9, 9, 3)}, "shape was"),
        ({"model_digest": "ab"}, "model_digest was 'ab'"),
        ({"version": "0.0.1"}, f"version was '0.0.1' and is '{version('napari-masked-denoiser')}'"),
        ({"device": "cuda"}, "cuda"),
    ],
)
def test_mismatched_input_model_or_device_is_refused(tmp_path, change, words):
    image, model = make_input(tmp_path), tmp_path / "tiny.safetensors"
    source, output = open_image(image), tmp_path / "a.ome.zarr"
    job = make_job(source, tiny_model(), OPTIONS, "cpu", str(output), "float32", str(model))
    with pytest.raises(JobError, match=words):
        prepare_job(LocalExecutor(), replace(job, **change), source)
    assert not list(tmp_path.glob("a.ome.zarr*"))


def values():
    job = make_job(open_image(IMAGE, axes="CYX"), tiny_model(), OPTIONS, "cpu", "out.ome.zarr")
    return json.loads(job.to_json())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tile": "32"}, "tile: Input should be a valid integer"),
        ({"tile": 0}, "tile 0"),
        ({"tile": 33}, "tile side 33"),
        ({"batch": 2**40}, "batch"),
        ({"axes": "CYXYX"}, "axes"),
        ({"shape": [3, -1, 48]}, "shape"),
        ({"shape": [3, 2**60, 48]}, "shape"),
        ({"dtype": "O"}, "dtype"),
        ({"ranges": [[0, {"low": 1.0, "high": 1.0}]]}, "range"),
        ({"ranges": [[0, {"low": 0.0, "high": 1.0, "rician": -0.1}]]}, "Rician"),
        ({"ranges": [[0, {"low": 0.0, "high": 1.0, "rician": 1e-300}]]}, "Rician"),
        ({"modality": "nonsense"}, "modality"),
        ({"surprise": 1}, "surprise"),
        ({"reader": "os; rm"}, "reader 'os; rm'"),
        ({"device": "cpu; rm"}, "device"),
        ({"treatments": []}, "different channels"),
        ({"axes": "TYX", "channels": "rgb"}, "no S or C"),
        ({"hot_pixels": [[0, [[5000, 3]]]]}, "hot pixel outside"),
        ({"context_planes": [[0, {"axis": "Z", "count": 1, "shared_noise": 0.0, "remaining": 0.1}]]}, "context"),
        ({"context_planes": [[0, {"axis": "C", "count": 1}]]}, "context"),
        ({"shard": 64, "group": [2, 1]}, "group .* and shard 64"),
        ({"shard": 64, "group": [2, 2], "ome_zarr": "0.4"}, "group .* and shard 64"),
    ],
)
def test_invalid_values_are_named(change, words):
    with pytest.raises(JobError, match=words):
        job_from_json(values() | change, "job.json")


def test_reader_is_kept_and_the_format_before_it_is_named(tmp_path):
    job = replace(
        make_job(open_image(IMAGE, axes="CYX"), tiny_model(), OPTIONS, "cpu", "out.ome.zarr"), reader="bioio-czi"
    )
    write_job_file(tmp_path / "job.json", job)
    assert read_job_file(tmp_path / "job.json").reader == "bioio-czi"
    content = json.loads((tmp_path / "job.json").read_text())
    del content["job"]["reader"]
    (tmp_path / "job.json").write_text(json.dumps(content | {"format": 5}))
    with pytest.raises(
        JobError, match=r"job\.json has format 5 of job files, and this version reads 7; write it again"
    ):
        read_job_file(tmp_path / "job.json")


def test_job_file_only_overwrites_job_files(tmp_path):
    job = make_job(open_image(IMAGE, axes="CYX"), tiny_model(), OPTIONS, "cpu", "out.ome.zarr")
    (tmp_path / "thesis.json").write_text("the only copy")
    for name, words in (("thesis.json", "not a job file"), ("slide.tif", r"does not end in \.json")):
        with pytest.raises(JobError, match=words):
            write_job_file(tmp_path / name, job)
    assert (tmp_path / "thesis.json").read_text() == "the only copy"
    write_job_file(tmp_path / "job.json", job)
    write_job_file(tmp_path / "job.json", replace(job, seed=5))
    assert read_job_file(tmp_path / "job.json").seed == 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["job.json", "thesis.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format": 5, "job": {}}', "[" * 100_000, '{"format": 1, "job": {"a": NaN}}']
)
def test_invalid_job_files_are_refused(tmp_path, text):
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(JobError, match=r"job\.json"):
        read_job_file(tmp_path / "job.json")
