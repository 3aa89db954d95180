"""Convert a trained general model to a bundled one: float16, with the card that users see.

    python tools/bundle_model.py runs/general-rgb.safetensors general-rgb

The card keeps the training record; only the list of files becomes a list of data sets. With `--average-with FILE`, the
weights are averaged with those before the last stage of training, which makes them more robust on images unlike those
that they were trained on (Wortsman et al., *Model soups*, ICML 2022).
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
_OTHERS = ["CMU-1-Small-Region of the OpenSlide test data (CC0), a slide in H&E", "synthetic microscope images"]
_TRAINING_DATA = {
    "general-rgb": [_NATURAL, f"{_NUCLEI}: 107 stained tissue images, 4 bright-field images", *_OTHERS],
    "general-gray": [
        _NATURAL,
        f"{_NUCLEI}: 140 fluorescence images, 107 stained tissue images, 4 bright-field images",
        *_OTHERS,
    ],
}
_IMAGE_KIND = {"general-rgb": "RGB images", "general-gray": "gray and fluorescence images, channel by channel"}


def main() -> None:
    """Read the model, replace its card and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("name", choices=sorted(_TRAINING_DATA))
    parser.add_argument("--average-with", type=Path, help="model before the last stage of training")
    parser.add_argument("--share", type=float, default=0.5, help="share of the last stage in that average")
    parser.add_argument("--output", type=Path, help="file to write, by default that of the bundled model")
    arguments = parser.parse_args()
    model, weights = read_model(arguments.model), None
    if arguments.average_with:
        earlier = read_model(arguments.average_with).weights
        share = arguments.share
        weights = {name: (1 - share) * earlier[name] + share * weight for name, weight in model.weights.items()}
    card = bundled_card(model.card, arguments.name, last_stage=arguments.share if weights else 1.0)
    bundled = Path(catalogue.__file__).parent / "bundled" / f"{arguments.name}.safetensors"
    Model(card, weights or model.weights).save(arguments.output or bundled, torch.float16)


def bundled_card(card: Card, name: str, *, last_stage: float = 1.0) -> Card:
    """Return the card of a bundled model; `last_stage` is the share of the last stage of training in the weights."""
    steps, hours = _totals(card.training)
    average = f"; the weights are {1 - last_stage:.0%} those before and {last_stage:.0%} those after the last stage"
    return replace(
        card,
        name=name,
        description=(
            f"The default for {_IMAGE_KIND[name]}: one pass without masks, for noise of many kinds and strengths, and "
            "none. A U of convolutions with masked window attention, trained for "
            f"{steps} steps, {hours:.1f} hours in all{average if last_stage < 1 else ''}."
        ),
        data=_TRAINING_DATA[name],
        licence="BSD-3-Clause",
        source="trained by this project; docs/models.md",
    )


def _totals(training: dict[str, Any]) -> tuple[int, float]:
    """Return the steps and hours of a training, including those of the models it was started from."""
    steps, hours = int(training.get("kept_step", training.get("steps", 0))), float(training.get("hours", 0.0))
    earlier = training.get("begun_from", {}).get("training")
    if earlier:
        earlier_steps, earlier_hours = _totals(earlier)
        return steps + earlier_steps, hours + earlier_hours
    return steps, hours


if __name__ == "__main__":
    main()
