"""`masked-denoiser models list | info | import | export`."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from masked_denoiser.errors import ModelError
from masked_denoiser.models.card import Card
from masked_denoiser.models.catalogue import DEFAULT, Entry, find_model, list_models, load_model, user_folder
from masked_denoiser.models.file import Model, read_card, read_model
from masked_denoiser.models.reference import export_checkpoint, import_checkpoint, parameter_count
from masked_denoiser.network.config import SwinConfig


def list_all(arguments: Namespace) -> int:
    """Prints the models at hand; the default one is marked."""
    entries = list_models()
    if arguments.json:
        print(json.dumps([{"name": e.name, "path": str(e.path), "bundled": e.bundled} for e in entries]))
        return 0
    for entry in entries:
        mark = "*" if entry.name == DEFAULT else " "
        print(f"{mark} {entry.name:24} {'bundled' if entry.bundled else 'yours':8} {_describe(entry)}")
    print(f"\n* is used when none is named. Your models lie in {user_folder()}")
    return 0


def info(arguments: Namespace) -> int:
    """Prints what a person wants to know of a model; as JSON its whole card."""
    path = find_model(arguments.model)
    card = read_card(path) if path.suffix == ".safetensors" else import_checkpoint(path).card
    parameters = parameter_count(card.architecture)
    if arguments.json:
        print(json.dumps(json.loads(card.to_json()) | {"parameters": parameters, "file": str(path)}))
        return 0
    print(f"{card.name}: {card.description}")
    for name, value in _facts(card, parameters).items():
        print(f"  {name:10} {value}")
    print(f"  {'file':10} {path}")
    print("The whole card, with every setting of its training: --json")
    return 0


def _facts(card: Card, parameters: int) -> dict[str, str]:
    """What is worth a line."""
    config = card.architecture
    masked = f"{config.attention_mask:.0%} of the tokens masked" if config.attention_mask else "no mask"
    facts = {
        "images": "RGB" if config.channels == 3 else "gray, channel by channel",
        "network": f"{'Swin' if isinstance(config, SwinConfig) else 'U-shaped'}, {parameters:,} parameters, {masked}",
        "data": "; ".join(card.data[:5]) + (f"; and {len(card.data) - 5} more" if len(card.data) > 5 else ""),
        "licence": card.licence,
        "source": card.source,
    }
    recipe = card.training.get("recipe")
    if isinstance(recipe, dict):
        facts["noise"] = str(recipe.get("noise", ""))
    if "steps" in card.training:
        last = " in the last of several legs" if "training" in card.training.get("begun_from", {}) else ""
        facts["training"] = f"{card.training['steps']} steps{last}" + _with(card.training, "hardware", ", on ")
    return {name: value for name, value in facts.items() if value}


def _with(training: dict[str, Any], name: str, before: str) -> str:
    return f"{before}{training[name]}" if name in training else ""


def import_(arguments: Namespace) -> int:
    """Turns a published checkpoint, or a model file, into a model of the user's."""
    model = _of_this_program(arguments) or import_checkpoint(
        arguments.checkpoint,
        name=arguments.name,
        ema=not arguments.no_ema,
        global_skip=None if arguments.global_skip is None else arguments.global_skip == "yes",
        attention_mask=arguments.attention_mask,
        licence=arguments.licence,
    )
    target = _target(arguments, model.card)
    model.save(target)
    print(f"wrote {target}; its name is now {target.stem!r}")
    return 0


def _of_this_program(arguments: Namespace) -> Model | None:
    """A model that has a card: it keeps it."""
    path = Path(arguments.checkpoint)
    if path.suffix != ".safetensors":
        return None
    model = read_model(path)
    return Model(model.card.renamed(arguments.name or path.stem), model.weights)


def export(arguments: Namespace) -> int:
    """Writes a model's weights for other programs."""
    target = Path(arguments.checkpoint)
    if target.exists():
        raise ModelError(f"{target} exists; choose another name or remove it")
    export_checkpoint(load_model(arguments.model), target)
    print(f"wrote {target}")
    return 0


def _describe(entry: Entry) -> str:
    """What a model's card says of it; one broken file must not hide the other models."""
    try:
        return read_card(entry.path).description
    except ModelError as error:
        return f"cannot be used: {error}"


def _target(arguments: Namespace, card: Card) -> Path:
    """Where an imported model goes; the user's folder is made when it is first needed."""
    if arguments.output:
        target = Path(arguments.output)
    else:
        user_folder().mkdir(parents=True, exist_ok=True)
        target = user_folder() / f"{Path(card.name).name}.safetensors"
    if target.exists() and not arguments.overwrite:
        raise ModelError(f"{target} exists; give --name, or --overwrite to replace it")
    return target
