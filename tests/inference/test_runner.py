"""Model runners with limited memory and in half precision."""

import json
from dataclasses import replace
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
from masked_denoiser.inference import measurement_cache, tune_precision
from masked_denoiser.inference import runner as runner_module
from masked_denoiser.inference.device import computes_bfloat16
from masked_denoiser.inference.memory_limits import MemoryLimits
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.inference.tune_precision import bfloat16_loss
from masked_denoiser.jobs.api import denoise
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.runner_factory import create_runner
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.messages import Message
from masked_denoiser.models.catalogue import load_model
from masked_denoiser.network.block import SwinBlock
from masked_denoiser.samples import sample_path

CPU = torch.device("cpu")


def small_memory(runner, pixels, message="CUDA out of memory. Tried to allocate 20 MiB"):
    """Limit the runner's device to this many pixels, and return the list of image shapes that it processed."""
    seen, network = [], runner.network

    def run(images, tokens):
        if images[:, 0].numel() > pixels:
            raise RuntimeError(message)
        seen.append(tuple(images.shape))
        return network(images, tokens)

    runner.use_layers()
    runner.network = run
    return seen


def test_out_of_memory_halves_batch_then_tile():
    tiles = np.random.default_rng(0).random((4, 1, 128, 128), np.float32)
    origins = ((0, 0), (0, 128), (128, 0), (128, 128))
    expected = ModelRunner(tiny_model(1), CPU)(tiles, origins).mean
    runner = ModelRunner(tiny_model(1), CPU)
    seen = small_memory(runner, 2 * 128 * 128)
    np.testing.assert_allclose(runner(tiles, origins).mean, expected, atol=1e-6)
    assert runner.take_messages() == ["cpu ran out of memory: continuing with 2 tiles at a time"]
    assert {shape[0] for shape in seen} == {2}
    seen = small_memory(runner, 112 * 112)
    runner(tiles[:2], origins[:2])
    assert [s.split(": ")[1].split(", which")[0] for s in runner.take_messages()] == [
        "continuing with 1 tile at a time",
        "continuing with 1 tile at a time, in parts of at most 72 x 72 pixels",
    ]
    assert runner.limits == MemoryLimits(1, 72)
    runner(tiles[:1], origins[:1])
    assert not runner.take_messages()  # the limits are kept
    assert max(shape[2] for shape in seen) <= 112


def test_tile_parts_match_the_whole_tile():
    """Parts with enough context have the pixels of the whole tile: masks depend on the image position."""
    tiles = np.random.default_rng(0).random((1, 1, 160, 144), np.float32)
    expected = ModelRunner(tiny_model(1), CPU)(tiles, ((64, 32),)).mean
    runner = ModelRunner(tiny_model(1), CPU)
    runner.limits = MemoryLimits(1, 112)
    np.testing.assert_allclose(runner(tiles, ((64, 32),)).mean, expected, atol=1e-5)


def test_unrecoverable_device_errors_are_raised():
    tiles = np.zeros((1, 1, 64, 64), np.float32)
    runner = ModelRunner(tiny_model(1), CPU)
    small_memory(runner, 10)
    with pytest.raises(DeviceError, match="too little memory for a tile of 64 x 64"):
        runner(tiles, ((0, 0),))
    runner = ModelRunner(tiny_model(1), CPU)
    small_memory(runner, 10, "device-side assert triggered")
    with pytest.raises(RuntimeError, match="assert"):
        runner(tiles, ((0, 0),))


def job_of(image, pixels, **settings):
    """Run a job on a device limited to `pixels`; return its result, messages and the shapes that the network saw."""
    options = Options(noise="none", tile=96, halo=0, batch=4, **settings)
    prepared = prepare_array(open_image(image, axes="YX"), model=tiny_model(1), options=options, device="cpu")
    seen = small_memory(prepared.pipeline.runner, pixels)
    messages = [event.text for event in prepared.pipeline.run() if isinstance(event, Message)]
    return prepared.pipeline.sink.array, messages, seen


def test_memory_limits_carry_over_to_the_next_job(measured, monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (96, 384)).astype(np.uint8)
    monkeypatch.setattr("masked_denoiser.jobs.runner_factory.free_memory", lambda device: free)
    free = 1000
    whole = denoise(image, model=tiny_model(1), axes="YX", device="cpu", options=Options(noise="none", tile=96, halo=0))
    first, second = job_of(image, 2 * 96 * 96), job_of(image, 2 * 96 * 96)
    assert "cpu ran out of memory: continuing with 2 tiles at a time" in first[1]
    assert "in an earlier job of this kind, so this one begins with less: 2 tiles at a time" in " ".join(second[1])
    assert {shape[0] for shape in second[2]} == {2}
    np.testing.assert_array_equal(first[0], whole)
    np.testing.assert_array_equal(second[0], whole)
    free = 2000  # more than when memory ran out: the limits are dropped
    assert {shape[0] for shape in job_of(image, 10**9)[2]} == {4}
    free = 1000
    for damaged in ({"at_once": -1, "side": None, "free": 9**9}, {"at_once": "2"}, 7):
        measured.write_text(json.dumps(dict.fromkeys(json.loads(measured.read_text()), damaged)))
        assert {shape[0] for shape in job_of(image, 10**9)[2]} == {4}


def test_resumed_job_keeps_memory_limits():
    source = open_image(np.zeros((64, 64), np.uint8), axes="YX")
    job = prepare_array(source, model=tiny_model(1), options=Options(noise="none"), device="cpu").job
    runner = create_runner(tiny_model(1), CPU, job, report=print, limits=MemoryLimits(1, 40))
    assert runner.limits == MemoryLimits(1, 40)
    assert "when this job was interrupted" in runner.take_messages()[0]


def test_cpu_fallback_requires_the_option(monkeypatch):
    """Simulate a GPU on the CPU whose memory is too small for any tile."""
    monkeypatch.setattr(runner_module, "to_device", lambda pixels, device: torch.from_numpy(pixels))
    tiles = np.random.default_rng(0).random((2, 3, 64, 64), np.float32)
    origins = ((0, 0), (0, 64))
    expected = ModelRunner(load_model("general-rgb"), CPU)(tiles, origins).mean

    def on_gpu(**settings):
        runner = ModelRunner(load_model("general-rgb"), CPU, **settings)
        runner.device, network = torch.device("cuda"), runner.network

        def run(images, tokens, **more):
            if runner.device.type == "cuda":
                raise torch.OutOfMemoryError("CUDA out of memory")
            return network(images, tokens, **more)

        run.to = lambda device: run
        runner.use_layers()
        runner.network = run
        return runner

    with pytest.raises(DeviceError, match=r"too little memory .* --cpu-as-last-resort"):
        on_gpu()(tiles, origins)
    runner = on_gpu(cpu_fallback=True)
    np.testing.assert_allclose(runner(tiles, origins).mean, expected, atol=1e-5)  # by layers, not by fused kernels
    assert "continuing on the CPU" in runner.take_messages()[-1]
    assert (runner.device, runner.limits) == (CPU, MemoryLimits())


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["paper-rgb", "general-rgb"])
def test_half_precision_keeps_psnr(name, half):
    clean = np.moveaxis(imread(sample_path("slide-clean"))[:128, :128], 2, 0)[None] / np.float32(255)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 15 / 255, clean.shape), 0, 1).astype(np.float32)
    model = load_model(name)
    exact, rounded = (
        psnr(np.clip(ModelRunner(model, CPU, precision=p)(noisy, ((0, 0),)).mean, 0, 1), clean)
        for p in ("float32", half)
    )
    assert exact > psnr(noisy, clean) + 2
    assert exact - rounded <= 0.02


def test_norms_residuals_and_softmax_stay_in_float32():
    """In half precision, norms, the residual path and every softmax take and return float32."""
    runner = ModelRunner(load_model("paper-rgb"), CPU, precision="bfloat16")
    runner.use_layers()  # hooks are not called by fused kernels
    seen = {}
    for name, module in runner.network.named_modules():
        if isinstance(module, SwinBlock | nn.LayerNorm | nn.Linear):
            hook = partial(lambda name, _module, inputs, out: seen.update({name: (inputs[0].dtype, out.dtype)}), name)
            module.register_forward_hook(hook)
    kinds = []
    softmax = torch.Tensor.softmax
    with patch.object(torch.Tensor, "softmax", lambda x, dim: kinds.append(x.dtype) or softmax(x, dim=dim)):
        runner(np.full((1, 3, 32, 32), 0.5, np.float32), ((0, 0),))
    for name, dtypes in seen.items():
        if name.endswith(("qkv", "proj", "fc1", "fc2")):
            assert dtypes[1] == torch.bfloat16
        else:
            assert dtypes == (torch.float32, torch.float32), name
    assert set(kinds) == {torch.float32}


def test_loss_is_measured_once(measured, tmp_path, monkeypatch):
    losses, calls, reports = {"value": 0.019}, [], []
    monkeypatch.setattr(tune_precision, "measure_loss", lambda *arguments: calls.append(arguments) or losses["value"])
    model = tiny_model(1)
    assert [bfloat16_loss(model, reports.append) for _ in range(2)] == [0.019, 0.019]
    assert len(calls) == 1
    assert "measuring once" in reports[0]
    assert f"bfloat16 loses 0.0190 dB; saved in {measured}" in reports[1]
    losses["value"] = 0.021
    for damaged in ("{", "[]", json.dumps(dict.fromkeys(json.loads(measured.read_text()), "0"))):
        measured.write_text(damaged)
        assert bfloat16_loss(model, reports.append) == 0.021
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(measurement_cache, "_file", lambda: tmp_path / "file" / "measured.json")
    assert bfloat16_loss(model, reports.append) == 0.021
    assert "the next job measures again" in reports[-1]


@pytest.mark.parametrize("name", ["general-rgb", "general-gray"])
def test_default_models_lose_little_in_bfloat16(name):
    assert tune_precision.measure_loss(load_model(name), CPU, "bfloat16") < tune_precision.MAX_LOSS


def test_precision_changes_the_job_digest():
    image = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    source = open_image(image, axes="YX")
    both = [
        prepare_array(source, model=tiny_model(1), options=Options(noise="none", precision=p), device="cpu")
        for p in ("float32", "bfloat16")
    ]
    assert both[0].job.digest != both[1].job.digest
    assert both[1].pipeline.runner.precision == "bfloat16"


@pytest.mark.parametrize(
    ("precision", "remedy"), [("float16", "use --precision float32"), ("float32", "another model")]
)
def test_results_that_are_not_finite_are_errors(precision, remedy):
    """A layer that overflows returned NaN, which was written as black."""
    model = tiny_model(1)
    scale = 1e6 if precision == "float16" else 1e41
    weights = {name: w * scale if name == "conv_last.weight" else w for name, w in model.weights.items()}
    runner = ModelRunner(replace(model, weights=weights), CPU, precision=precision)
    tiles = np.random.default_rng(0).random((1, 1, 64, 64), np.float32)
    with pytest.raises(DeviceError, match=f"NaN or infinity in {precision}; .*{remedy}"):
        runner(tiles, ((0, 0),))


@pytest.mark.parametrize(("capabilities", "fast"), [({0: (8, 0), 1: (7, 5)}, False), ({0: (7, 5), 1: (8, 0)}, True)])
def test_bfloat16_is_decided_for_the_gpu_of_the_job(capabilities, fast, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capabilities[device.index])
    monkeypatch.setattr(torch.version, "hip", None)
    assert computes_bfloat16(torch.device("cuda:1")) == fast
