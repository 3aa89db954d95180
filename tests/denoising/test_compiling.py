"""`--compile`: said, equal to rounding, and a clear end where there is no compiler."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import nn

from masked_denoiser.errors import DeviceError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.inference.compilation import compile_network, layers_of
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.catalogue import load_model

CPU = torch.device("cpu")
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


def run(model, **settings):
    said = []
    options = Options(noise="none", tile=64, **settings)
    source = open_image(IMAGE, axes="YXS")
    prepared = prepare_array(source, model=model, options=options, device="cpu", say=said.append)
    list(prepared.pipeline.run())
    return prepared, said


def same_after_compiling(model):
    (plain, nothing), (compiled, said) = run(model), run(model, compiled=True)
    difference = compiled.pipeline.sink.array.astype(int) - plain.pipeline.sink.array
    assert np.abs(difference).max() <= 1
    assert nothing == []
    assert ["compiling the network" in said[0], "compiled in" in said[1]] == [True, True]
    assert plain.job.digest != compiled.job.digest


@pytest.mark.filterwarnings("ignore")
def test_what_is_traced_computes_the_same_and_is_said():
    """Traced as torch.compile does, run without a compiler."""
    model = tiny_model(3)
    compiled, whole = [], nn.Module.compile
    with patch.object(
        nn.Module, "compile", lambda layer, **how: compiled.append(layer) or whole(layer, backend="eager", **how)
    ):
        same_after_compiling(model)
    assert len(compiled) == len(layers_of(model.build())) > 2


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_what_is_compiled_computes_the_same():
    same_after_compiling(load_model("general-rgb"))


def test_without_a_compiler_a_job_ends_before_it_begins():
    from torch._inductor.exc import InductorError, InvalidCxxCompiler

    assert issubclass(InductorError, RuntimeError)

    def compile_(layer, **how):
        layer.forward = lambda *given: (_ for _ in ()).throw(InvalidCxxCompiler())

    said = []
    with patch.object(nn.Module, "compile", compile_), pytest.raises(DeviceError, match=r"cannot be compiled.*g\+\+"):
        compile_network(ModelRunner(tiny_model(3), CPU), 1, said.append)
    assert len(said) == 1
