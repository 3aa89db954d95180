"""Fine-tuning of a trained model on the user's images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from masked_denoiser.errors import RecipeError, TrainingError
from masked_denoiser.images.source import LazyArray, Source
from masked_denoiser.inference.device import choose_device, computes_bfloat16
from masked_denoiser.jobs.spec.parameter_names import parameters_in_errors, with_parameters
from masked_denoiser.messages import Message
from masked_denoiser.models.card import Card
from masked_denoiser.models.catalogue import AUTO, load_model, resolve_auto
from masked_denoiser.models.file import Model
from masked_denoiser.training.data.dataset import ImageInput, TrainingImages, first_input, open_images
from masked_denoiser.training.events import Trained
from masked_denoiser.training.prepare import prepare_training
from masked_denoiser.training.recipe import FINE_TUNE, WITHOUT_TRUTH, TrainingRecipe, checked_values
from masked_denoiser.training.run_folder import RunFolder

#: Patches per step on a GPU, which the default batch of a CPU does not keep busy.
_GPU_BATCH = 32
#: Share of masked patches in its training below which a model denoises without masks.
_MIN_MASKED_PATCHES = 0.5
#: Fields of the recipe that a resumed training keeps unless they are set, although their defaults may have changed.
_KEPT_ON_RESUMING = ("noise", "unseen", "batch", "precision", "stretch")


@parameters_in_errors()
def fine_tune(
    model: Model | str | Path,
    images: Iterable[ImageInput],
    *,
    device: str = "auto",
    clean: Iterable[ImageInput] = (),
    validation: Iterable[ImageInput] = (),
    validation_clean: Iterable[ImageInput] = (),
    axes: str | None = None,
    reader: str = "",
    licence: str = "",
    **settings: Any,
) -> Model:
    """Fine-tune a model on images: `masked_denoiser.fine_tune`.

    Args:
        model: a model, its name or its path; "auto" uses general-rgb or general-gray, by the first image.
        images: arrays, files or folders, or a single one; clean images, unless `way` is "noisy" or "pairs".
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        clean: clean images, for `way="pairs"`.
        validation: images for validation; by default a part of `images` is held out.
        validation_clean: clean images of `validation`, for `way="pairs"`.
        axes: axes of images whose files do not name them.
        reader: napari plugin or reader of bioio that opens the files; see `open_image`.
        licence: licence of the new model, for its card; "" if it is not stated.
        settings: fields of `TrainingRecipe`, such as `noise="gaussian(sigma=15)"` or `steps=500`; the default noise is
            that of the model's own training, see `fine_tune_recipe`.

    Returns:
        The model of the best validation, which its method `save` writes to a file.

    Raises:
        MaskedDenoiserError: if the arguments or images are invalid.

    Warns:
        UserWarning: about likely mistakes, such as noisy images that are given as clean, about what goes wrong during
            the training, and if no step is better than the model, which is then returned unchanged.
    """
    inputs = TrainingImages(
        _as_list(images), _as_list(clean), _as_list(validation), _as_list(validation_clean), axes=axes, reader=reader
    )
    base = model if isinstance(model, Model) else load_base(model, inputs.images, axes, reader)
    chosen, _ = choose_device(device)
    recipe = fine_tune_recipe(base, settings, chosen)
    prepared = prepare_training(inputs, recipe, base=base, device=chosen, licence=licence)
    for text in prepared.cautions:
        _warn(text)
    end: Trained | None = None
    for event in prepared.run():
        if isinstance(event, Message):
            _warn(event.text)
        elif isinstance(event, Trained):
            end = event
    assert end is not None  # a training ends with this event, or raises
    if not end.best_step:
        _warn(f"no validated step was better than {base.card.name}, which is returned unchanged")
    return prepared.model(end, f"{base.card.name}-tuned")


def _as_list(images: Iterable[ImageInput] | ImageInput) -> tuple[ImageInput, ...]:
    """Return images as a tuple, also a single one: iterating over it would yield letters, or its rows."""
    if isinstance(images, str | os.PathLike | Source | LazyArray):
        return (images,)
    return tuple(images)


def _warn(text: str) -> None:
    """Issue a warning that names parameters, and points to the caller of `fine_tune`."""
    warnings.warn(with_parameters(text), UserWarning, stacklevel=4)  # between them is `parameters_in_errors`


def load_base(name: str | Path, images: Sequence[ImageInput], axes: str | None = None, reader: str = "") -> Model:
    """Return the model to start from; for "auto" the general model for the channels of the first image.

    Raises:
        MaskedDenoiserError: if there is no such model, or the image cannot be opened.
    """
    if name != AUTO:
        return load_model(name)
    with ExitStack() as files:
        first, *_ = open_images(first_input(images, reader), files, axes, reader=reader)
        return load_model(resolve_auto(AUTO, first.rgb))


def fine_tune_recipe(
    base: Model,
    settings: dict[str, Any],
    device: torch.device | None = None,
    resumed: Path | None = None,
) -> TrainingRecipe:
    """Return the preset for fine-tuning a model on a device, with the user's settings.

    Attention is masked as the model does at inference; pixels are masked only if the model was trained with masks. To
    clean images the noise of the model's own training is added, so that a model for many kinds of noise is not
    narrowed to one; it is that of `FINE_TUNE` if the model's card does not name it.

    Args:
        base: the model to start from.
        settings: values of fields of `TrainingRecipe`.
        device: determines batch and precision; None for a CPU.
        resumed: folder of the training to resume, whose noise, batch and precision are kept.

    Raises:
        TrainingError: for unknown fields or invalid values.
    """
    mask = base.card.architecture.attention_mask
    preset = replace(FINE_TUNE, attention_mask=(mask, mask), **_for_device(device or torch.device("cpu")))
    if not _was_trained_with_masks(base.card):
        preset = replace(preset, masked_patches=0.0)
    if settings.get("way", "clean") == "clean" and "noise" not in settings:
        preset = replace(preset, **_trained_noise(base.card))
    if resumed is not None and (earlier := RunFolder(resumed).recipe()) is not None:
        preset = replace(preset, **{name: getattr(earlier, name) for name in _KEPT_ON_RESUMING})
    without_truth = WITHOUT_TRUTH if settings.get("way") == "noisy" else {}
    return replace(preset, **(without_truth | checked_values(settings)))


def _was_trained_with_masks(card: Card) -> bool:
    """Return whether a model that was trained once or more was trained with masked pixels.

    A model that masks attention was; of others the first training decides, as a fine-tuning masks few patches only. The
    training of imported models without masked attention is not known, and most others have no masks.
    """
    if card.architecture.attention_mask > 0:
        return True
    recipes = list(_recipes(card))
    return bool(recipes) and bool(recipes[-1].get("masked_patches", 1.0) >= _MIN_MASKED_PATCHES)


def inherited_noise(card: Card) -> str:
    """Return the noise recipe with which a model is fine-tuned on clean images by default."""
    return str(_trained_noise(card).get("noise", FINE_TUNE.noise))


def _trained_noise(card: Card) -> dict[str, Any]:
    """Return `noise` and `unseen` of the last training that added noise; nothing if the card names no valid noise."""
    for recipe in _recipes(card):
        if recipe.get("way", "clean") != "clean" or "noise" not in recipe:
            continue
        try:
            valid = TrainingRecipe(**checked_values({key: recipe[key] for key in ("noise", "unseen") if key in recipe}))
        except (RecipeError, TrainingError):  # of another version
            continue
        return {"noise": valid.noise, "unseen": valid.unseen}
    return {}


def _recipes(card: Card) -> Iterator[dict[str, Any]]:
    """Yield the recipes of the training of a model and of those before it, the last one first."""
    training: Any = card.training
    while isinstance(training, dict):
        recipe = training.get("recipe")
        if isinstance(recipe, dict):  # text in cards that were written by hand
            yield recipe
        origin = training.get("begun_from")
        training = origin.get("training") if isinstance(origin, dict) else None


def _for_device(device: torch.device) -> dict[str, Any]:
    """Return the fields of the preset that depend on the device."""
    changes: dict[str, Any] = {"batch": _GPU_BATCH} if device.type == "cuda" else {}
    return changes | ({"precision": "bfloat16"} if computes_bfloat16(device) else {})
