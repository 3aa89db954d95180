"""The choice of noise treatments, and their inverses."""

from __future__ import annotations

import shutil
import warnings
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import masked_denoiser as md
from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.measurement.given_noise import parse_given_noise
from masked_denoiser.denoising.noise_treatment import (
    IDENTITY,
    NoiseTreatment,
    convert_to_range,
    finish_treatment,
    with_strength,
)
from masked_denoiser.denoising.tile_denoiser import TileDenoiser
from masked_denoiser.denoising.training_noise import TrainingNoise, training_noise
from masked_denoiser.denoising.treatment_candidates import NoiseSummary, list_candidates
from masked_denoiser.errors import JobError, NoiseError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.inference.runner import Denoised
from masked_denoiser.jobs.api import denoise
from masked_denoiser.jobs.prepare import prepare_array, prepare_file
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.resolve import make_job
from masked_denoiser.models.catalogue import list_models
from masked_denoiser.models.random_weights import random_model
from masked_denoiser.network.ushape_config import UConfig
from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.impulses import ImpulseNoise
from masked_denoiser.training.recipe import GENERAL
from tests.stand_in import StandIn


def white(sigma, **changes):
    """Return white noise of `sigma` grey levels of 255, on an image with low contrast."""
    level = sigma / 255
    noise = ChannelNoise(
        0.0, 0.0, level, level, level, 1, ImpulseNoise(), 0.0, (-np.inf, np.inf), certain=True, contrast=0.1
    )
    return replace(noise, **changes)


WHITE, NONE = white(20), white(0)
PHOTONS = white(20, gain=0.08, read=0.01)
PAPER, ALL = TrainingNoise(0.06), TrainingNoise(0.2, 0.05, 3)
HOT = ImpulseNoise(0.01, 0.8, high=0.9)


def identity_network(tiles, origins, noise=None):
    return Denoised(tiles, np.full_like(tiles, 0.01))


DIRECT, STABILIZED = NoiseTreatment(scale=0.765), NoiseTreatment(0.08, 0.0001, 0.06)


@pytest.mark.parametrize(
    ("noise", "known", "expected"),
    [
        (WHITE, PAPER, [DIRECT]),
        (WHITE, ALL, [NoiseTreatment()]),
        (white(102), ALL, [NoiseTreatment(scale=0.5)]),
        (PHOTONS, PAPER, [STABILIZED, DIRECT]),
        (white(20, width=0.4), ALL, [NoiseTreatment(strides=s) for s in ((), (2, 3))]),
        (white(20, width=0.6), ALL, [NoiseTreatment(strides=s) for s in ((), (2, 3), (3, 2))]),
        (white(20, width=1.5), ALL, [NoiseTreatment(strides=s) for s in ((), (3, 2), (4,))]),
        (
            replace(PHOTONS, width=0.4),
            PAPER,
            [STABILIZED, DIRECT, replace(STABILIZED, strides=(2, 3))],
        ),
        (replace(PHOTONS, gain=0.04), ALL, [NoiseTreatment(), NoiseTreatment(0.04, 0.0001, 0.2)]),  # known to the model
    ],
)
def test_treatment_candidates(noise, known, expected):
    assert list_candidates(NoiseSummary.of([noise]), known) == expected


def test_stabilization_can_be_forced_or_disabled():
    summary = NoiseSummary.of([PHOTONS])
    assert list_candidates(summary, PAPER, stabilize=True) == [STABILIZED]
    assert list_candidates(summary, PAPER, stabilize=False) == [DIRECT]
    assert list_candidates(NoiseSummary.of([WHITE]), PAPER, stabilize=True) == [DIRECT]  # nothing to stabilize


@pytest.mark.parametrize(
    ("noise", "visible"),
    [
        (white(0.5, step=1 / 255), 0.0),  # below the rounding
        (white(0.5, step=1 / 255, bright=8 / 255, contrast=0.01), 1.0),
        (white(5, contrast=1.0), 0.0),
        (white(5, contrast=5 / 255 / 0.11), 0.5),
        (white(5, contrast=0.0), 1.0),
        (NONE, 0.0),
    ],
)
def test_noise_below_rounding_or_contrast_is_not_visible(noise, visible):
    assert NoiseSummary.of([noise]).visibility == pytest.approx(visible)


def test_outlier_channel_does_not_change_the_summary():
    odd = white(90, width=1.0, correlation=4)
    assert NoiseSummary.of([WHITE, odd, WHITE]) == NoiseSummary.of([WHITE])


def test_noise_free_channels_are_ignored_in_the_summary():
    """Green fluorescence, saved as RGB."""
    assert NoiseSummary.of([NONE, PHOTONS, NONE]) == NoiseSummary.of([PHOTONS])
    finished = finish_treatment(STABILIZED, [NONE, PHOTONS, NONE])
    assert finished.noise == ((0.0, 0.0, 0.0, 0.0), (0.08, 0.0001, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))


def test_limits_and_impulses_follow_the_measured_noise():
    noise = replace(PHOTONS, impulses=HOT, width=0.4, floor=1e-4)
    done = finish_treatment(DIRECT, [noise], gray=True)
    assert (done.impulse_height, done.impulse_low, done.impulse_high) == (0.12, None, 0.9)
    assert (done.noise, done.width, done.gray) == (((0.08, 0.0001, 0.0001, 0.0),), 0.4, True)
    low = finish_treatment(IDENTITY, [replace(noise, impulses=ImpulseNoise(0.01, 0.1, low=0.0))])
    assert (low.impulse_height, low.impulse_low, low.impulse_high) == (0.05, 0.0, None)
    assert not low.is_identity
    assert finish_treatment(IDENTITY, [WHITE]).is_identity
    uncertain = replace(WHITE, certain=False)
    assert finish_treatment(DIRECT, [uncertain] * 3).noise == ()
    removable = finish_treatment(DIRECT, [WHITE, uncertain, WHITE]).noise_variances
    assert [float(variance.sigma(0.5)) > 0 for variance in removable] == [True, False, True]
    plain, striped = finish_treatment(DIRECT, [WHITE, replace(WHITE, stripes=0.02)]).noise_variances
    assert striped.sigma(0.5) ** 2 == pytest.approx(plain.sigma(0.5) ** 2 + 0.02**2)


@given(st.floats(-500, 500), st.floats(1, 900), st.floats(-500, 500), st.floats(1, 900), st.floats(0, 1))
def test_treatment_is_independent_of_intensity_range(low, span, other_low, other_span, at):
    measured, used = IntensityRange(low, low + span), IntensityRange(other_low, other_low + other_span)
    treatment = replace(STABILIZED, noise=((0.08, 0.01, 1e-4, 0.02),), impulse_height=0.1, impulse_high=0.9)
    moved = convert_to_range(treatment, measured, used, ALL)
    position = (low + span * at - other_low) / other_span
    sigma, other = treatment.noise_variances[0].sigma(at) * span, moved.noise_variances[0].sigma(position) * other_span
    assert other == pytest.approx(sigma, rel=1e-2, abs=1e-2)
    assert moved.impulse_height * other_span == pytest.approx(0.1 * span, rel=1e-4)
    assert used.low + moved.impulse_high * other_span == pytest.approx(low + 0.9 * span, rel=1e-4, abs=1e-2)
    assert convert_to_range(treatment, measured, measured, ALL) is treatment


def test_strength_scales_limits_and_noise_map_or_blend():
    finished = finish_treatment(STABILIZED, [PHOTONS])
    with_map = replace(finished, noise_map=True, blend=0.8)
    for strength in (0.5, 2.0):
        scaled = with_strength(with_map, strength)
        assert scaled.noise_variances[0].sigma(0.5) == pytest.approx(strength * with_map.noise_variances[0].sigma(0.5))
        assert (scaled.blend, scaled.strength) == (0.8, strength)
    assert with_strength(finished, 2.0).noise_variances[0].sigma(0.5) == pytest.approx(
        2 * finished.noise_variances[0].sigma(0.5)
    )
    half = with_strength(replace(finished, blend=0.8), 0.5)
    assert (half.blend, half.noise) == (0.4, finished.noise)
    assert with_strength(with_map, 1.0) is with_map
    assert with_strength(IDENTITY, 2.0) is IDENTITY
    assert "0.5 times as strong" in half.summary


def test_training_noise_of_models():
    card = tiny_model().card
    expected = {
        GENERAL.noise: TrainingNoise(55 / 255, 32 / 255, 6),
        "poisson(alpha=3)": TrainingNoise(15 / 255, 9 / 256),
        "gaussian(sigma=0)": TrainingNoise(15 / 255),
        "a noise of tomorrow": TrainingNoise(15 / 255),
    }
    for noise, known in expected.items():
        assert training_noise(replace(card, training={"recipe": {"noise": noise}})) == known
    assert (
        training_noise(card)
        == training_noise(replace(card, training={"recipe": "in words"}))
        == TrainingNoise(15 / 255)
    )
    assert training_noise(replace(card, training={"recipe": {"way": "noisy"}})) == TrainingNoise(np.inf, np.inf, 9)
    # Fine-tuning on one noise adds to what the model was trained with before.
    general = {"recipe": {"noise": GENERAL.noise}}
    for noise in ("gaussian(sigma=9)", "poisson(alpha=3)"):
        tuned = {"recipe": {"noise": noise}, "begun_from": {"name": "general", "training": general}}
        expected = replace(TrainingNoise(55 / 255, 32 / 255, 6), gain=max(32 / 255, 9 / 256 * (noise[0] == "p")))
        assert training_noise(replace(card, training=tuned)) == expected


@pytest.mark.parametrize("entry", list_models(), ids=lambda entry: entry.name)
def test_every_bundled_model_denoises(entry):
    noisy = np.clip(np.random.default_rng(0).normal(120, 20, (64, 64, 3)), 0, 255).astype(np.uint8)
    assert denoise(noisy, model=entry.name, axes="YXS", device="cpu").std() < 0.6 * noisy.std()


@pytest.mark.parametrize(
    "treatment",
    [
        NoiseTreatment(),
        NoiseTreatment(scale=0.4),
        NoiseTreatment(strides=(3,)),
        NoiseTreatment(strides=(2, 3)),
        NoiseTreatment(blend=0.3),
        NoiseTreatment(0.05, -0.002, 0.1, (2,)),
        NoiseTreatment(noise=((0.01, 0.001, 0.0, 0.0),), gray=True),
    ],
)
def test_identity_network_returns_the_image(treatment):
    tiles = np.random.default_rng(0).uniform(0.1, 1.0, (2, 3, 50, 70)).astype(np.float32)
    tiles[0, :, 20, 30], tiles[1, 1, 40:, :9] = 30.0, 1.7
    out = TileDenoiser(StandIn(identity_network), 16)(tiles, ((0, 0), (0, 0)), treatment)
    # The unbiased inverse is not the plain one: that of a value is higher by a quarter of a photon.
    gain = max([treatment.gain, *(limit.gain for limit in treatment.noise_variances)])
    assert np.abs(out.mean - tiles).max() <= (0.3 * gain or 1e-5)
    assert np.isfinite(out.std).all()


def test_gray_pixels_stay_gray_and_colours_are_kept():
    def coloured(tiles, origins, noise):
        return tiles * np.float32([0.8, 1.0, 1.1])[:, None, None]

    tiles = np.random.default_rng(0).uniform(0.2, 0.8, (1, 1, 32, 32)).astype(np.float32).repeat(3, axis=1)
    tiles[0, 0, 3:6, 3:6] += 0.1  # a coloured mark
    out = TileDenoiser(StandIn(coloured), 8)(tiles, ((0, 0),), NoiseTreatment(gray=True)).mean
    assert (out[:, 1:] == out[:, :1]).all(axis=1).sum() == 32 * 32 - 9
    np.testing.assert_allclose(out[0, 1, 3:6, 3:6], tiles[0, 1, 3:6, 3:6], rtol=1e-6)


def test_brighter_pixels_than_in_the_sample_take_one_more_pass():
    passes = []

    def network(tiles, origins, noise):
        passes.append(float(tiles.max()))
        return tiles

    tiles = np.random.default_rng(0).uniform(0.1, 0.9, (1, 1, 50, 70)).astype(np.float32)
    tiles[0, 0, 20:30, 30:40] = 2.0
    treatment = NoiseTreatment(noise=((0.01, 0.0, 0.0, 0.0),), noise_map=True)
    out = TileDenoiser(StandIn(network), 16)(tiles, ((0, 0),), treatment).mean
    assert len(passes) == 2
    assert max(passes[1:]) < 1  # nothing is clipped in the second
    np.testing.assert_allclose(out, tiles, atol=0.3 * 0.01)


def test_stride_images_have_independent_pixels():
    seen = []

    def network(tiles, origins, noise):
        seen.append((tiles.copy(), origins))
        return tiles

    image = np.linspace(0, 1, 64 * 96, dtype=np.float32).reshape(1, 1, 64, 96)
    TileDenoiser(StandIn(network), 8)(image, ((32, 48),), NoiseTreatment(strides=(2,)))
    np.testing.assert_array_equal(seen[0][0][3], image[0, :, 1::2, 1::2])
    assert [origins for _, origins in seen] == [((16, 24),) * 4, ((32, 48),)]


@pytest.mark.parametrize("noise", ["sigma=0.05,correlation=3", "gain=0.3", "gain=0.2,read=0.1,correlation=3"])
@pytest.mark.parametrize("size", [(150, 130), (64, 200)])
def test_tiled_result_matches_whole_image_with_strides(size, noise):
    model = random_model(UConfig(widths=(4, 8), blocks=(1, 0), attention=1, heads=2, window=4), 1)
    model = replace(model, weights={k: v + 0.05 if k == "head.weight" else v for k, v in model.weights.items()})
    image = np.random.default_rng(0).random(size, dtype=np.float32) * 0.9

    def run(tile, halo):
        options = Options(tile=tile, halo=halo, noise=noise, intensity=(0.0, 1.0))
        return denoise(image, model=model, axes="YX", device="cpu", options=options)

    options = Options(tile=40, noise=noise, halo="exact", intensity=(0.0, 1.0))
    job = make_job(open_image(image, axes="YX"), model, options, "cpu")
    stride = 6 if "correlation" in noise else 1
    assert (job.stride, job.tile, job.halo % (8 * stride)) == (stride, 48 if stride == 6 else 40, 0)
    assert np.abs(run(40, "exact") - run(256, 0)).max() <= 1e-5
    assert np.abs(run(40, 0) - run(256, 0)).max() > 1e-4


def test_camera_photon_noise_is_removed_without_bias():
    """Camera counts with an offset, in grey levels, through a smoothing network."""
    from scipy.ndimage import uniform_filter

    rng = np.random.default_rng(0)
    truth = 100 + np.kron(rng.uniform(20, 900, (8, 8)), np.ones((32, 32)))
    image = (100 + rng.poisson((truth - 100) / 4.0) * 4.0).astype(np.uint16)
    source = open_image(image, axes="YX")
    model = tiny_model(channels=1)
    prepared = prepare_array(source, model=model, options=Options(noise="gain=4,offset=100", tile=256), device="cpu")

    def smooth(tiles, origins, noise):
        return uniform_filter(tiles, (0, 0, 9, 9)).astype(np.float32)

    prepared.pipeline.runner = StandIn(smooth)
    list(prepared.pipeline.run())
    inner = prepared.pipeline.sink.array.reshape(8, 32, 8, 32)[:, 10:22, :, 10:22].mean(axis=(1, 3))
    expected = truth[::32, ::32]
    assert np.abs(inner - expected).max() < 0.05 * expected.max()
    assert abs((inner - expected).mean()) < 2.0


@pytest.mark.parametrize("photons", [1, 2, 4])
def test_low_photon_counts_keep_their_mean(photons):
    """A network trained with L1 returns medians, which are near black at one photon per pixel."""
    truth = np.kron(np.random.default_rng(0).uniform(0.2, 1, (4, 4)), np.ones((48, 48)))
    counts = np.random.default_rng(1).poisson(truth * photons).astype(np.float32) / photons
    out = denoise(counts, axes="YX", device="cpu", noise=f"gain={1 / photons}", intensity=(0.0, float(counts.max())))
    assert out.mean() == pytest.approx(counts.mean(), rel=0.02)
    assert np.mean((out - truth) ** 2) < 0.05 * np.mean((counts - truth) ** 2)


_UNREADABLE = (
    "loud",
    "sigma",
    "sigma=",
    "sigma=-3",
    "sigma=0",
    "gain=nan",
    "sigma=3,colour=2",
    "sigma=3,read=2",
    "sigma=5,sigma=9",
)


@pytest.mark.parametrize("text", _UNREADABLE)
def test_unparsable_noise_is_refused(text):
    with pytest.raises(NoiseError, match="noise"):
        parse_given_noise(text)


@pytest.mark.parametrize("text", ["sigma=12", "gain=2,offset=400"])
def test_given_noise_in_wrong_units_is_refused(text):
    with pytest.raises(NoiseError, match="units of the image"):
        denoise(np.random.default_rng(0).random((64, 64)), model=tiny_model(), axes="YX", options=Options(noise=text))


def test_given_noise_leaves_channels_without_contrast_alone():
    image = np.zeros((2, 96, 96), np.uint8)
    image[0] = np.random.default_rng(0).normal(100, 8, (96, 96)).round()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = denoise(image, model="general-gray", axes="CYX", device="cpu", options=Options(noise="sigma=8"))
    assert any("channel 1: left alone, because the given noise is zero at its" in str(each.message) for each in caught)
    assert result[0].std() < 0.3 * 8
    assert not result[1].any()


def test_given_noise_is_in_image_units():
    noise = parse_given_noise("gain=2,offset=100,read=5,correlation=3").to_channel_noise(IntensityRange(100.0, 1100.0))
    assert (noise.gain, noise.offset, noise.read, noise.correlation) == (0.002, 0.0, 0.005, 3)


@pytest.mark.parametrize(
    "image",
    [
        np.full((60, 80), 7, np.uint8),
        np.full((60, 80), 255, np.uint8),
        np.zeros((60, 80, 3), np.float32),
        np.random.default_rng(0).integers(0, 255, (3, 90), np.uint8),
        np.random.default_rng(0).integers(0, 255, (90, 3), np.uint8),
        np.random.default_rng(0).integers(0, 60000, (1, 1), np.uint16),
        np.dstack([np.zeros((64, 64), np.uint8), *np.random.default_rng(0).integers(0, 255, (2, 64, 64), np.uint8)]),
        np.hstack([np.random.default_rng(0).normal(100, s, (64, 64)) for s in (3, 40)]).astype(np.float32),
    ],
    ids=["constant", "saturated", "black", "3 high", "3 wide", "one pixel", "a black channel", "two levels"],
)
@pytest.mark.filterwarnings("ignore:noise")
def test_degenerate_images_give_a_verdict_without_nan(image):
    axes = "YXS" if image.ndim == 3 else "YX"
    assert md.estimate_noise(image, axes=axes).verdict
    out = denoise(image, model=tiny_model(), axes=axes, device="cpu")
    assert (out.shape, out.dtype) == (image.shape, image.dtype)
    assert np.isfinite(out).all()


def structured(sigma, side=128):
    """Return blobs [side, side] with white noise, in 0 to 255."""
    y, x = np.mgrid[:side, :side]
    return (120 + 60 * np.sin(x / 9) * np.sin(y / 11) + np.random.default_rng(0).normal(0, sigma, x.shape)).clip(0, 255)


def test_verdict_is_reported_and_stored_in_the_job():
    image = structured(20).astype(np.uint8)
    prepared = prepare_array(open_image(image, axes="YX"), device="cpu")
    ((_, treatment),) = prepared.job.treatments
    ((_, scale),) = prepared.job.ranges
    assert (treatment.gain, treatment.stride, treatment.blend) == (0.0, 1, 1.0)
    assert treatment.noise_variances[0].sigma(0.5) * scale.span == pytest.approx(20, rel=0.1)
    assert any(
        message.startswith("noise: ") and "noise (standard deviation" in message and "denoised directly" in message
        for message in prepared.messages
    )


def test_noise_free_image_is_unchanged():
    clean = np.full((128, 128), 120, np.uint8)
    clean[:, 64:] = 130
    with pytest.warns(UserWarning, match="left alone"):
        np.testing.assert_array_equal(denoise(clean, axes="YX", device="cpu"), clean)


def test_harmful_model_is_not_used():
    image = structured(12).astype(np.uint8)
    with pytest.warns(UserWarning, match="left alone"):
        np.testing.assert_array_equal(denoise(image, model=tiny_model(), axes="YX", device="cpu"), image)


def rewrite(journal, old, new):
    """Replace text in the records of a journal and update their checksums."""
    texts = [line.partition(" ")[2].replace(old, new) for line in journal.read_text().splitlines()]
    journal.write_text("".join(f"{zlib.crc32(text.encode()):08x} {text}\n" for text in texts))


def test_resume_keeps_measured_treatment_and_precision(tmp_path):
    image = np.clip(np.random.default_rng(0).normal(120, 20, (128, 128)), 0, 255).astype(np.uint8)
    source, output = open_image(image, axes="YX"), tmp_path / "out.ome.zarr"
    settings = {"model": tiny_model(), "options": Options(tile=64, precision="float32"), "device": "cpu"}
    first = prepare_file(source, output, **settings)
    first.pipeline.run().close()
    first.pipeline.journal.close()
    journal = tmp_path / "out.ome.zarr.journal"
    blend = first.job.treatments[0][1].blend
    rewrite(journal, f'"blend": {blend}', '"blend": 0.25')  # as another machine might have measured
    shutil.rmtree(output)  # it has the digest of the job before
    resumed = prepare_file(source, output, **settings, resume=True)
    resumed.pipeline.journal.close()
    assert resumed.job.treatments[0][1].blend == 0.25
    rewrite(journal, '"precision": "float32"', '"precision": "bfloat16"')
    with pytest.raises(JobError, match="precision was 'bfloat16' and is 'float32'"):
        prepare_file(source, output, **settings, resume=True)
    shutil.rmtree(output)
    auto_precision = settings | {"options": Options(tile=64, precision="auto")}
    resumed_auto = prepare_file(source, output, **auto_precision, resume=True)
    resumed_auto.pipeline.journal.close()
    assert resumed_auto.job.precision == resumed_auto.pipeline.runner.precision == "bfloat16"
    other = settings | {"options": Options(tile=64, noise="sigma=30")}
    with pytest.raises(JobError, match="--noise was auto and is sigma=30"):
        prepare_file(source, output, **other, resume=True)
