"""Tests of the training recipe: the paper's values, JSON round trips, and error messages."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.errors import RecipeError, TrainingError
from masked_denoiser.training.prepare import _precision_notes
from masked_denoiser.training.recipe import FINE_TUNE, PAPER_RECIPE, PRESETS, TrainingRecipe


def test_paper_recipe_equals_publication():
    """Compare with every value given in Chen et al., CVPR 2023, section 4."""
    expected = {
        "noise": "gaussian(sigma=15)",
        "pixel_mask": (0.8, 0.9),
        "masked_patches": 1.0,
        "pixel_fill": "constant",
        "attention_mask": (0.75, 0.75),
        "loss": "l1",
        "optimiser": "adam",
        "rate": 1e-4,
        "batch": 64,
        "patch": 64,
        "ema": 0.999,
        "steps": 200_000,
    }
    values = asdict(PAPER_RECIPE)
    assert {name: values[name] for name in expected} == expected
    assert PAPER_RECIPE.inference_mask == 0.75


@given(
    preset=st.sampled_from(sorted(PRESETS)),
    rate=st.floats(1e-6, 0.1),
    low=st.floats(0, 0.9),
    batch=st.integers(1, 100),
    unseen=st.lists(st.sampled_from(["none", "gaussian(sigma=3..9)"]), max_size=3),
)
def test_json_round_trip(preset, rate, low, batch, unseen):
    recipe = replace(PRESETS[preset], rate=rate, pixel_mask=(low, 0.95), batch=batch, unseen=tuple(unseen))
    assert TrainingRecipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"stpes": 3}', "unknown training recipe field 'stpes'"),
        ('{"steps": "many"}', "steps of the training recipe is 'many'"),
        ('{"steps": 0}', "steps is 0; choose 1"),
        ('{"steps": true}', "steps of the training recipe is True"),
        ('{"loss": "l3"}', "choose l1, mse, charbonnier"),
        ('{"pixel_mask": [0.9, 0.8]}', "0 <= low <= high < 1"),
        ('{"rate": 1e400}', "rate is inf"),
        ('{"way": "noisy", "masked_patches": 0}', "set masked_patches and pixel_mask above 0"),
    ],
)
def test_invalid_recipes_are_refused(text, message):
    with pytest.raises(TrainingError, match=message):
        TrainingRecipe.from_json(text)


def test_invalid_noise_is_refused_on_construction():
    with pytest.raises(RecipeError, match=r"character 1: .*gaussian"):
        replace(FINE_TUNE, noise="gausian(sigma=3)")


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle"])
def test_learning_rates(schedule):
    recipe = replace(PAPER_RECIPE, schedule=schedule, steps=1000, rate=1e-3)
    rates = [recipe.rate_at((step + 0.5) / 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(1e-3, rel=0.02)
    assert min(rates) > 0
    if schedule == "constant":
        assert set(rates) == {1e-3}
    else:
        peak = rates.index(max(rates))
        assert peak == {"cosine": 0, "one-cycle": 50}[schedule]
        assert rates[peak:] == sorted(rates[peak:], reverse=True)
        assert rates[-1] < 1e-5


@pytest.mark.parametrize(
    ("supported", "precision", "count"), [(True, "bfloat16", 0), (False, "bfloat16", 1), (False, "float32", 0)]
)
def test_slow_precision_is_reported(monkeypatch, supported, precision, count):
    monkeypatch.setattr("masked_denoiser.training.prepare.computes_bfloat16", lambda device: supported)
    notes = _precision_notes(TrainingRecipe(precision=precision), torch.device("cpu"))
    assert len(notes) == count
    assert all("--set precision=float32" in note for note in notes)
