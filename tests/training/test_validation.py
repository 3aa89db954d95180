"""Tests of the scores of a training without clean images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.data import camera

from masked_denoiser.images.open import open_image
from masked_denoiser.models.catalogue import load_model
from masked_denoiser.training.data.dataset import TrainingImages
from masked_denoiser.training.data.patches import PatchSampler, TrainingImage
from masked_denoiser.training.events import HIDDEN_PIXELS, Trained, Validated
from masked_denoiser.training.fine_tune import fine_tune_recipe
from masked_denoiser.training.prepare import prepare_training
from masked_denoiser.training.without_truth.estimated_error import draw_probes

_RNG = np.random.default_rng(0)
_CLEAN = camera()[100:484, 60:444].astype(np.float64)


def correlated(shape):
    noise = gaussian_filter(_RNG.normal(size=shape), 0.8)
    return 15 * noise / noise.std()


def eight_bit(image):
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


NOISY = {
    "white": eight_bit(_CLEAN + _RNG.normal(0, 20, _CLEAN.shape)),
    "photon": eight_bit(_RNG.poisson(_CLEAN / 4) * 4.0),
    "correlated": eight_bit(_CLEAN + correlated(_CLEAN.shape)),
    "repeated": eight_bit(_CLEAN + _RNG.normal(0, 20, _CLEAN.shape)),  # a gray plane of an RGB network
}


def blind_spot(patch):
    """Return the mean of the neighbours of each pixel, which hidden pixels rate above any use of the pixel itself."""
    centre = gaussian_filter(np.eye(1, 49, 24).reshape(7, 7), 1)[3, 3]
    return ((gaussian_filter(patch, (0, 1, 1)) - centre * patch) / (1 - centre)).astype(np.float32)


@pytest.mark.parametrize("kind", NOISY)
def test_estimated_errors_are_those_against_the_truth_and_other_noise(kind):
    channels = 3 if kind == "repeated" else 1
    sampler = PatchSampler((TrainingImage(open_image(NOISY[kind], axes="YX"), channels),), 96)
    locations = [sampler.draw(np.random.default_rng(number)) for number in range(12)]
    patches = np.stack([sampler.read(location) for location in locations])
    probes, why = draw_probes(sampler, locations, patches, 0)
    assert not why
    truths = [_CLEAN[at.row : at.row + 96, at.column : at.column + 96] / 255 for at in locations]
    denoisers = (lambda x: x, lambda x: gaussian_filter(x, (0, 0.6, 0.6)), blind_spot)
    noise = np.concatenate([p.variance[np.broadcast_to(p.scored, p.variance.shape)] for p in probes]).mean()
    estimated, true = [], []
    for denoise in denoisers:
        results = [probe.apply(denoise) for probe in probes]
        estimated.append(np.concatenate([errors for _, errors in results]).mean())
        triples = zip(results, truths, probes, strict=True)
        squares = [((output - truth) ** 2)[:, probe.scored[0]] for (output, _), truth, probe in triples]
        true.append(np.concatenate(squares, axis=None).mean())
    assert np.allclose(estimated, np.add(true, noise), atol=0.15 * noise)
    assert np.argsort(estimated).tolist() == np.argsort(true).tolist()


def tune(noisy, steps):
    model = load_model("general-gray")
    settings = {"way": "noisy", "steps": steps, "batch": 4, "validate_every": steps // 2, "precision": "float32"}
    recipe = fine_tune_recipe(model, settings)
    prepared = prepare_training(TrainingImages((noisy,), axes="YX"), recipe, base=model, device="cpu")
    events = list(prepared.run())
    return model, prepared, events


def test_training_without_truth_keeps_a_model_that_it_does_not_improve():
    """Blind spots make a general model worse by 2 dB; the score of hidden pixels would report a gain of 0.2 dB."""
    model, prepared, events = tune(NOISY["white"], 20)
    scores = [event.psnr for event in events if isinstance(event, Validated)]
    assert next(iter(scores[-1].values())) < next(iter(scores[0].values())) - 0.2
    assert events[-1].best_step == 0
    kept = prepared.model(events[-1]).weights
    assert all(torch.equal(kept[name], model.weights[name]) for name in kept)


def test_no_gain_is_reported_where_noise_is_unknown():
    striped = eight_bit(_CLEAN + _RNG.normal(0, 20, (len(_CLEAN), 1)) + _RNG.normal(0, 5, _CLEAN.shape))
    _, prepared, events = tune(striped, 2)
    assert any("as it has stripes: PSNR compares hidden pixels" in message for message in prepared.messages)
    last = events[-1]
    assert isinstance(last, Trained)
    assert (list(last.after), last.before) == ([HIDDEN_PIXELS], {})
