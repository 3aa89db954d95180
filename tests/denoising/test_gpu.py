from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from masked_denoiser.errors import JobError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.inference.device import choose_device
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.inference.transfer import to_device, to_host
from masked_denoiser.jobs.api import denoise
from masked_denoiser.jobs.spec.options import Options


@pytest.mark.gpu
@pytest.mark.parametrize("batch", [1, 4])
def test_the_gpu_computes_what_the_cpu_computes(batch):
    image = np.random.default_rng(0).random((200, 136, 3), dtype=np.float32)
    device, _ = choose_device("auto")
    assert device.type != "cpu"

    def run(kind):
        options = Options(noise="none", tile=64, batch=batch, passes=2)
        return denoise(image, model=tiny_model(), axes="YXS", device=kind, options=options)

    assert np.abs(run(device.type) - run("cpu")).max() <= 1e-4


@pytest.mark.gpu
def test_work_that_is_given_ahead_is_as_that_which_is_waited_for():
    """Several batches in flight, results fetched last and by another thread."""
    device, _ = choose_device("auto")
    tiles = np.random.default_rng(0).random((6, 2, 3, 64, 64), dtype=np.float32)
    origins = ((0, 0), (0, 64))
    denoiser = ModelRunner(tiny_model(), device, passes=2, std=True)
    wanted = [denoiser(batch, origins) for batch in tiles]
    coming = [denoiser.submit(batch, origins) for batch in tiles.copy()]
    with ThreadPoolExecutor(1) as other:
        for want, got in zip(wanted, other.map(lambda pending: pending(), coming), strict=True):
            np.testing.assert_array_equal(got.mean, want.mean)
            np.testing.assert_array_equal(got.std, want.std)


@pytest.mark.gpu
def test_pixels_may_change_once_they_are_given():
    device, _ = choose_device("auto")
    pixels = np.ones((64, 1024, 1024), np.float32)
    there = to_device(pixels, device)
    pixels[:] = 0
    assert (to_host(there)() == 1).all()


def test_a_gpu_that_is_not_there_is_refused_and_auto_says_what_it_takes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(JobError, match="'cuda' cannot be used by torch"):
        choose_device("cuda")
    device, messages = choose_device("auto")
    assert device.type == "cpu"
    assert "no GPU" in messages
