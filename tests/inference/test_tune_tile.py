"""`--tile auto`: measurement, choice and reuse of the tile size."""

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
from masked_denoiser.inference import tune_tile
from masked_denoiser.inference.tune_tile import Probe, Size, choose_size
from masked_denoiser.jobs.api import denoise
from masked_denoiser.jobs.pipeline.events import Cancelled, TileDone
from masked_denoiser.jobs.prepare import prepare_array, prepare_file
from masked_denoiser.jobs.spec import tile_size
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.tile_size import resolve_tile

CPU = torch.device("cpu")
AUTO = Options(tile="auto", noise="none")


@given(st.lists(st.none() | st.floats(0.01, 100), min_size=1, max_size=5))
def test_chosen_size_gains_speed_at_each_step(speeds):
    sizes = [Size(64 * (i + 1), 1) for i in range(len(speeds))]
    best, measured = choose_size(sizes, lambda size: speeds[sizes.index(size)])
    index = sizes.index(best)
    assert all(later >= 1.03 * before for before, later in pairwise(speeds[: index + 1]))
    beyond = speeds[index + 1] if index + 1 < len(speeds) else None
    assert speeds[index] is None or beyond is None or beyond < 1.03 * speeds[index]
    assert list(measured) == sizes[: len(measured)]


def fake_gpu(monkeypatch, speeds):
    """Simulate a device with these speeds in megapixels per second; return the list of sizes that were tried."""
    tried = []
    monkeypatch.setattr(Probe, "__post_init__", lambda probe: None)
    monkeypatch.setattr(Probe, "speed", lambda probe, size: tried.append(size) or speeds.get((size.tile, size.batch)))
    monkeypatch.setattr(tile_size, "identify", str)
    monkeypatch.setattr(tile_size, "describe", str)
    return tried


def test_gpu_tuning_is_reported_and_cached(monkeypatch, measured):
    speeds = {(256, 1): 1, (512, 1): 2, (1024, 1): 2.01, (512, 2): 3, (512, 4): 3.5}  # 8 at once: no memory
    tried, messages = fake_gpu(monkeypatch, speeds), []
    resolved = resolve_tile(AUTO, tiny_model(), torch.device("cuda"), "float32", messages.append)
    assert resolved == replace(AUTO, tile=512, batch=4)
    assert "measuring" in messages[0]
    assert "512 x 512, 4 at a time: 3.5" in messages[1]
    assert str(measured) in messages[1]
    count = len(tried)
    assert resolve_tile(AUTO, tiny_model(), torch.device("cuda"), "float32", messages.append) == resolved
    assert (len(tried), "measured to be the fastest" in messages[2]) == (count, True)
    for other in (replace(AUTO, halo=0), replace(AUTO, batch=3)):
        resolve_tile(other, tiny_model(), torch.device("cuda"), "float32", messages.append)
    assert resolve_tile(AUTO, tiny_model(1), torch.device("cuda"), "bfloat16", messages.append).tile == 512
    assert len(json.loads(measured.read_text())) == 3  # not that of 3 at a time, for which there is no speed
    damaged = {key: [512, -1] for key in json.loads(measured.read_text())}
    measured.write_text(json.dumps(damaged))
    assert resolve_tile(AUTO, tiny_model(), torch.device("cuda"), "float32", messages.append) == resolved
    assert resolve_tile(Options(), tiny_model(), torch.device("cuda"), "float32", messages.append) == Options()


def test_probe_respects_memory_and_time(monkeypatch):
    probe = Probe(tiny_model(), CPU, "float32", 8)
    assert probe.speed(Size(64, 1)) > 0
    assert probe.speed(Size(2**16, 1)) is None  # would take hours, and terabytes
    monkeypatch.setattr(tune_tile, "free_memory", lambda device: 1000)
    assert Probe(tiny_model(), CPU, "float32", 8).speed(Size(64, 1)) is None
    monkeypatch.undo()
    probe._runner.use_layers()
    probe._runner.network = lambda images, tokens: (
        (_ for _ in ()).throw(torch.OutOfMemoryError("out of memory")) if (len(images) > 1) else images
    )
    assert probe.speed(Size(64, 2)) is None


def test_resume_keeps_autotuned_tile(tmp_path, monkeypatch):
    sizes = [[64, 2]]
    monkeypatch.setattr(tile_size, "recall", lambda key: sizes[0])
    pixels = np.random.default_rng(0).integers(0, 256, (192, 192)).astype(np.uint8)
    assert prepare_array(open_image(pixels, axes="YX"), model=tiny_model(1), device="cpu").job.tile == 512
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    output = tmp_path / "out.ome.zarr"

    def prepared(**kwargs):
        return prepare_file(source, output, model=tiny_model(1), options=AUTO, device="cpu", **kwargs)

    with open_image(tmp_path / "in.tif") as source:
        first = prepared()
        assert (first.job.tile, first.job.batch) == (64, 2)
        for event in first.pipeline.run():
            if isinstance(event, TileDone):
                first.pipeline.cancel.set()
        assert isinstance(event, Cancelled)
        sizes[0] = [128, 1]
        resumed = prepared(resume=True)
        assert (resumed.job.tile, resumed.job.batch) == (64, 2)
        list(resumed.pipeline.run())
    whole = denoise(pixels, model=tiny_model(1), axes="YX", device="cpu", tile=64, batch=2, noise="none")
    with open_image(output) as result:
        np.testing.assert_array_equal(np.asarray(result.data[:]), whole)


def test_non_numeric_tile_is_refused():
    with pytest.raises(JobError, match="tile is 'big'"):
        denoise(np.zeros((32, 32), np.uint8), model=tiny_model(1), axes="YX", device="cpu", tile="big")


def test_slow_device_keeps_default_tile_uncached(monkeypatch, measured):
    monkeypatch.setattr(Probe, "_times", lambda *_: [100.0, 100.0])  # as a very slow device would take
    messages = []
    options = Options(tile="auto", halo=8)
    resolved = resolve_tile(options, tiny_model(1), CPU, "float32", messages.append)
    assert resolved.tile == Options().tile
    assert "too slow to compare" in messages[-1]
    assert not measured.exists()


def test_lack_of_memory_is_not_cached(monkeypatch, measured):
    """Later jobs, with more memory, measure."""
    messages = []
    fake_gpu(monkeypatch, {})
    assert resolve_tile(AUTO, tiny_model(), torch.device("cuda"), "float32", messages.append).tile == 256
    assert "too little memory to measure; using tiles of 256" in messages[-1]
    assert not measured.exists()
