"""Handler of `masked-denoiser models card`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from masked_denoiser.errors import ModelError
from masked_denoiser.models.catalogue import find_model
from masked_denoiser.models.file import read_card
from masked_denoiser.models.hugging_face import hugging_face_card
from masked_denoiser.models.reference import parameter_count


def write(arguments: Namespace) -> int:
    """Print the card of a model for the Hugging Face hub, or write it to a new file.

    Raises:
        ModelError: if the model is no .safetensors file, or the output exists, or its folder does not.
    """
    path = find_model(arguments.model)
    if path.suffix.lower() != ".safetensors":
        raise ModelError(f"{path} has no card; first make it a model: masked-denoiser models import {path}")
    card = read_card(path)
    text = hugging_face_card(card, parameter_count(card.architecture), path.name)
    if not arguments.output:
        print(text, end="")
        return 0
    target = Path(arguments.output)
    try:
        with target.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError as error:
        raise ModelError(f"{target} exists; choose another name, or remove it") from error
    except FileNotFoundError as error:
        raise ModelError(f"folder {target.parent} does not exist; create it first") from error
    print(f"wrote {target}")
    return 0
