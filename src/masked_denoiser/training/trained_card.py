"""Card of a trained model."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from masked_denoiser.errors import TrainingError
from masked_denoiser.images.source import Source
from masked_denoiser.inference.device import describe
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model
from masked_denoiser.training.events import Trained, brief_noise
from masked_denoiser.training.recipe import TrainingRecipe
from masked_denoiser.training.trainer import Trainer
from masked_denoiser.version import program_version

#: Most images that a card names.
_MAX_NAMED_IMAGES = 100


def trained_card(
    name: str, trained: Trained, trainer: Trainer, base: Model, sources: Sequence[Source], licence: str = ""
) -> Card:
    """Return the card of a trained model.

    If the initial weights are kept, it is the card of the model that the training began with, apart from name and
    description: the noise of a training that did not change the weights must not change how images are treated.

    Args:
        name: name of the model.
        trained: last event of the training.
        trainer: the trainer.
        base: the model that the training began with.
        sources: the images.
        licence: licence of the trained weights; "" if it is not stated.
    """
    images = f"{len(sources)} image{'' if len(sources) == 1 else 's'}"
    origin = base.card
    if not trained.best_step:
        unchanged = f"{origin.name}, unchanged: no validated step of a training on {images} was better."
        return replace(origin, name=name, description=unchanged)
    recipe = trainer.recipe
    named = [f"{_printable(source.name)}, {source.axes} {source.shape}" for source in sources[:_MAX_NAMED_IMAGES]]
    return Card(
        name=name,
        architecture=replace(origin.architecture, attention_mask=recipe.inference_mask),
        description=f"Trained from {origin.name} for {trained.best_step} steps on {images}: {_describe_way(recipe)}",
        training=_record(trained, trainer, base),
        data=named + list(origin.data),
        licence=licence or Card.licence,
        source=f"trained from {origin.name}",
    )


def _printable(name: str) -> str:
    """Return the name of an image without the control characters that no card has, and that wrong encodings give."""
    return "".join("\ufffd" if unicodedata.category(character) == "Cc" else character for character in name)


def check_licence(licence: str) -> None:
    """Check the licence of a new model, as a card with control characters cannot be read.

    Raises:
        TrainingError: if it is not plain text.
    """
    if not licence.isprintable():
        raise TrainingError(f"the licence {licence!r:.80} has control characters; write it as one line of plain text")


def _describe_way(recipe: TrainingRecipe) -> str:
    """Return what a network learned from, as the end of a sentence."""
    noise = brief_noise(recipe.noise)
    return {
        "clean": f"noise {noise}{'' if noise.endswith('...') else '.'}",
        "noisy": "noisy images without truth.",
        "pairs": "pairs.",
    }[recipe.way]


def _record(trained: Trained, trainer: Trainer, base: Model) -> dict[str, Any]:
    """Return the settings, duration, hardware and scores of a training, and what it began with."""
    count = trainer.ranks.count
    return {
        "recipe": json.loads(trainer.recipe.to_json()),
        "steps": trained.step,
        "kept_step": trained.best_step,
        "ended": trained.why,
        "hours": round(trainer.state.seconds / 3600, 3),
        "hardware": describe(trainer.device) + (f" x {count}" if count > 1 else ""),
        "validation_psnr_before": trained.before,
        "validation_psnr": trained.after,
        "program": f"napari-masked-denoiser {program_version()}",
        "begun_from": {"name": base.card.name, "digest": base.digest, "training": base.card.training},
    }
