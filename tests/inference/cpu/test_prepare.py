"""Networks with fused kernels, compared with the layers that are trained."""

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.inference.cpu import kernels, prepare
from masked_denoiser.inference.cpu.kernels import unavailable_reason
from masked_denoiser.inference.cpu.prepare import prepare_for_cpu
from masked_denoiser.inference.cpu.threads import run_in_threads
from masked_denoiser.inference.runner import ModelRunner, precision_context
from masked_denoiser.models.catalogue import load_model
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.masks import HashedTokenMask
from masked_denoiser.network.swin import MaskedSwin
from masked_denoiser.network.ushape import MaskedU
from masked_denoiser.network.ushape_config import UConfig

CPU = torch.device("cpu")
SWIN = SwinConfig(embed=24, depths=(2, 3), heads=(2, 4), attention_mask=0.75)
U = UConfig(widths=(8, 16), blocks=(1, 1), attention=3, heads=2, noise_map=True, limit=5.0)
CONFIGS = {
    "masked": SWIN,
    "few masked tokens": replace(SWIN, attention_mask=0.3),
    "no mask": replace(SWIN, attention_mask=0.0),
    "SwinIR": replace(SWIN, first_kernel=3, global_skip=True, body_skip=True, residual="1conv", qkv_bias=False),
    "U": U,
    "masked U": replace(U, attention_mask=0.75, channels=1, mean=(0.5,)),
    "plain U": replace(U, noise_map=False, limit=0.0, unshuffle=2),
}

pytestmark = pytest.mark.skipif(
    bool(kernels.unavailable_reason(torch.float32)), reason=kernels.unavailable_reason(torch.float32)
)


def random_network(config):
    """Return a network all of whose weights are random, also those that start at zero or one."""
    torch.manual_seed(0)
    network = (MaskedSwin if isinstance(config, SwinConfig) else MaskedU)(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def arguments(config, images):
    tokens = HashedTokenMask(config.attention_mask, 3, 1, ((64, 128), (0, 64)))
    more = {} if isinstance(config, SwinConfig) else {"masked": False}
    if getattr(config, "noise_map", False):
        known = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1).expand_as(images[:, :1])
        more["noise"] = torch.cat([0.1 * known, known], dim=1)
    return (tokens if config.attention_mask else None,), more


def run_layers(config):
    """Return a network, its arguments, and its result; most windows of shifted blocks wrap around the small images."""
    network, images = random_network(config), torch.rand(2, config.channels, 32, 64)
    positional, named = arguments(config, images)
    return network, (images, *positional), named, network(images, *positional, **named)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@torch.inference_mode()
def test_fused_network_equals_layers(config):
    network, (images, *positional), named, exact = run_layers(config)
    size = float((exact - images).abs().max())
    fused = prepare_for_cpu(network, torch.float32)(images, *positional, **named)
    assert float((fused - exact).abs().max()) < 2e-5 * size


@pytest.mark.skipif(bool(unavailable_reason(torch.bfloat16)), reason="this CPU has no instructions for bfloat16")
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@torch.inference_mode()
def test_fused_network_rounds_bfloat16_as_layers_do(config):
    network, positional, named, exact = run_layers(config)
    with precision_context(CPU, "bfloat16"):
        rounded = network(*positional, **named).float()
    half = prepare_for_cpu(network, torch.bfloat16)(*positional, **named)
    assert half.dtype == torch.float32
    assert 0 < float((half - exact).square().mean()) < 2 * float((rounded - exact).square().mean())


@torch.inference_mode()
def test_threads_change_nothing_but_rounding():
    network = prepare_for_cpu(random_network(SWIN), torch.float32)
    images = torch.rand(1, 3, 64, 128)
    outs = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        outs.append(network(images, HashedTokenMask(0.75, 0, 0, ((0, 0),))))
        assert torch.get_num_threads() == threads  # the threads of the pool have their own number
    assert all(float((out - outs[0]).abs().max()) < 2e-5 * float(outs[0].abs().max()) for out in outs)


@pytest.mark.parametrize("threads", [1, 3])
def test_first_error_in_threads_is_raised_when_all_have_stopped(threads):
    torch.set_num_threads(threads)
    running, finished = [], []

    def fail_at_four(item):
        running.append(item)
        assert not torch.is_grad_enabled() or threads == 1
        if item == 4:
            raise MemoryError("planted")
        time.sleep(0.01)
        finished.append(item)

    with pytest.raises(MemoryError, match="planted"):
        run_in_threads(fail_at_four, range(100))
    assert sorted(running) == sorted([*finished, 4])
    assert len(finished) < 50
    time.sleep(0.05)
    assert len(running) == len(finished) + 1


def test_masked_pixels_are_refused():
    with pytest.raises(ValueError, match="masked pixels"):
        prepare_for_cpu(random_network(U), torch.float32)(torch.rand(1, 3, 32, 32), masked=True)


def test_layers_are_used_where_kernels_fail(monkeypatch):
    """Kernels whose interface or result has changed are found before they are used."""
    tile = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    fused = ModelRunner(load_model("general-rgb"), CPU)
    assert fused._fused is not None
    expected = fused(tile, ((0, 0),)).mean
    original = kernels.PackedConv.gelu
    for broken in (
        lambda self, x: original(self, x) * 1.01,
        lambda self, x: torch.ops.mkldnn._no_such_operator(x),
        lambda self, x: torch.ops.mkldnn._linear_pointwise(x),
    ):
        monkeypatch.setattr(kernels.PackedConv, "gelu", broken)
        kernels.unavailable_reason.cache_clear()
        runner = ModelRunner(load_model("general-rgb"), CPU)
        assert runner._fused is None
        np.testing.assert_allclose(runner(tile, ((0, 0),)).mean, expected, atol=1e-5)
    kernels.unavailable_reason.cache_clear()


def test_networks_that_have_no_fused_version_keep_their_layers():
    network = random_network(U)
    assert prepare.prepare_for_cpu(network, torch.float16) is None
    assert prepare.prepare_for_cpu(torch.nn.Identity(), torch.float32) is None
    assert ModelRunner(tiny_model(1), CPU, precision="float16")._fused is None


def test_process_ends_if_the_system_allows_no_more_threads():
    code = """
import threading, torch
from masked_denoiser.inference.cpu.threads import run_in_threads
original, started = threading.Thread.start, []
def start(thread):
    if len(started) == 2:
        raise RuntimeError("can't start new thread")
    started.append(thread)
    original(thread)
threading.Thread.start = start
torch.set_num_threads(4)
done = []
run_in_threads(done.append, range(5))
assert done == [0, 1, 2, 3, 4] and torch.get_num_threads() == 4
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
