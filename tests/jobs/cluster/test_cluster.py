"""Jobs on real worker processes of dask.distributed: the same bytes even if workers die."""

import json
import os
import re
import signal
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import zarr

from masked_denoiser.errors import DamagedError, JobError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.inference.tune_precision import is_bfloat16_fast
from masked_denoiser.jobs.batch.outputs import Pair
from masked_denoiser.jobs.cluster import worker as remote
from masked_denoiser.jobs.cluster.cluster import Cluster
from masked_denoiser.jobs.cluster.task_queue import TaskQueue
from masked_denoiser.jobs.cluster.worker import denoise_group, pack_model, register_run
from masked_denoiser.jobs.cluster.worker_checks import Run, find_problem
from masked_denoiser.jobs.executor import open_executor
from masked_denoiser.jobs.pipeline.events import Cancelled, Finished, Finishing, Progress
from masked_denoiser.jobs.prepare import prepare_file
from masked_denoiser.jobs.resolve_job import resolve_job
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.messages import Message
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.files.task import BatchRequest, denoise_files
from tests.jobs.job_cases import OPTIONS, fingerprint, leftovers, make_input
from tests.jobs.storage.test_faults import corrupt_chunk

pytestmark = [
    pytest.mark.filterwarnings("default"),  # of dask.distributed, about closing threads and sockets
    pytest.mark.usefixtures("one_thread"),
]


@pytest.fixture(scope="module")
def cluster():
    with Cluster.local(2, threads=1) as cluster:
        yield cluster


@pytest.fixture
def one_thread():
    """Compute with one thread as the workers do, for equal bytes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def image(tmp_path):
    return make_input(tmp_path, side=192)


def prepare(cluster, image, output, options=OPTIONS, **how):
    model = image.parent / "tiny.safetensors"
    return prepare_file(open_image(image), output, model=model, options=options, device="cpu", executor=cluster, **how)


def denoise_locally(image, output, options=OPTIONS):
    """Denoise in this process, and return the fingerprint of the output."""
    model = image.parent / "tiny.safetensors"
    list(prepare_file(open_image(image), output, model=model, options=options, device="cpu").pipeline.run())
    return fingerprint(output)


def workers(cluster):
    return list(cluster.client.run(os.getpid).values())


def test_dock_batch_runs_on_its_scheduler(cluster, image, tmp_path):
    address, model = cluster.client.scheduler.address, str(tmp_path / "tiny.safetensors")
    form = Form(model, device="cpu", scheduler=address, options=Options(tile=32, noise="none"))
    (tmp_path / "bad.tif").write_bytes(b"II*\0 no image")
    pairs = (Pair(str(tmp_path / "bad.tif"), tmp_path / "bad.ome.zarr"), Pair(str(image), tmp_path / "a.ome.zarr"))
    events = list(denoise_files(BatchRequest(pairs, form), threading.Event()))
    assert "2 workers of a cluster" in " ".join(event.text for event in events if isinstance(event, Message))
    assert [outcome.state for outcome in events[-1].outcomes] == ["failed", "done"]
    here = denoise_locally(image, tmp_path / "b.ome.zarr", replace(OPTIONS, halo="default"))
    assert fingerprint(tmp_path / "a.ome.zarr") == here


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_cluster_output_equals_single_process_output(cluster, image, tmp_path, suffix):
    options = replace(OPTIONS, batch=2, passes=2, std=True)
    prepared = prepare(cluster, image, tmp_path / f"a{suffix}", options)
    assert any("2 workers of a cluster" in message for message in prepared.messages)
    events = list(prepared.pipeline.run())
    assert isinstance(events[-1], Finished)
    done = [event.done for event in events if isinstance(event, Progress)]
    assert done == sorted(done)
    assert done[-1] == events[-1].progress.total == 36
    assert fingerprint(tmp_path / f"a{suffix}") == denoise_locally(image, tmp_path / f"b{suffix}", options)
    assert fingerprint(tmp_path / f"a_std{suffix}") == fingerprint(tmp_path / f"b_std{suffix}")
    assert leftovers(tmp_path / f"a{suffix}") == []


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_workers_may_write_the_colours_of_a_pixel_at_the_same_time(cluster, tmp_path, suffix):
    image = make_input(tmp_path, side=64)
    options = replace(OPTIONS, tile=64, channels="each")
    here = denoise_locally(image, tmp_path / f"here{suffix}", options)
    for number in range(4):
        output = tmp_path / f"{number}{suffix}"
        list(prepare(cluster, image, output, options).pipeline.run())
        assert fingerprint(output) == here


def test_workers_average_neighbouring_planes_as_a_single_process(cluster, image, tmp_path):
    y, x = np.mgrid[:64, :96]
    series = 120 + 50 * np.sin(x / 9) * np.sin(y / 7) + np.random.default_rng(0).normal(0, 15, (3, 64, 96))
    path = image.parent / "series.zarr"
    zarr.create_array(
        path, data=series.clip(1, 255).astype(np.uint8), chunks=(1, 32, 32), dimension_names=["t", "y", "x"]
    )
    options = replace(OPTIONS, noise="sigma=15", neighbours=1, batch=2)
    prepared = prepare(cluster, path, tmp_path / "a.ome.zarr", options)
    assert prepared.job.context_planes
    assert isinstance(list(prepared.pipeline.run())[-1], Finished)
    options = replace(options, precision=prepared.job.precision)  # "auto" asks the workers whether bfloat16 is fast
    here = denoise_locally(path, tmp_path / "b.ome.zarr", options)
    assert fingerprint(tmp_path / "a.ome.zarr") == here


def test_killed_worker_does_not_change_the_output(cluster, image, tmp_path):
    before = workers(cluster)
    pipeline = prepare(cluster, image, tmp_path / "a.ome.zarr").pipeline
    for event in pipeline.run():
        if isinstance(event, Progress) and event.done == 3:
            os.kill(before[0], signal.SIGKILL)
    assert isinstance(event, Finished)
    assert fingerprint(tmp_path / "a.ome.zarr") == denoise_locally(image, tmp_path / "b.ome.zarr")
    cluster.client.wait_for_workers(2, timeout=120)  # its nanny starts another
    assert before[0] not in workers(cluster)


def test_cancelled_cluster_job_resumes_in_one_process(cluster, image, tmp_path):
    output = tmp_path / "a.ome.zarr"
    pipeline = prepare(cluster, image, output).pipeline
    for event in pipeline.run():
        if isinstance(event, Progress) and event.done == 5:
            pipeline.cancel.set()
    assert isinstance(event, Cancelled)
    assert 5 <= event.progress.done < 36
    written = {p: p.stat().st_mtime_ns for p in output.rglob("c/**/*")}
    time.sleep(1.5)  # no worker may write after the lock is released
    assert {p: p.stat().st_mtime_ns for p in output.rglob("c/**/*")} == written
    model = image.parent / "tiny.safetensors"
    resumed = prepare_file(open_image(image), output, model=model, options=OPTIONS, device="cpu", resume=True)
    assert isinstance(list(resumed.pipeline.run())[-1], Finished)
    assert fingerprint(output) == denoise_locally(image, tmp_path / "b.ome.zarr")


def test_driver_can_be_cancelled_during_finalize(cluster, image, tmp_path):
    output = tmp_path / "a.ome.zarr"
    pipeline = prepare(cluster, image, output, replace(OPTIONS, tile=96)).pipeline
    for event in pipeline.run():
        if isinstance(event, Finishing):
            pipeline.cancel.set()
    assert isinstance(event, Cancelled)
    assert Journal.path_for(output).exists()
    resumed = prepare(cluster, image, output, replace(OPTIONS, tile=96), resume=True).pipeline
    assert isinstance(list(resumed.run())[-1], Finished)
    assert leftovers(output) == []


def test_driver_reports_worker_messages(cluster, image, tmp_path):
    prepared = prepare(cluster, image, tmp_path / "stop.ome.zarr")
    skipping = prepare(cluster, image, tmp_path / "skip.ome.zarr", replace(OPTIONS, on_error="skip"))
    corrupt_chunk(image, 0, 4)
    with pytest.raises(DamagedError, match=r"in.zarr: is damaged at rows 0 to 40, columns"):
        list(prepared.pipeline.run())
    assert Journal.path_for(tmp_path / "stop.ome.zarr").exists()
    events = list(skipping.pipeline.run())
    assert any("columns 128 to 160" in place for place in events[-1].damage)
    assert any("damaged region" in event.text for event in events if isinstance(event, Message))


def register_local_run(pipeline, image, **changes):
    """Register the run in this process as in a worker, and return its name."""
    job = pipeline.job.with_absolute_paths().to_json()
    run = Run(pipeline.journal.run, job, pack_model(tiny_model()), "cpu", torch.__version__)
    register_run(replace(run, **changes), torch.get_num_threads())
    return run.name


def prepare_local(image, output, options=OPTIONS, **how):
    model = image.parent / "tiny.safetensors"
    return prepare_file(open_image(image), output, model=model, options=options, device="cpu", **how).pipeline


def test_orphaned_worker_cannot_write_to_a_new_job(image, tmp_path, monkeypatch):
    """Pending groups of an old run must not be written once the output was restarted with other settings."""
    monkeypatch.setattr("masked_denoiser.jobs.storage.journal_records._MAX_DELAY_SECONDS", 1)
    output, other = tmp_path / "a.ome.zarr", replace(OPTIONS, seed=7)
    first = prepare_local(image, output)
    run = register_local_run(first, image)
    assert not denoise_group(run, 0, 0).nonfinite
    first.close()  # as if it had been killed
    second = prepare_local(image, output, other, overwrite=True)
    assert "now being written by another process" in str(denoise_group(run, 0, 1))
    list(second.run())
    assert fingerprint(output) == denoise_locally(image, tmp_path / "b.ome.zarr", other)
    assert "now being written by another process" in str(denoise_group(run, 0, 1))  # nor after it is complete


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"torch": "1.0"}, "has torch .* not 1.0"),
        ({"job": ("device", "cuda")}, "computes on cpu, but the job is for cuda"),
        ({"job": ("version", "9.9")}, "has version .* not 9.9"),
        ({"job": ("input", "/nowhere/in.zarr")}, "does not find /nowhere/in.zarr"),
        ({"job": ("output", "gone.ome.zarr")}, "does not find .*gone.ome.zarr"),
        ({"job": ("fingerprint", {"files": 0, "pixels": 1})}, "finds another image"),
        ({"job": ("precision", "bfloat16"), "is_bfloat16_fast": True}, "differs .* in its instructions for bfloat16"),
    ],
)
def test_mismatched_worker_refuses(image, tmp_path, change, words):
    pipeline = prepare_local(image, tmp_path / "a.ome.zarr")
    job = json.loads(pipeline.job.with_absolute_paths().to_json())
    if "job" in change:
        key, value = change["job"]
        job[key] = str(tmp_path / value) if key == "output" else value
        change = change | {"job": json.dumps(job)}
    refused = denoise_group(register_local_run(pipeline, image, **change), 0, 0)
    assert isinstance(refused, JobError)
    assert re.search(words, str(refused))
    assert not any((tmp_path / "a.ome.zarr" / "0" / "c").rglob("*"))
    pipeline.close()


def test_driver_waits_for_workers(image, tmp_path):
    """A cluster without workers is not treated as finished."""

    class Empty:
        status = "running"

        def nthreads(self):
            return {}

    pipeline = prepare_local(image, tmp_path / "a.ome.zarr")
    tasks = TaskQueue(Empty(), pipeline.job, pipeline.journal, None)
    assert tasks.fill()
    assert list(tasks.finished()) == []
    assert tasks.fill()
    pipeline.journal.close()


def test_all_workers_may_be_replaced(cluster, image, tmp_path):
    before = workers(cluster)
    pipeline = prepare(cluster, image, tmp_path / "a.ome.zarr").pipeline
    for event in pipeline.run():
        if isinstance(event, Progress) and event.done == 3:
            for worker in before:
                os.kill(worker, signal.SIGKILL)
    assert isinstance(event, Finished)
    assert fingerprint(tmp_path / "a.ome.zarr") == denoise_locally(image, tmp_path / "b.ome.zarr")
    cluster.client.wait_for_workers(2, timeout=120)
    assert not set(before) & set(workers(cluster))


def test_workers_release_resources_after_a_job(cluster, image, tmp_path):
    list(prepare(cluster, image, tmp_path / "a.ome.zarr").pipeline.run())
    held = cluster.client.run(lambda: (remote._STATE._pipeline, remote._STATE.runs))
    assert list(held.values()) == [(None, {})] * len(held)


def test_lost_scheduler_is_reported_in_one_line(image, tmp_path):
    with Cluster.local(1, threads=1) as own:
        pipeline = prepare(own, image, tmp_path / "a.ome.zarr").pipeline
        events = pipeline.run()
        assert next(event for event in events if isinstance(event, Progress) and event.done == 3)
        own._local.close()
        with pytest.raises(JobError, match=r"the connection to the cluster is lost .*--resume"):
            list(events)
    assert isinstance(list(prepare_local(image, tmp_path / "a.ome.zarr", resume=True).run())[-1], Finished)


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (lambda image: open_image(np.zeros((40, 40), np.uint8), axes="YX"), OPTIONS, "in memory"),
        (open_image, replace(OPTIONS, tile="auto"), "'auto' is measured on one device"),
        (open_image, replace(OPTIONS, cpu_as_last_resort=True), "is for one process"),
    ],
)
def test_unsupported_cluster_jobs_are_refused_before_writing(cluster, image, tmp_path, make, options, words):
    model = image.parent / "tiny.safetensors"
    with pytest.raises(JobError, match=words):
        prepare_file(make(image), tmp_path / "a.ome.zarr", model=model, options=options, device="cpu", executor=cluster)
    assert not list(tmp_path.glob("a.ome.zarr*"))


def test_missing_scheduler_and_workers_are_named():
    with pytest.raises(JobError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"):
        Cluster.connect("tcp://127.0.0.1:9")
    with pytest.raises(JobError, match="--workers is 0"):
        Cluster.local(0)


def test_missing_packages_are_named(monkeypatch):
    for package in ("dask", "distributed"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "masked_denoiser.jobs.cluster.cluster", raising=False)
    with pytest.raises(JobError, match=r"clusters need dask\.distributed; install it"), open_executor(workers=2):
        pass


def test_workers_are_checked_before_an_earlier_output_is_replaced(cluster, image, tmp_path, monkeypatch):
    output = tmp_path / "out.ome.zarr"
    with open_image(image) as source, prepare_file(source, output, model=tiny_model(), options=OPTIONS) as prepared:
        list(prepared.pipeline.run())
    before = fingerprint(output)
    problem = JobError("the worker on nowhere does not find in.zarr")
    real_run = cluster.client.run

    def run(function, *arguments, **options):
        return {"tcp://nowhere": problem} if function is find_problem else real_run(function, *arguments, **options)

    monkeypatch.setattr(cluster.client, "run", run)
    with open_image(image) as source, pytest.raises(JobError, match="on nowhere"):
        prepare_file(source, output, model=tiny_model(), options=OPTIONS, executor=cluster, overwrite=True)
    assert fingerprint(output) == before
    assert leftovers(output) == []


@pytest.mark.parametrize("lacking", ["input", "output"])
def test_worker_says_what_it_lacks(image, tmp_path, lacking):
    with open_image(image) as source:
        job = resolve_job(source, tmp_path / "out.ome.zarr", model=tiny_model(), options=OPTIONS).job
    run = Run("", replace(job, **{lacking: "/nowhere/a.ome.zarr"}).to_json(), ("", b""), "cpu", torch.__version__)
    assert "/nowhere" in str(find_problem(run))
    run = replace(run, job=job.to_json())
    assert find_problem(replace(run, is_bfloat16_fast=is_bfloat16_fast(torch.device("cpu")))) is None


def test_file_error_of_a_worker_is_no_lost_connection(cluster, image, tmp_path):
    queue = object.__new__(TaskQueue)
    future = cluster.client.submit(_raise_permission_error, pure=False)
    with pytest.raises(JobError, match=r"a worker cannot read or write .*Permission denied"):
        queue._result(future, (0, 0))


def _raise_permission_error():
    raise PermissionError(13, "Permission denied", "/data/out.ome.zarr")
