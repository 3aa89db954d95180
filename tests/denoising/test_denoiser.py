"""A denoiser in little memory, and in half precision."""

import json
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
import torch
from tifffile import imread
from torch import nn

from masked_denoiser.errors import DeviceError
from masked_denoiser.evaluation.metrics import psnr
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.inference import measurement_cache as remembered
from masked_denoiser.inference import runner as denoising
from masked_denoiser.inference import tune_precision as fastest
from masked_denoiser.inference.memory_limits import Limits
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.inference.tune_precision import resolve_precision
from masked_denoiser.jobs.api import denoise
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.runner_factory import create_runner
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.messages import Message
from masked_denoiser.models.catalogue import load_model
from masked_denoiser.network.block import SwinBlock
from masked_denoiser.samples import sample_path

CPU = torch.device("cpu")


def small_memory(denoiser, pixels, words="CUDA out of memory. Tried to allocate 20 MiB"):
    """The denoiser's device holds this many pixels; sizes that it was given are returned."""
    seen, network = [], denoiser.network

    def run(images, tokens):
        if images[:, 0].numel() > pixels:
            raise RuntimeError(words)
        seen.append(tuple(images.shape))
        return network(images, tokens)

    denoiser.network = run
    return seen


def test_memory_that_runs_out_halves_the_batch_then_the_tile_and_is_remembered():
    tiles = np.random.default_rng(0).random((4, 1, 128, 128), np.float32)
    origins = ((0, 0), (0, 128), (128, 0), (128, 128))
    wanted = ModelRunner(tiny_model(1), CPU)(tiles, origins).mean
    denoiser = ModelRunner(tiny_model(1), CPU)
    seen = small_memory(denoiser, 2 * 128 * 128)
    np.testing.assert_allclose(denoiser(tiles, origins).mean, wanted, atol=1e-6)
    assert denoiser.messages == ["memory ran out on cpu: from now on 2 tiles at once"]
    assert {shape[0] for shape in seen} == {2}
    seen = small_memory(denoiser, 112 * 112)
    denoiser(tiles, origins)
    assert [s.split(": ")[1].split(", which")[0] for s in denoiser.messages[1:]] == [
        "from now on 1 tile at once",
        "from now on tiles are denoised one by one, in parts of at most 72 x 72 pixels",
    ]
    assert denoiser.limits == Limits(1, 72)
    messages = len(denoiser.messages)
    denoiser(tiles, origins)
    assert len(denoiser.messages) == messages  # it is remembered
    assert max(shape[2] for shape in seen) <= 112


def test_parts_of_a_tile_are_those_of_the_whole():
    """With all the context that they need, parts have the pixels of the whole tile: masks are those of the image."""
    tiles = np.random.default_rng(0).random((1, 1, 160, 144), np.float32)
    wanted = ModelRunner(tiny_model(1), CPU)(tiles, ((64, 32),)).mean
    denoiser = ModelRunner(tiny_model(1), CPU)
    denoiser.limits = Limits(1, 112)
    np.testing.assert_allclose(denoiser(tiles, ((64, 32),)).mean, wanted, atol=1e-5)


def test_no_memory_at_all_and_other_errors_come_out():
    tiles = np.zeros((1, 1, 64, 64), np.float32)
    denoiser = ModelRunner(tiny_model(1), CPU)
    small_memory(denoiser, 10)
    with pytest.raises(DeviceError, match="too little memory for a tile of 64 x 64"):
        denoiser(tiles, ((0, 0),))
    denoiser = ModelRunner(tiny_model(1), CPU)
    small_memory(denoiser, 10, "device-side assert triggered")
    with pytest.raises(RuntimeError, match="assert"):
        denoiser(tiles, ((0, 0),))


def job_of(image, pixels, **settings):
    """A job on a device that holds so many pixels: its result, what it said, and the shapes that the network saw."""
    options = Options(noise="none", tile=96, halo=0, batch=4, **settings)
    prepared = prepare_array(open_image(image, axes="YX"), model=tiny_model(1), options=options, device="cpu")
    seen = small_memory(prepared.pipeline.denoiser, pixels)
    messages = [event.text for event in prepared.pipeline.run() if isinstance(event, Message)]
    return prepared.pipeline.sink.array, messages, seen


def test_a_job_goes_on_with_less_and_says_so_and_the_next_begins_there(measured, monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (96, 384)).astype(np.uint8)
    monkeypatch.setattr("masked_denoiser.jobs.runner_factory.free_memory", lambda device: free)
    free = 1000
    whole = denoise(image, model=tiny_model(1), axes="YX", device="cpu", options=Options(noise="none", tile=96, halo=0))
    first, second = job_of(image, 2 * 96 * 96), job_of(image, 2 * 96 * 96)
    assert "memory ran out on cpu: from now on 2 tiles at once" in first[1]
    assert "in an earlier job of this kind, so this one begins with less: 2 tiles at once" in " ".join(second[1])
    assert {shape[0] for shape in second[2]} == {2}
    np.testing.assert_array_equal(first[0], whole)
    np.testing.assert_array_equal(second[0], whole)
    free = 2000  # than was free when memory ran out: all is tried again
    assert {shape[0] for shape in job_of(image, 10**9)[2]} == {4}
    free = 1000
    for damaged in ({"at_once": -1, "side": None, "free": 9**9}, {"at_once": "2"}, 7):
        measured.write_text(json.dumps(dict.fromkeys(json.loads(measured.read_text()), damaged)))
        assert {shape[0] for shape in job_of(image, 10**9)[2]} == {4}


def test_a_resumed_job_begins_with_the_limits_it_is_given():
    source = open_image(np.zeros((64, 64), np.uint8), axes="YX")
    job = prepare_array(source, model=tiny_model(1), options=Options(noise="none"), device="cpu").job
    denoiser = create_runner(tiny_model(1), CPU, job, say=print, limits=Limits(1, 40))
    assert denoiser.limits == Limits(1, 40)
    assert "when this job was interrupted" in denoiser.messages[0]


def test_the_cpu_takes_over_only_if_asked_to(monkeypatch):
    """The GPU is one in name only: what goes to it stays where it is, and none of it fits."""
    monkeypatch.setattr(denoising, "to_device", lambda pixels, device: torch.from_numpy(pixels))
    tiles = np.random.default_rng(0).random((2, 3, 64, 64), np.float32)
    origins = ((0, 0), (0, 64))
    wanted = ModelRunner(load_model("general-rgb"), CPU)(tiles, origins).mean

    def on_gpu(**settings):
        denoiser = ModelRunner(load_model("general-rgb"), CPU, **settings)
        denoiser.device, network = torch.device("cuda"), denoiser.network

        def run(images, tokens, **more):
            if denoiser.device.type == "cuda":
                raise torch.OutOfMemoryError("CUDA out of memory")
            return network(images, tokens, **more)

        run.to = lambda device: run
        denoiser.network = run
        return denoiser

    with pytest.raises(DeviceError, match=r"too little memory .* --cpu-as-last-resort"):
        on_gpu()(tiles, origins)
    denoiser = on_gpu(or_cpu=True)
    np.testing.assert_array_equal(denoiser(tiles, origins).mean, wanted)
    assert "from now on the CPU computes" in denoiser.messages[-1]
    assert (denoiser.device, denoiser.limits) == (CPU, Limits())


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["paper-rgb", "general-rgb"])
def test_half_precision_loses_next_to_nothing(name, half):
    clean = np.moveaxis(imread(sample_path("slide-clean"))[:128, :128], 2, 0)[None] / np.float32(255)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 15 / 255, clean.shape), 0, 1).astype(np.float32)
    model = load_model(name)
    exact, rounded = (
        psnr(np.clip(ModelRunner(model, CPU, precision=p)(noisy, ((0, 0),)).mean, 0, 1), clean)
        for p in ("float32", half)
    )
    assert exact > psnr(noisy, clean) + 2
    assert exact - rounded <= 0.02


def test_what_matters_stays_in_float32():
    """In half precision: what goes into each norm and comes out, the residual path, and every softmax."""
    denoiser = ModelRunner(load_model("paper-rgb"), CPU, precision="bfloat16")
    seen = {}
    for name, module in denoiser.network.named_modules():
        if isinstance(module, SwinBlock | nn.LayerNorm | nn.Linear):
            note = partial(lambda name, _module, given, out: seen.update({name: (given[0].dtype, out.dtype)}), name)
            module.register_forward_hook(note)
    kinds = []
    softmax = torch.Tensor.softmax
    with patch.object(torch.Tensor, "softmax", lambda x, dim: kinds.append(x.dtype) or softmax(x, dim=dim)):
        denoiser(np.full((1, 3, 32, 32), 0.5, np.float32), ((0, 0),))
    for name, dtypes in seen.items():
        if name.endswith(("qkv", "proj", "fc1", "fc2")):
            assert dtypes[1] == torch.bfloat16
        else:
            assert dtypes == (torch.float32, torch.float32), name
    assert set(kinds) == {torch.float32}


def test_auto_precision_is_measured_once_and_remembered(measured, tmp_path, monkeypatch):
    times = {"float32": 1.0, "bfloat16": 0.5}
    monkeypatch.setattr(fastest, "_seconds", lambda model, device, kind: times[kind])
    model = tiny_model(1)
    chosen, messages = resolve_precision("auto", model, CPU)
    assert (chosen, "bfloat16 2.0x" in messages) == ("bfloat16", True)
    times["bfloat16"] = 2.0
    assert resolve_precision("auto", model, CPU)[0] == "bfloat16"
    for damaged in ("{", "[]", '{"precision": 3}'):
        measured.write_text(damaged)
        assert resolve_precision("auto", model, CPU)[0] == "float32"
    assert list(json.loads(measured.read_text()).values()) == [3, "float32"]
    times["bfloat16"] = 0.9  # not worth it
    assert resolve_precision("auto", tiny_model(3), CPU)[0] == "float32"
    assert resolve_precision("float16", model, CPU) == ("float16", "")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(remembered, "_file", lambda: tmp_path / "file" / "measured.json")
    assert "cannot be written" in resolve_precision("auto", model, CPU)[1]


def test_precision_is_a_part_of_the_job():
    image = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    source = open_image(image, axes="YX")
    both = [
        prepare_array(source, model=tiny_model(1), options=Options(noise="none", precision=p), device="cpu")
        for p in ("float32", "bfloat16")
    ]
    assert both[0].job.digest != both[1].job.digest
    assert both[1].pipeline.denoiser.precision == "bfloat16"
