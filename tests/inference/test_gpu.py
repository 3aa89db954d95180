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
def test_gpu_matches_cpu(batch):
    image = np.random.default_rng(0).random((200, 136, 3), dtype=np.float32)
    device, _ = choose_device("auto")
    assert device.type != "cpu"

    def run(kind):
        options = Options(noise="none", tile=64, batch=batch, passes=2)
        return denoise(image, model=tiny_model(), axes="YXS", device=kind, options=options)

    assert np.abs(run(device.type) - run("cpu")).max() <= 1e-4


@pytest.mark.gpu
def test_submitted_batches_match_synchronous_calls():
    """Submit several batches ahead and fetch the results in another thread."""
    device, _ = choose_device("auto")
    tiles = np.random.default_rng(0).random((6, 2, 3, 64, 64), dtype=np.float32)
    origins = ((0, 0), (0, 64))
    runner = ModelRunner(tiny_model(), device, passes=2, std=True)
    expected = [runner(batch, origins) for batch in tiles]
    pending_results = [runner.submit(batch, origins) for batch in tiles.copy()]
    with ThreadPoolExecutor(1) as pool:
        for expected_result, result in zip(expected, pool.map(lambda pending: pending(), pending_results), strict=True):
            np.testing.assert_array_equal(result.mean, expected_result.mean)
            np.testing.assert_array_equal(result.std, expected_result.std)


@pytest.mark.gpu
def test_host_buffer_may_be_reused_after_transfer():
    device, _ = choose_device("auto")
    pixels = np.ones((64, 1024, 1024), np.float32)
    transferred = to_device(pixels, device)
    pixels[:] = 0
    assert (to_host(transferred)() == 1).all()


def test_missing_gpu_is_refused_and_auto_reports_fallback(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(JobError, match="'cuda' cannot be used by torch"):
        choose_device("cuda")
    device, messages = choose_device("auto")
    assert device.type == "cpu"
    assert "no GPU" in messages
