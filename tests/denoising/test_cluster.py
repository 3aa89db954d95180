"""Jobs on real worker processes of dask.distributed: the same bytes, whoever dies."""

import json
import os
import re
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from masked_denoiser.errors import DamagedError, JobError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.batch.outputs import Pair
from masked_denoiser.jobs.cluster import worker as remote
from masked_denoiser.jobs.cluster.cluster import Cluster
from masked_denoiser.jobs.cluster.task_queue import TaskQueue
from masked_denoiser.jobs.cluster.worker import Run, do_group, pack_model, register_run
from masked_denoiser.jobs.pipeline.events import Cancelled, Finished, Finishing, Progress
from masked_denoiser.jobs.prepare import prepare_file, prepare_file_on
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.messages import Message
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.files.task import ListRequest, denoise_files

from .jobs import OPTIONS, fingerprint, leftovers, make_input
from .test_faults import spoil

pytestmark = [
    pytest.mark.filterwarnings("default"),  # dask.distributed's own, of threads and sockets that end
    pytest.mark.usefixtures("one_thread"),
]


@pytest.fixture(scope="module")
def cluster():
    with Cluster.local(2, threads=1) as cluster:
        yield cluster


@pytest.fixture
def one_thread():
    """What one worker computes with, for equal bytes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def image(tmp_path):
    return make_input(tmp_path, side=192)


def prepare(cluster, image, output, options=OPTIONS, **how):
    model = image.parent / "tiny.safetensors"
    return prepare_file_on(cluster, open_image(image), output, model=model, options=options, device="cpu", **how)


def alone(image, output, options=OPTIONS):
    """By this process."""
    model = image.parent / "tiny.safetensors"
    list(prepare_file(open_image(image), output, model=model, options=options, device="cpu").pipeline.run())
    return fingerprint(output)


def workers(cluster):
    return list(cluster.client.run(os.getpid).values())


def test_the_list_of_the_dock_is_computed_by_its_scheduler(cluster, image, tmp_path):
    address, model = cluster.client.scheduler.address, str(tmp_path / "tiny.safetensors")
    form = Form(model, device="cpu", tile=32, noise="none", scheduler=address)
    (tmp_path / "bad.tif").write_bytes(b"II*\0 no image")
    pairs = (Pair(str(tmp_path / "bad.tif"), tmp_path / "bad.ome.zarr"), Pair(str(image), tmp_path / "a.ome.zarr"))
    events = list(denoise_files(ListRequest(pairs, form), threading.Event()))
    assert "2 workers of a cluster" in " ".join(event.text for event in events if isinstance(event, Message))
    assert [outcome.state for outcome in events[-1].outcomes] == ["failed", "done"]
    here = alone(image, tmp_path / "b.ome.zarr", replace(OPTIONS, halo="default"))
    assert fingerprint(tmp_path / "a.ome.zarr") == here


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_a_cluster_gives_the_bytes_of_one_process(cluster, image, tmp_path, suffix):
    options = replace(OPTIONS, batch=2, passes=2, std=True)
    prepared = prepare(cluster, image, tmp_path / f"a{suffix}", options)
    assert any("2 workers of a cluster" in message for message in prepared.messages)
    events = list(prepared.pipeline.run())
    assert isinstance(events[-1], Finished)
    done = [event.done for event in events if isinstance(event, Progress)]
    assert done == sorted(done)
    assert done[-1] == events[-1].progress.total == 36
    assert fingerprint(tmp_path / f"a{suffix}") == alone(image, tmp_path / f"b{suffix}", options)
    assert fingerprint(tmp_path / f"a_std{suffix}") == fingerprint(tmp_path / f"b_std{suffix}")
    assert leftovers(tmp_path / f"a{suffix}") == []


def test_a_killed_worker_costs_nothing(cluster, image, tmp_path):
    before = workers(cluster)
    pipeline = prepare(cluster, image, tmp_path / "a.ome.zarr").pipeline
    for event in pipeline.run():
        if isinstance(event, Progress) and event.done == 3:
            os.kill(before[0], signal.SIGKILL)
    assert isinstance(event, Finished)
    assert fingerprint(tmp_path / "a.ome.zarr") == alone(image, tmp_path / "b.ome.zarr")
    cluster.client.wait_for_workers(2, timeout=120)  # its nanny begins another
    assert before[0] not in workers(cluster)


def test_cancel_stops_the_workers_and_one_process_can_go_on(cluster, image, tmp_path):
    output = tmp_path / "a.ome.zarr"
    pipeline = prepare(cluster, image, output).pipeline
    for event in pipeline.run():
        if isinstance(event, Progress) and event.done == 5:
            pipeline.cancel.set()
    assert isinstance(event, Cancelled)
    assert 5 <= event.progress.done < 36
    written = {p: p.stat().st_mtime_ns for p in output.rglob("c/**/*")}
    time.sleep(1.5)  # nobody writes once the lock is given back
    assert {p: p.stat().st_mtime_ns for p in output.rglob("c/**/*")} == written
    model = image.parent / "tiny.safetensors"
    again = prepare_file(open_image(image), output, model=model, options=OPTIONS, device="cpu", resume=True)
    assert isinstance(list(again.pipeline.run())[-1], Finished)
    assert fingerprint(output) == alone(image, tmp_path / "b.ome.zarr")


def test_the_driver_can_be_stopped_while_it_completes_the_output(cluster, image, tmp_path):
    output = tmp_path / "a.ome.zarr"
    pipeline = prepare(cluster, image, output, replace(OPTIONS, tile=96)).pipeline
    for event in pipeline.run():
        if isinstance(event, Finishing):
            pipeline.cancel.set()
    assert isinstance(event, Cancelled)
    assert Journal.beside(output).exists()
    again = prepare(cluster, image, output, replace(OPTIONS, tile=96), resume=True).pipeline
    assert isinstance(list(again.run())[-1], Finished)
    assert leftovers(output) == []


def test_what_a_worker_finds_is_said_by_the_driver(cluster, image, tmp_path):
    prepared = prepare(cluster, image, tmp_path / "stop.ome.zarr")
    skipping = prepare(cluster, image, tmp_path / "skip.ome.zarr", replace(OPTIONS, on_error="skip"))
    spoil(image, 0, 4)
    with pytest.raises(DamagedError, match=r"in.zarr: is damaged at rows 0 to 40, columns"):
        list(prepared.pipeline.run())
    assert Journal.beside(tmp_path / "stop.ome.zarr").exists()
    events = list(skipping.pipeline.run())
    assert any("columns 128 to 160" in place for place in events[-1].damage)
    assert any("damaged" in event.text for event in events if isinstance(event, Message))


def told(pipeline, image, **changes):
    """A run, as this process would be told of it if it were a worker."""
    job = pipeline.job.with_absolute_paths().to_json()
    run = Run(pipeline.journal.run, job, pack_model(tiny_model()), "cpu", torch.__version__)
    register_run(replace(run, **changes), torch.get_num_threads())
    return run.name


def begun(image, output, options=OPTIONS, **how):
    model = image.parent / "tiny.safetensors"
    return prepare_file(open_image(image), output, model=model, options=options, device="cpu", **how).pipeline


def test_a_worker_that_outlives_its_driver_writes_no_more_once_another_has_begun(image, tmp_path, monkeypatch):
    """What a worker still has in hand when the output is begun anew, with other settings, must not get there."""
    monkeypatch.setattr("masked_denoiser.jobs.storage.journal_records._LATE", 1)
    output, other = tmp_path / "a.ome.zarr", replace(OPTIONS, seed=7)
    first = begun(image, output)
    run = told(first, image)
    assert not do_group(run, 0, 0).broken
    first.close()  # as if it had been killed
    second = begun(image, output, other, overwrite=True)
    assert "written by somebody else now" in str(do_group(run, 0, 1))
    list(second.run())
    assert fingerprint(output) == alone(image, tmp_path / "b.ome.zarr", other)
    assert "written by somebody else now" in str(do_group(run, 0, 1))  # nor after it is complete


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"torch": "1.0"}, "has torch .* and the others 1.0"),
        ({"job": ("device", "cuda")}, "computes on cpu, and the job is for cuda"),
        ({"job": ("version", "9.9")}, "has version .* and the others 9.9"),
        ({"job": ("input", "/nowhere/in.zarr")}, "does not see /nowhere/in.zarr"),
        ({"job": ("output", "gone.ome.zarr")}, "does not see .*gone.ome.zarr"),
        ({"job": ("stamp", [0, 0, 1])}, "sees another image"),
    ],
)
def test_a_worker_that_would_give_other_pixels_refuses(image, tmp_path, change, words):
    pipeline = begun(image, tmp_path / "a.ome.zarr")
    job = json.loads(pipeline.job.with_absolute_paths().to_json())
    if "job" in change:
        key, value = change["job"]
        job[key] = str(tmp_path / value) if key == "output" else value
        change = {"job": json.dumps(job)}
    refused = do_group(told(pipeline, image, **change), 0, 0)
    assert isinstance(refused, JobError)
    assert re.search(words, str(refused))
    assert not any((tmp_path / "a.ome.zarr" / "0" / "c").rglob("*"))


def test_a_cluster_without_workers_is_waited_for(image, tmp_path):
    """And never taken for one that has done all."""

    class Empty:
        status = "running"

        def nthreads(self):
            return {}

    pipeline = begun(image, tmp_path / "a.ome.zarr")
    tasks = TaskQueue(Empty(), pipeline.job, pipeline.journal, None)
    assert tasks.fill()
    assert list(tasks.finished()) == []
    assert tasks.fill()


def test_all_workers_may_be_replaced(cluster, image, tmp_path):
    before = workers(cluster)
    pipeline = prepare(cluster, image, tmp_path / "a.ome.zarr").pipeline
    for event in pipeline.run():
        if isinstance(event, Progress) and event.done == 3:
            for worker in before:
                os.kill(worker, signal.SIGKILL)
    assert isinstance(event, Finished)
    assert fingerprint(tmp_path / "a.ome.zarr") == alone(image, tmp_path / "b.ome.zarr")
    cluster.client.wait_for_workers(2, timeout=120)
    assert not set(before) & set(workers(cluster))


def test_nothing_is_held_once_a_job_is_done(cluster, image, tmp_path):
    list(prepare(cluster, image, tmp_path / "a.ome.zarr").pipeline.run())
    held = cluster.client.run(lambda: (remote._RUNNERS._pipeline, remote._RUNNERS.runs))
    assert list(held.values()) == [(None, {})] * len(held)


def test_a_scheduler_that_is_gone_is_said_in_a_line(image, tmp_path):
    with Cluster.local(1, threads=1) as own:
        pipeline = prepare(own, image, tmp_path / "a.ome.zarr").pipeline
        events = pipeline.run()
        assert next(event for event in events if isinstance(event, Progress) and event.done == 3)
        own._local.close()
        with pytest.raises(JobError, match=r"the cluster is gone .*--resume"):
            list(events)
    assert isinstance(list(begun(image, tmp_path / "a.ome.zarr", resume=True).run())[-1], Finished)


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (lambda image: open_image(np.zeros((40, 40), np.uint8), axes="YX"), OPTIONS, "in memory"),
        (open_image, replace(OPTIONS, precision="auto"), "'auto' are measured on one device"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused_before_anything_is_written(cluster, image, tmp_path, make, options, words):
    model = image.parent / "tiny.safetensors"
    with pytest.raises(JobError, match=words):
        prepare_file_on(cluster, make(image), tmp_path / "a.ome.zarr", model=model, options=options, device="cpu")
    assert not list(tmp_path.glob("a.ome.zarr*"))


def test_no_scheduler_and_no_workers_are_named():
    with pytest.raises(JobError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"):
        Cluster.connect("tcp://127.0.0.1:9")
    with pytest.raises(JobError, match="--workers is 0"):
        Cluster.local(0)
