"""Handlers of `masked-denoiser models list | info | import | export`."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from masked_denoiser.errors import ModelError
from masked_denoiser.jobs.shell_command import join_words, system_quoting
from masked_denoiser.models.card import Card
from masked_denoiser.models.catalogue import (
    DEFAULT,
    DEFAULT_GRAY,
    Entry,
    check_new_path,
    find_model,
    list_models,
    user_folder,
)
from masked_denoiser.models.export.api import export_model
from masked_denoiser.models.file import Model, read_card, read_model
from masked_denoiser.models.package_import import read_package
from masked_denoiser.models.reference import import_checkpoint, parameter_count
from masked_denoiser.network.config import SwinConfig


def list_all(arguments: Namespace) -> int:
    """Print the available models, with a mark at the default ones."""
    entries = list_models()
    if arguments.json:
        print(json.dumps([{"name": e.name, "path": str(e.path), "bundled": e.bundled} for e in entries]))
        return 0
    for entry in entries:
        mark = "*" if entry.name in (DEFAULT, DEFAULT_GRAY) else " "
        print(f"{mark} {entry.name:24} {'bundled' if entry.bundled else 'yours':8} {_describe(entry)}")
    print(f"\n* is a default model: {DEFAULT} for RGB images, {DEFAULT_GRAY} for all others.")
    print(f"Your models are in {user_folder()}")
    return 0


def info(arguments: Namespace) -> int:
    """Print the main facts about a model, or its whole card as JSON."""
    path = find_model(arguments.model)
    card = read_card(path) if path.suffix.lower() == ".safetensors" else import_checkpoint(path).card
    parameters = parameter_count(card.architecture)
    if arguments.json:
        print(json.dumps(json.loads(card.to_json()) | {"parameters": parameters, "file": str(path)}))
        return 0
    print(f"{card.name}: {card.description}")
    for name, value in _facts(card, parameters).items():
        print(f"  {name:10} {value}")
    print(f"  {'file':10} {path}")
    print("The whole card, with all training settings: --json")
    return 0


def _facts(card: Card, parameters: int) -> dict[str, str]:
    """Return the facts that are printed, by name; empty ones are omitted."""
    config = card.architecture
    masked = f"{config.attention_mask:.0%} of the tokens masked" if config.attention_mask else "no mask"
    facts = {
        "images": "RGB" if config.channels == 3 else "gray, channel by channel",
        "network": f"{'Swin' if isinstance(config, SwinConfig) else 'U-shaped'}, {parameters:,} parameters, {masked}",
        "data": "; ".join(card.data[:5]) + (f"; and {len(card.data) - 5} more" if len(card.data) > 5 else ""),
        "licence": "not stated" if card.licence == Card.licence else card.licence,
        "source": card.source,
    }
    recipe = card.training.get("recipe")
    if isinstance(recipe, dict):
        added = recipe.get("way", "clean") == "clean"
        facts["noise"] = str(recipe.get("noise", "")) if added else "that of the training images"
    if "steps" in card.training:
        stage = " in the last of several stages" if _has_stages(card) else ""
        facts["training"] = f"{card.training['steps']} steps{stage}" + _prefixed(card.training, "hardware", ", on ")
    return {name: value for name, value in facts.items() if value}


def _has_stages(card: Card) -> bool:
    """Return whether a training began with a model that was itself trained, and not with random weights."""
    begun_from = card.training.get("begun_from")
    return isinstance(begun_from, dict) and bool(begun_from.get("training"))


def _prefixed(training: dict[str, Any], name: str, prefix: str) -> str:
    return f"{prefix}{training[name]}" if name in training else ""


def import_(arguments: Namespace) -> int:
    """Import a published checkpoint, a model file, or a package of bioimage.io, into the user's models."""
    model = _read_model_file(arguments) or import_checkpoint(
        arguments.checkpoint,
        name=arguments.name,
        ema=not arguments.no_ema,
        global_skip=None if arguments.global_skip is None else arguments.global_skip == "yes",
        attention_mask=arguments.attention_mask,
        licence=arguments.licence,
    )
    target = _target(arguments, model.card)
    model.save(target, overwrite=arguments.overwrite)
    print(model.card.description)
    print(f"wrote {target}; use it with {join_words(['--model', _reference(target)], system_quoting())}")
    return 0


def _read_model_file(arguments: Namespace) -> Model | None:
    """Return a model that keeps its card except its name; None if the file is a checkpoint of another program."""
    path = Path(arguments.checkpoint)
    suffix = path.suffix.lower()
    if suffix not in (".zip", ".safetensors"):
        return None
    _refuse_checkpoint_options(arguments, path)
    model = read_package(path) if suffix == ".zip" else read_model(path)
    name = arguments.name or (model.card.name if suffix == ".zip" else path.stem)
    return Model(replace(model.card, name=name, licence=arguments.licence or model.card.licence), model.weights)


def _refuse_checkpoint_options(arguments: Namespace, path: Path) -> None:
    """Raise ModelError for options that describe a checkpoint, if the file has a card that states the same."""
    given = {
        "--no-ema": arguments.no_ema,
        "--global-skip": arguments.global_skip is not None,
        "--attention-mask": arguments.attention_mask is not None,
    }
    if used := [name for name, value in given.items() if value]:
        raise ModelError(f"{path} states its network itself; omit {' and '.join(used)}, which only checkpoints take")


def export(arguments: Namespace) -> int:
    """Export a model for other programs."""
    exported = export_model(arguments.model, arguments.to, arguments.output)
    for note in exported.notes:
        print(note)
    print(f"wrote {exported.path}")
    return 0


def _describe(entry: Entry) -> str:
    """Return the description of a model, or why it cannot be read: one broken file must not hide the other models."""
    try:
        return read_card(entry.path).description
    except ModelError as error:
        return f"cannot be used: {error}"


def _reference(target: Path) -> str:
    """Return how `--model` finds a model: by its name in the user's folder, by its path elsewhere."""
    return target.stem if target.resolve().parent == user_folder().resolve() else str(target)


def _target(arguments: Namespace, card: Card) -> Path:
    """Return the path for an imported model; create the user's folder if it is needed."""
    target = Path(arguments.output or user_folder() / f"{Path(card.name).name}.safetensors")
    check_new_path(target)
    if not arguments.output:
        user_folder().mkdir(parents=True, exist_ok=True)
    if target.exists() and not arguments.overwrite:
        raise ModelError(f"{target} exists; give --name, or --overwrite to replace it")
    return target
