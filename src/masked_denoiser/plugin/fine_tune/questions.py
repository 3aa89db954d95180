"""Questions to the user before a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from masked_denoiser.models.catalogue import check_new_name
from masked_denoiser.plugin.fine_tune.form import FineTuneRequest, model_name, model_path, noisy_settings
from masked_denoiser.plugin.shared.task_view import AskingView

if TYPE_CHECKING:
    from masked_denoiser.models.file import Model


def ask_about_closing(view: AskingView) -> bool:
    """Ask whether to close the dock although a training is running."""
    question = "A training is running. Closing this dock stops it; its checkpoint is kept, and Continue resumes it."
    return view.ask(question, "Stop and close", "Keep running") != "Keep running"


def save_model(view: AskingView, model: Model, name: str) -> str:
    """Save a trained model in the user's folder, and ask before another one is replaced.

    Args:
        view: the dock.
        model: the model.
        name: its new name; "" for that of the training.

    Returns:
        The name of the saved model; "" if the user stops.

    Raises:
        FormError: if the name is not valid.
        ModelError: if it is that of a bundled model.
        OSError: if it cannot be written.
    """
    name = model_name(name or model.card.name, Path(model.card.name))
    check_new_name(name)
    path = model_path(name)
    if path.exists() and view.ask(f"A model '{name}' exists.", "Replace", "Stop") != "Replace":
        return ""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(model, card=model.card.renamed(name)).save(path)
    return name


def ask_about_existing(view: AskingView, request: FineTuneRequest) -> FineTuneRequest | None:
    """Ask what to do with an earlier training of the same name; return the next request, None to do nothing."""
    answer = view.ask(f"A training '{request.name}' exists already.", "Continue", "Start again", "Stop")
    if answer == "Continue":
        return replace(request, resume=True)
    return replace(request, overwrite=True) if answer == "Start again" else None


def ask_about_noise(view: AskingView, request: FineTuneRequest, description: str) -> FineTuneRequest | None:
    """Ask what to do with noisy images that are given as clean ones.

    Args:
        view: the dock.
        request: the request.
        description: the image and its noise.

    Returns:
        The next request; None to do nothing.
    """
    question = (
        f"These images are to be clean, but one is noisy ({description}). The network would learn to keep this noise. "
        "Training with noisy images needs no clean ones."
    )
    answer = view.ask(question, "Train with noisy images", "Train anyway", "Stop")
    if answer == "Train with noisy images":
        return replace(request, settings=noisy_settings(request.settings))
    return replace(request, accepts_noise=True) if answer == "Train anyway" else None
