"""Makes a trained general model one of the bundled ones: float16, with the card that users see.

    python scripts/bundle_model.py runs/general-rgb.safetensors general-rgb

What was trained on what for how long stays in the card as the trainer wrote it; only the list of single files becomes
the list of their sets.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from masked_denoiser.models import catalogue
from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model, read_model

_NATURAL = "BSDS500 train and test, 400 photographs (no licence stated; research use is customary)"
_NUCLEI = "Data Science Bowl 2018 stage 1 (CC0)"
_DATA = {
    "general-rgb": [_NATURAL, f"{_NUCLEI}: 107 stained tissue images, 4 bright-field images"],
    "general-gray": [_NATURAL, f"{_NUCLEI}: 140 fluorescence images, 107 stained tissue images, 4 bright-field images"],
}
_KIND = {"general-rgb": "RGB images", "general-gray": "gray and fluorescence images, channel by channel"}


def main() -> None:
    """Reads, describes and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("name", choices=sorted(_DATA))
    arguments = parser.parse_args()
    model = read_model(arguments.model)
    folder = Path(catalogue.__file__).parent / "bundled"
    Model(described(model.card, arguments.name), model.weights).save(
        folder / f"{arguments.name}.safetensors", torch.float16
    )


def described(card: Card, name: str) -> Card:
    """The card of a bundled model."""
    steps, hours = _totals(card.training)
    return replace(
        card,
        name=name,
        description=(
            f"The default for {_KIND[name]}: one pass without masks, for noise of many kinds and strengths, and none. "
            f"A U of convolutions with masked window attention, trained for {steps} steps, {hours:.1f} hours in all."
        ),
        data=_DATA[name],
        licence="BSD-3-Clause",
        source="trained by this project; docs/models.md",
    )


def _totals(training: dict[str, Any]) -> tuple[int, float]:
    """Steps and hours of a training and of all that it began from."""
    steps, hours = int(training.get("kept_step", training.get("steps", 0))), float(training.get("hours", 0.0))
    before = training.get("begun_from", {}).get("training")
    if before:
        earlier_steps, earlier_hours = _totals(before)
        return steps + earlier_steps, hours + earlier_hours
    return steps, hours


if __name__ == "__main__":
    main()
