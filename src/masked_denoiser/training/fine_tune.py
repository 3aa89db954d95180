"""Fine-tuning: from a trained model to one for the user's own images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from masked_denoiser.inference.device import choose_device
from masked_denoiser.models.catalogue import AUTO, load_model, suited
from masked_denoiser.models.file import Model
from masked_denoiser.training.data.dataset import Given, first_of, open_images
from masked_denoiser.training.events import Trained
from masked_denoiser.training.prepare import TrainingImages, prepare_training
from masked_denoiser.training.recipe import FINE_TUNE, WITHOUT_TRUTH, TrainingRecipe, checked_values
from masked_denoiser.training.run_folder import RunFolder

#: Patches of a step on a GPU, which is not busy with the few that a CPU takes.
_GPU_BATCH = 32
#: A model that was trained with fewer masked patches than this denoises without masks.
_FEW_MASKED = 0.5


def fine_tune(
    model: Model | str | Path,
    images: Iterable[Given],
    *,
    device: str = "auto",
    clean: Iterable[Given] = (),
    validation: Iterable[Given] = (),
    axes: str | None = None,
    **settings: Any,
) -> Model:
    """Fine-tune a model on images: `masked_denoiser.fine_tune`.

    Args:
        model: a model, its name or its path; "auto" takes general-rgb or general-gray, as suits the first image.
        images: arrays, files or folders; clean ones, unless `way` says otherwise.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        clean: the truths of `way="pairs"`.
        validation: images to validate with; by default a part of `images` is held out.
        axes: of the images, where they do not name them.
        settings: fields of `TrainingRecipe`, such as `noise="gaussian(sigma=15)"` or `steps=500`.

    Returns:
        The model of the best validation. Its `save` writes it.

    Raises:
        MaskedDenoiserError: if it cannot be trained as asked.
    """
    given = TrainingImages(tuple(images), tuple(clean), tuple(validation), axes=axes)
    base = model if isinstance(model, Model) else load_base(model, given.images, axes)
    chosen, _ = choose_device(device)
    prepared = prepare_training(given, fine_tune_recipe(base, settings, chosen), base=base, device=chosen)
    *_, last = prepared.run()
    assert isinstance(last, Trained)
    return prepared.model(last, f"{base.card.name}-tuned")


def load_base(name: str | Path, images: Sequence[Given], axes: str | None = None) -> Model:
    """Return the model to begin with; for "auto" the general model that suits the first image.

    Raises:
        MaskedDenoiserError: if there is no such model, or the image cannot be opened.
    """
    if name != AUTO:
        return load_model(name)
    with ExitStack() as files:
        first, *_ = open_images(first_of(images), files, axes)
        return load_model(suited(AUTO, first.rgb))


def fine_tune_recipe(
    base: Model,
    settings: dict[str, Any],
    device: torch.device | None = None,
    resumed: Path | None = None,
) -> TrainingRecipe:
    """Return the preset for fine-tuning a model on a device, with what the user set.

    Attention is masked as the model's is at inference; pixels only where the model was trained so.

    Args:
        base: the model to begin with.
        settings: fields of `TrainingRecipe` that are set.
        device: decides batch and precision; None for a CPU.
        resumed: folder of a training that is resumed: what the device decided then still holds.

    Raises:
        TrainingError: for settings that a recipe does not know or allow.
    """
    mask = base.card.architecture.attention_mask
    preset = replace(FINE_TUNE, attention_mask=(mask, mask), **_for_device(device or torch.device("cpu")))
    if base.card.training.get("recipe", {}).get("masked_patches", 1.0) < _FEW_MASKED:
        preset = replace(preset, masked_patches=0.0)
    if resumed is not None and (earlier := RunFolder(resumed).recipe()) is not None:
        preset = replace(preset, batch=earlier.batch, precision=earlier.precision)
    for_way = WITHOUT_TRUTH if settings.get("way") == "noisy" else {}
    return replace(preset, **(for_way | checked_values(settings)))


def _for_device(device: torch.device) -> dict[str, Any]:
    """What a device changes of the preset."""
    changes: dict[str, Any] = {"batch": _GPU_BATCH} if device.type == "cuda" else {}
    return changes | ({"precision": "bfloat16"} if _computes_bfloat16(device) else {})


def _computes_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for products in bfloat16, which are about twice as fast then."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    ask: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)  # since torch 2.10
    capabilities = ask()
    return device.type == "cpu" and any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
