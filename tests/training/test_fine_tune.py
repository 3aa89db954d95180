"""Tests of fine-tuning from Python: its preset, its warnings and its arguments."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.io import imsave

import masked_denoiser as md
from masked_denoiser.models.random_weights import random_model
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.training.data.dataset import TrainingImages
from masked_denoiser.training.fine_tune import fine_tune_recipe
from masked_denoiser.training.prepare import prepare_training, training_folder
from masked_denoiser.training.recipe import FINE_TUNE, GENERAL, PAPER_RECIPE

QUICK = {"steps": 1, "patch": 16, "batch": 2, "unseen": [], "keep": "last"}


def begun_from(training, recipe):
    """Return the `training` of a card whose model was trained further, by a recipe."""
    return {"recipe": json.loads(recipe.to_json()), "begun_from": {"name": "base", "training": training}}


def test_masks_of_the_first_training_decide():
    """A fine-tuned model has few masked patches in its last recipe, and an imported one has no recipe at all."""
    paper = begun_from({}, PAPER_RECIPE)
    general = begun_from({}, GENERAL)
    cases = (
        (0.75, {}, True),
        (0.75, {"recipe": "as in the paper"}, True),
        (0.75, begun_from({"recipe": "as in the paper"}, FINE_TUNE), True),
        (0.0, paper, True),
        (0.0, begun_from(begun_from(paper, FINE_TUNE), FINE_TUNE), True),
        (0.0, general, False),
        (0.0, begun_from(general, replace(FINE_TUNE, masked_patches=1.0)), False),  # without truth
        (0.0, {}, False),  # SwinIR
    )
    for attention_mask, training, masked in cases:
        model = random_model(SwinConfig(embed=12, depths=(2,), heads=(2,), attention_mask=attention_mask))
        model = replace(model, card=replace(model.card, training=training))
        expected = FINE_TUNE.masked_patches if masked else 0.0
        assert fine_tune_recipe(model, {}).masked_patches == expected, (attention_mask, training)


def test_noise_is_that_of_the_last_training_that_added_noise(tiny, tissue, quick, tmp_path):
    """One noise would narrow a model for many; a resumed training keeps the noise that it began with."""
    general, poisson = begun_from({}, GENERAL), replace(FINE_TUNE, noise="poisson(alpha=3)")
    cases = (
        (general, {}, (GENERAL.noise, GENERAL.unseen)),
        (begun_from(general, poisson), {}, (poisson.noise, poisson.unseen)),
        (begun_from(general, replace(FINE_TUNE, way="noisy")), {}, (GENERAL.noise, GENERAL.unseen)),
        (begun_from(general, replace(FINE_TUNE, way="pairs")), {"way": "clean"}, (GENERAL.noise, GENERAL.unseen)),
        ({"recipe": {"noise": "of a later version()"}, "begun_from": {"training": general}}, {}, (GENERAL.noise, ())),
        (general, {"noise": "speckle"}, ("speckle", FINE_TUNE.unseen)),
        (general, {"way": "noisy"}, (FINE_TUNE.noise, FINE_TUNE.unseen)),
        ({"recipe": "as in the paper"}, {}, (FINE_TUNE.noise, FINE_TUNE.unseen)),
    )
    for training, settings, expected in cases:
        recipe = fine_tune_recipe(replace(tiny, card=replace(tiny.card, training=training)), settings)
        assert (recipe.noise, recipe.unseen) == expected, (training, settings)
    trained = replace(tiny, card=replace(tiny.card, training=general))
    folder = training_folder(tmp_path / "mine.safetensors")
    short = replace(quick, steps=1)
    prepared = prepare_training(TrainingImages((tissue,)), short, base=trained, folder=folder, device="cpu")
    assert "noise that is added to the images: gaussian(sigma=15)" in prepared.messages
    list(prepared.run())
    resumed = fine_tune_recipe(trained, {}, resumed=folder)
    assert (resumed.noise, resumed.unseen) == (quick.noise, quick.unseen)


def test_noise_of_the_model_is_named_in_brief(tiny, tissue):
    trained = replace(tiny, card=replace(tiny.card, training=begun_from({}, GENERAL)))
    recipe = fine_tune_recipe(trained, QUICK)
    prepared = prepare_training(TrainingImages((tissue,)), recipe, base=trained, device="cpu")
    (note,) = (text for text in prepared.messages if text.startswith("noise that is added"))
    assert re.fullmatch(r".*: one_of\(gaussian\(sigma=0\.\.55\), .{30,60}\), \.\.\., as in the training of tiny", note)
    prepared.files.close()


def test_model_that_did_not_become_better_is_returned_unchanged_with_a_warning(tiny, tissue):
    """One that did is a new model, whose licence is not that of the original."""
    base = replace(tiny, card=replace(tiny.card, licence="BSD-3-Clause"))
    settings = QUICK | {"axes": "YXS", "device": "cpu", "keep": "best"}
    better = md.fine_tune(base, [tissue], **settings | {"steps": 40}, rate=1e-2, licence="CC0-1.0")
    assert better.card.licence == "CC0-1.0"
    with pytest.warns(UserWarning, match="no validated step was better than tiny-tuned, which is returned unchanged"):
        same = md.fine_tune(better, [tissue], **settings, rate=1.0, ema=0.0, licence="MIT")
    assert same.digest == better.digest
    assert (same.card.licence, same.card.training) == ("CC0-1.0", better.card.training)


def test_noisy_image_given_as_clean_is_a_warning_at_the_caller(tiny):
    ramp = np.full((160, 160), 100.0) + np.linspace(0, 80, 160)
    noisy = np.clip(ramp + np.random.default_rng(0).normal(0, 25, (160, 160)), 0, 255).astype(np.uint8)
    with pytest.warns(UserWarning, match="teaches the network to keep this noise") as caught:
        md.fine_tune(tiny, [noisy], axes="YX", device="cpu", **QUICK)
    assert {warning.filename for warning in caught} == {__file__}


def test_messages_during_training_are_warnings(tiny, tissue, allow_one_patch):
    allow_one_patch()
    with pytest.warns(UserWarning, match="now 1 patches at a time"):
        md.fine_tune(tiny, [tissue], axes="YXS", device="cpu", **QUICK)


def test_pairs_have_validation_images(tiny, tissue):
    clean, noisy = tissue, np.clip(tissue.astype(int) + 20, 0, 255).astype(np.uint8)
    parts = (slice(0, 64), slice(64, 128))
    (learned, learned_clean), (held_out, held_out_clean) = ((noisy[rows], clean[rows]) for rows in parts)
    tuned = md.fine_tune(
        tiny, [learned], clean=[learned_clean], validation=[held_out], validation_clean=[held_out_clean],
        way="pairs", axes="YXS", device="cpu", **QUICK,
    )  # fmt: skip
    assert list(tuned.card.training["validation_psnr"]) == ["pairs"]


def truncate_and_stop(path, text):
    path.write_bytes(b"")
    raise KeyboardInterrupt


def test_recipe_is_replaced_atomically_and_read_from_the_checkpoint(tiny, tissue, quick, tmp_path, monkeypatch):
    output = tmp_path / "mine.safetensors"
    folder = training_folder(output)
    images = TrainingImages((tissue,), axes="YXS")

    def prepare(recipe, resume):
        return prepare_training(images, recipe, base=tiny, folder=folder, device="cpu", resume=resume)

    list(prepare(replace(quick, batch=32, precision="bfloat16", steps=1), resume=False).run())
    recipe = folder / "recipe.json"
    before = recipe.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", truncate_and_stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(replace(quick, batch=32, precision="bfloat16", steps=2), resume=True)
    assert recipe.read_text() == before
    for damage in (b"", b"\xff", b'{"noise": "no such noise"}'):
        recipe.write_bytes(damage)
        resumed = fine_tune_recipe(tiny, {}, torch.device("cpu"), folder)
        assert (resumed.batch, resumed.precision) == (32, "bfloat16")
    (folder / "checkpoint.pt").unlink()
    assert fine_tune_recipe(tiny, {}, torch.device("cpu"), folder).batch == FINE_TUNE.batch


def test_single_image_needs_no_list(tiny, tissue, tmp_path):
    imsave(tmp_path / "a.png", tissue)
    weights = [
        md.fine_tune(tiny, images, axes="YXS", device="cpu", **QUICK).digest
        for images in (tissue, tmp_path / "a.png", str(tmp_path / "a.png"), [tissue])
    ]
    assert len(set(weights)) == 1


def test_changed_attention_mask_is_a_caution(tiny, tissue):
    masked = replace(tiny.card.architecture, attention_mask=0.5)
    trained = replace(tiny.card, architecture=masked, training={"recipe": json.loads(PAPER_RECIPE.to_json())})
    recipe = replace(PAPER_RECIPE, **QUICK)
    prepared = prepare_training(TrainingImages((tissue,)), recipe, base=replace(tiny, card=trained), device="cpu")
    assert any("masks 50% of the attention tokens, and with this recipe 75%" in text for text in prepared.cautions)
    prepared.files.close()
