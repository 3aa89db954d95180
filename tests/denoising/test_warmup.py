"""`--tile auto`: what is measured, what is chosen, and who may use it."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.errors import JobError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.inference import tune_tile as warmup
from masked_denoiser.inference.tune_tile import Probe, Size, choose_size
from masked_denoiser.jobs.api import denoise
from masked_denoiser.jobs.pipeline.events import Cancelled, TileDone
from masked_denoiser.jobs.prepare import prepare_array, prepare_file
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.tile_size import resolve_tile

CPU = torch.device("cpu")
AUTO = Options(tile="auto", noise="none")


@given(st.lists(st.none() | st.floats(0.01, 100), min_size=1, max_size=5))
def test_what_is_chosen_is_worth_each_step_to_it(speeds):
    sizes = [Size(64 * (i + 1), 1) for i in range(len(speeds))]
    best, measured = choose_size(sizes, lambda size: speeds[sizes.index(size)])
    at = sizes.index(best)
    assert all(later >= 1.03 * before for before, later in pairwise(speeds[: at + 1]))
    beyond = speeds[at + 1] if at + 1 < len(speeds) else None
    assert speeds[at] is None or beyond is None or beyond < 1.03 * speeds[at]
    assert list(measured) == sizes[: len(measured)]


def fake_gpu(monkeypatch, speeds):
    """A device with these megapixels a second; the sizes that are tried are returned."""
    tried = []
    monkeypatch.setattr(Probe, "__post_init__", lambda probe: None)
    monkeypatch.setattr(Probe, "speed", lambda probe, size: tried.append(size) or speeds.get((size.tile, size.batch)))
    monkeypatch.setattr(warmup, "identify", str)
    monkeypatch.setattr(warmup, "describe", str)
    return tried


def test_on_a_gpu_batches_follow_tiles_and_all_is_said_and_remembered(monkeypatch, measured):
    speeds = {(256, 1): 1, (512, 1): 2, (1024, 1): 2.01, (512, 2): 3, (512, 4): 3.5}  # 8 at once: no memory
    tried, said = fake_gpu(monkeypatch, speeds), []
    got = resolve_tile(AUTO, tiny_model(), torch.device("cuda"), "float32", said.append)
    assert got == replace(AUTO, tile=512, batch=4)
    assert "measuring" in said[0]
    assert "512 x 512, 4 at once: 3.5" in said[1]
    assert str(measured) in said[1]
    count = len(tried)
    assert resolve_tile(AUTO, tiny_model(), torch.device("cuda"), "float32", said.append) == got
    assert (len(tried), "measured to be the fastest" in said[2]) == (count, True)
    for other in (replace(AUTO, halo=0), replace(AUTO, batch=3)):
        resolve_tile(other, tiny_model(), torch.device("cuda"), "float32", said.append)
    assert resolve_tile(AUTO, tiny_model(1), torch.device("cuda"), "bfloat16", said.append).tile == 512
    assert len(json.loads(measured.read_text())) == 4
    damaged = {key: [512, -1] for key in json.loads(measured.read_text())}
    measured.write_text(json.dumps(damaged))
    assert resolve_tile(AUTO, tiny_model(), torch.device("cuda"), "float32", said.append) == got
    assert resolve_tile(Options(), tiny_model(), torch.device("cuda"), "float32", said.append) == Options()


def test_a_probe_keeps_within_memory_and_time_and_sees_memory_run_out(monkeypatch):
    probe = Probe(tiny_model(), CPU, "float32", 8)
    assert probe.speed(Size(64, 1)) > 0
    assert probe.speed(Size(2**16, 1)) is None  # would take hours, and terabytes
    monkeypatch.setattr(warmup, "free_memory", lambda device: 1000)
    assert Probe(tiny_model(), CPU, "float32", 8).speed(Size(64, 1)) is None
    monkeypatch.undo()
    probe._denoiser.network = lambda images, tokens: (
        (_ for _ in ()).throw(torch.OutOfMemoryError("out of memory")) if (len(images) > 1) else images
    )
    assert probe.speed(Size(64, 2)) is None


def test_what_was_measured_counts_only_for_jobs_that_ask_and_a_resumed_job_keeps_what_it_began_with(
    tmp_path, monkeypatch
):
    sizes = [[64, 2]]
    monkeypatch.setattr(warmup, "recall", lambda key: sizes[0])
    pixels = np.random.default_rng(0).integers(0, 256, (192, 192)).astype(np.uint8)
    assert prepare_array(open_image(pixels, axes="YX"), model=tiny_model(1), device="cpu").job.tile == 512
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    output = tmp_path / "out.ome.zarr"

    def prepared(**how):
        return prepare_file(source, output, model=tiny_model(1), options=AUTO, device="cpu", **how)

    with open_image(tmp_path / "in.tif") as source:
        first = prepared()
        assert (first.job.tile, first.job.batch) == (64, 2)
        for event in first.pipeline.run():
            if isinstance(event, TileDone):
                first.pipeline.cancel.set()
        assert isinstance(event, Cancelled)
        sizes[0] = [128, 1]
        again = prepared(resume=True)
        assert (again.job.tile, again.job.batch) == (64, 2)
        list(again.pipeline.run())
    whole = denoise(pixels, model=tiny_model(1), axes="YX", device="cpu", tile=64, batch=2, noise="none")
    with open_image(output) as result:
        np.testing.assert_array_equal(np.asarray(result.data[:]), whole)


def test_a_tile_that_is_no_number_is_refused():
    with pytest.raises(JobError, match="tile is 'big'"):
        denoise(np.zeros((32, 32), np.uint8), model=tiny_model(1), axes="YX", device="cpu", tile="big")


def test_where_there_is_no_time_to_compare_the_default_is_taken_and_nothing_kept(monkeypatch, measured):
    monkeypatch.setattr(Probe, "_times", lambda *_: [100.0, 100.0])  # as a very slow device would take
    said = []
    asked = Options(tile="auto", halo=8)
    settled = resolve_tile(asked, tiny_model(1), CPU, "float32", said.append)
    assert settled.tile == Options().tile
    assert "no time to compare" in said[-1]
    assert not measured.exists()
