"""Settings of the host program: its torch defaults, its random numbers, and the memory that it leaves."""

import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np, torch
import masked_denoiser as md

image = np.random.default_rng(0).normal(100, 10, (96, 96)).clip(0, 255).astype(np.uint8)
{setting}
torch.manual_seed(0)
state = torch.get_rng_state()
out = md.denoise(image, axes="YX", device="cpu", model="{model}", noise="none")
assert torch.equal(state, torch.get_rng_state())
print(out.dtype, out.sum())
"""

LITTLE_MEMORY = """
import resource
import numpy as np, torch
from masked_denoiser.errors import DeviceError
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.models.catalogue import load_model

torch.set_num_threads(1)
runner = ModelRunner(load_model("general-gray"), torch.device("cpu"))
tiles = np.full((1, 1, 576, 576), 0.5, np.float32)
expected = runner(tiles[..., :64, :64], ((0, 0),)).mean
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {free} * 2**20,) * 2)
try:
    runner(tiles, ((0, 0),))
except DeviceError:
    pass
else:
    assert "ran out of memory" in runner.take_messages()[0]
"""


def _run(program):
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("model", ["general-gray", "paper-rgb"])
def test_torch_defaults_of_the_host_have_no_effect(model):
    changed = "torch.set_default_dtype(torch.float64); torch.set_default_device('meta')"
    assert _run(PROGRAM.format(setting=changed, model=model)) == _run(PROGRAM.format(setting="pass", model=model))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
@pytest.mark.parametrize("free", [10, 130])
def test_exhausted_memory_is_recognised(free):
    # The limits reach NumPy, torch's allocator and oneDNN, each of which reports it in another way.
    _run(LITTLE_MEMORY.format(free=free))
