import numpy as np
import pytest
import torch

from masked_denoiser.denoising.check import tiny_model
from masked_denoiser.denoising.device import choose_device
from masked_denoiser.denoising.job import JobError, Options
from masked_denoiser.denoising.prepare import denoise


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


def test_a_gpu_that_is_not_there_is_refused_and_auto_says_what_it_takes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(JobError, match="'cuda' is not available"):
        choose_device("cuda")
    device, said = choose_device("auto")
    assert device.type == "cpu"
    assert "no GPU" in said
