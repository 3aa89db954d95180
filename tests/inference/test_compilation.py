"""`--compile`: reported, equal up to rounding, with a clear error where there is no compiler."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import nn

from masked_denoiser.errors import DeviceError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.inference.compilation import compilable_layers, compile_network
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.catalogue import load_model

CPU = torch.device("cpu")
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


def run(model, **settings):
    messages = []
    options = Options(noise="none", tile=64, **settings)
    source = open_image(IMAGE, axes="YXS")
    prepared = prepare_array(source, model=model, options=options, device="cpu", report=messages.append)
    list(prepared.pipeline.run())
    return prepared, messages


def assert_same_after_compiling(model):
    (plain, plain_messages), (compiled, messages) = run(model), run(model, compiled=True)
    difference = compiled.pipeline.sink.array.astype(int) - plain.pipeline.sink.array
    assert np.abs(difference).max() <= 1
    assert plain_messages == []
    assert ["compiling the network" in messages[0], "compiled in" in messages[1]] == [True, True]
    assert plain.job.digest != compiled.job.digest


@pytest.mark.filterwarnings("ignore")
def test_traced_network_matches_eager_and_is_reported():
    """Trace as torch.compile does, but run eagerly, without a compiler."""
    model = tiny_model(3)
    compiled, original_compile = [], nn.Module.compile
    with patch.object(
        nn.Module,
        "compile",
        lambda layer, **kwargs: compiled.append(layer) or original_compile(layer, backend="eager", **kwargs),
    ):
        assert_same_after_compiling(model)
    assert len(compiled) == len(compilable_layers(model.build())) > 2


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_compiled_network_matches_eager():
    assert_same_after_compiling(load_model("general-rgb"))


def test_missing_compiler_raises_before_the_job_starts():
    from torch._inductor.exc import InductorError, InvalidCxxCompiler

    assert issubclass(InductorError, RuntimeError)

    def compile_(layer, **kwargs):
        layer.forward = lambda *args: (_ for _ in ()).throw(InvalidCxxCompiler())

    messages = []
    with patch.object(nn.Module, "compile", compile_), pytest.raises(DeviceError, match=r"cannot be compiled.*g\+\+"):
        compile_network(ModelRunner(tiny_model(3), CPU), 1, messages.append)
    assert len(messages) == 1
