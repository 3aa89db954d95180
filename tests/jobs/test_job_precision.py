"""Precision "auto" of jobs, and jobs in bfloat16."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from masked_denoiser.denoising.noise_treatment import IDENTITY
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.inference.cpu.kernels import unavailable_reason
from masked_denoiser.jobs import job_precision
from masked_denoiser.jobs.api import denoise
from masked_denoiser.jobs.job_precision import choose_precision
from masked_denoiser.jobs.lazy.denoise_lazy import denoise_lazy
from masked_denoiser.jobs.pipeline.events import Finished, TileDone
from masked_denoiser.jobs.prepare import prepare_array, prepare_file
from masked_denoiser.jobs.resolve_job import resolve_job
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.catalogue import load_model

STRONG = (0.0, (15 / 255) ** 2, 0.0, 0.0)
WEAK = (0.0, (2 / 255) ** 2, 0.0, 0.0)


@pytest.fixture
def fast(monkeypatch):
    """Simulate a processor that has instructions for bfloat16, and models that lose nothing."""
    monkeypatch.setattr("masked_denoiser.jobs.executor.is_bfloat16_fast", lambda device: True)
    monkeypatch.setattr(job_precision, "bfloat16_loss", lambda model, report: 0.0)


def image(sigma=15.0, shape=(128, 192)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    noise = np.random.default_rng(0).normal(0, sigma, shape)
    return np.clip(128 + 60 * np.sin(x / 17) * np.sin(y / 13) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("noise", "halo", "strength", "precision", "reason"),
    [
        ("sigma=15", 64, 1.0, "bfloat16", "loses less than 0.02 dB"),
        ("sigma=15", "exact", 1.0, "float32", "tiles equal the whole image"),
        ("sigma=15", 1024, 1.0, "float32", "tiles equal the whole image"),
        ("sigma=3", 64, 1.0, "float32", "weak or not known"),
        ("sigma=3", 64, 2.0, "float32", "weak or not known"),
        ("none", 64, 1.0, "float32", "weak or not known"),
    ],
)
def test_noise_and_halo_decide(fast, noise, halo, strength, precision, reason):
    options = Options(noise=noise, halo=halo, strength=strength, intensity=(0.0, 255.0))
    prepared = prepare_array(
        open_image(image(), axes="YX"), model=load_model("general-gray"), options=options, device="cpu"
    )
    assert prepared.job.precision == prepared.pipeline.runner.precision == precision
    assert reason in prepared.messages[-1]


def test_channels_that_are_left_alone_do_not_count(fast):
    """A clean channel must not change the pixels of another, and noise that is not known counts as weak."""
    model, options = load_model("general-gray"), Options(noise="sigma=15", halo=64)
    job = resolve_job(open_image(image(), axes="YX"), model=model, options=options, device="cpu").job
    treatment = replace(job.treatments[0][1], noise=(STRONG,), strength=1.0)

    def chosen(*others):
        treatments = tuple(enumerate((treatment, *others)))
        return choose_precision(replace(job, treatments=treatments), model, True, print)[0]

    assert chosen(replace(IDENTITY, noise=(WEAK,))) == "bfloat16"
    assert chosen(replace(treatment, noise=(WEAK,))) == "float32"
    assert chosen(replace(treatment, noise=())) == "float32"
    unchanged = replace(job, treatments=((0, IDENTITY),))
    assert choose_precision(unchanged, model, True, print) == ("float32", "")  # nothing to say


def test_models_that_lose_more_stay_in_float32(fast, monkeypatch):
    monkeypatch.setattr(job_precision, "bfloat16_loss", lambda model, report: 0.021)
    options = Options(noise="sigma=15", halo=64)
    resolved = resolve_job(open_image(image(), axes="YX"), model="general-gray", options=options, device="cpu")
    assert resolved.job.precision == "float32"
    assert "would lose 0.021 dB" in resolved.precision_message


@pytest.mark.skipif(bool(unavailable_reason(torch.bfloat16)), reason="this CPU has no instructions for bfloat16")
def test_bfloat16_gives_the_same_bytes_everywhere(tmp_path):
    """In a file, interrupted and resumed, as an array, and lazily."""
    noisy, model = image(shape=(448, 320)), load_model("general-gray")
    options = Options(noise="sigma=15", tile=64, halo=64, precision="bfloat16", ome_zarr="0.4")
    source = open_image(noisy, axes="YX")
    for event in prepare_file(
        source, tmp_path / "a.ome.zarr", model=model, options=options, device="cpu"
    ).pipeline.run():
        if isinstance(event, TileDone):
            break
    with prepare_file(
        source, tmp_path / "a.ome.zarr", model=model, options=options, device="cpu", resume=True
    ) as resumed:
        assert 0 < len(resumed.pipeline.journal.done) < 35
        assert isinstance(list(resumed.pipeline.run())[-1], Finished)
    with open_image(tmp_path / "a.ome.zarr") as result:
        from_file = np.asarray(result.data[...])
    array = denoise(noisy, model=model, axes="YX", device="cpu", options=options)
    lazy = np.asarray(denoise_lazy(noisy, model=model, axes="YX", device="cpu", options=options))
    np.testing.assert_array_equal(from_file, array)
    np.testing.assert_array_equal(lazy, array)
    exact = denoise(noisy, model=model, axes="YX", device="cpu", options=replace(options, precision="float32"))
    assert 0 < np.abs(array.astype(int) - exact).max() <= 2


def test_continued_job_says_its_own_precision(fast, tmp_path, monkeypatch):
    source = open_image(image(), axes="YX")
    settings = {"model": tiny_model(1), "device": "cpu"}
    options = Options(noise="sigma=15", tile=64, halo=0)
    begun = prepare_file(source, tmp_path / "a.ome.zarr", options=replace(options, precision="float32"), **settings)
    begun.pipeline.close()
    with prepare_file(source, tmp_path / "a.ome.zarr", options=options, resume=True, **settings) as resumed:
        assert resumed.job.precision == "float32"
    assert "computing in float32, as this job began" in resumed.messages
    assert not any("bfloat16" in message for message in resumed.messages)
    begun = prepare_file(source, tmp_path / "b.ome.zarr", options=replace(options, precision="bfloat16"), **settings)
    begun.pipeline.close()
    monkeypatch.setattr("masked_denoiser.jobs.executor.is_bfloat16_fast", lambda device: False)
    with prepare_file(source, tmp_path / "b.ome.zarr", options=options, resume=True, **settings) as resumed:
        assert resumed.job.precision == "bfloat16"
    assert any("no instructions for it" in message for message in resumed.messages)
