"""Generator of docs/paper.md: figures 7, 10, 12 and 14 of the paper and its motivation, by the command `evaluate`.

    python docs/generate/paper.py kodak24/ runs/

`kodak24` contains the 24 Kodak images, and `runs` the models, trained as the page says: paper-short.safetensors,
paper-short-unmasked.safetensors and, for the last part, tissue.safetensors and tissue-unmasked.safetensors. The
training logs of the first two are in docs/training.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from command_page import DOCS, run_for_page

from masked_denoiser.models.catalogue import load_model
from masked_denoiser.models.reference import parameter_count
from masked_denoiser.training.recipe import TrainingRecipe

#: Models trained with and without masks.
_MODELS = ("paper-short.safetensors", "paper-short-unmasked.safetensors")
#: The same, trained on stained tissue.
_TISSUE_MODELS = ("tissue.safetensors", "tissue-unmasked.safetensors")

#: Noises that were not trained, for which the paper claims the gain of masked training.
_UNSEEN = ("poisson(alpha=3)", "speckle(variance=0.04)", "mixture(level=4)", "salt_and_pepper(density=0.02)")

#: Noise of the training.
_TRAINED = "gaussian(sigma=15)"

#: Noises of figure 10.
_LEVELS = (
    _TRAINED,
    *(f"correlated(sigma={level})" for level in (40, 50, 60)),
    *(f"speckle(variance={level})" for level in (0.018, 0.03, 0.04)),
    *(f"poisson(alpha={level})" for level in (2, 3, 3.5)),
    *(f"mixture(level={level})" for level in (1, 4)),
    "salt_and_pepper(density=0.02)",
)

#: Side in pixels of the central square that is used.
_CROP = "64"

#: Fields of a recipe that do not affect the weights.
_IRRELEVANT_FIELDS = ("unseen", "micro_batch", "save_every", "validate_every", "keep")


def main() -> None:
    """Run the command of each figure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kodak", type=Path)
    parser.add_argument("models", type=Path, help="folder of the trained models")
    arguments = parser.parse_args()
    for figure in Path("docs/images").glob("paper_figure_*.png"):
        figure.unlink()  # `evaluate` never overwrites a picture
    kodak, models = arguments.kodak, [str(arguments.models / name) for name in _MODELS]
    recipe = _recipe(models[0])
    curves, pictures = _curves(), _pictures(kodak, models)
    figure_10 = _grid(kodak, models, _LEVELS, "paper_figure_10.png")
    parts = [
        "# The paper, in small\n",
        "Written by `python docs/generate/paper.py kodak24/`. *Masked Image Training for Generalizable Deep Image "
        "Denoising* (Chen et al., CVPR 2023) claims: a network that learns with most of its input pixels and tokens "
        "hidden learns what images look like, and so removes noises that it never saw. Here are its figures with "
        f"networks that were trained on a CPU: {recipe.steps} steps of {recipe.batch} patches instead of 200 000 of "
        "64. They are far from what the paper's training gives, and say what so little training can say. They were "
        "trained with an earlier version of the network, which had an additional skip connection that the paper's does "
        "not have. "
        "[paper-u.md](paper-u.md) repeats the comparison with a network that converges faster.\n",
        _training_table(models),
        "## Figure 10: noises that were never trained\n",
        f"All 24 Kodak images, the middle {_CROP} x {_CROP} pixels of each; PSNR in dB / SSIM. The networks saw "
        f"{_TRAINED} only, and get the image as it is (`--treat none`).\n",
        figure_10,
        "![PSNR over noise levels](images/paper_figure_10.png)\n",
        _gains(figure_10),
        "## Figure 7: what it looks like\n",
        pictures,
        "![Pictures](images/paper_figure_7.png)\n",
        "From left to right: noisy, masked, unmasked, clean. From top to bottom: " + ", ".join(_UNSEEN) + ".\n",
        "## Figure 12: the noises of the validation, while training\n",
        curves,
        "![Testing curves](images/paper_figure_12.png)\n",
        "## Figure 14: features under several noises\n",
        _features(kodak, models),
        "![Distributions of features](images/paper_figure_14.png)\n",
        "## The motivation: trained on stained tissue, tested on photographs\n",
        _tissue(kodak, arguments.models),
    ]
    (DOCS / "paper.md").write_text("\n".join(parts))


def _recipe(model: str) -> TrainingRecipe:
    recipe = load_model(model).card.training["recipe"]
    return TrainingRecipe.from_json(json.dumps(recipe))


def _training_table(models: list[str]) -> str:
    """Return the table of the networks, from their cards."""
    rows = ["## What was trained\n", "| | " + " | ".join(Path(t).stem for t in _MODELS) + " |", "| --- | --- | --- |"]
    cards = [load_model(name).card for name in models]
    recipes: list[dict[str, Any]] = [card.training["recipe"] for card in cards]
    sizes = [f"the paper's, {parameter_count(card.architecture):,} parameters" for card in cards]
    rows.append("| network | " + " | ".join(sizes) + " |")
    names = [name for name in recipes[0] if name not in _IRRELEVANT_FIELDS]
    rows += [f"| {name} | " + " | ".join(_format_value(recipe[name]) for recipe in recipes) + " |" for name in names]
    hours = [f"{card.training['hours']}, {card.training['hardware']}" for card in cards]
    rows.append("| hours, hardware | " + " | ".join(hours) + " |")
    rows.append("| images | " + " | ".join(c.data[0] if c.data else "" for c in cards) + " |\n")
    rows.append(
        "The recipes are [paper-short.json](../recipes/paper-short.json) and "
        "[paper-short-unmasked.json](../recipes/paper-short-unmasked.json): `masked-denoiser train natural/ "
        "--recipe recipes/paper-short.json --output paper-short.safetensors`. Apart from the length they differ from "
        "the paper in the learning rate (one cycle to 1e-3 instead of 1e-4 throughout), in a clipped gradient, in the "
        "average (0.998 instead of 0.999), in bfloat16, and in that half of the patches have masked pixels and not "
        "all: with all of them masked, as in the paper, so short a training gets nowhere.\n"
    )
    return "\n".join(rows)


def _format_value(value: Any) -> str:
    return " to ".join(map(str, value)) if isinstance(value, list) else str(value)


def _evaluate(kodak: Path, models: list[str], noises: tuple[str, ...], *more: str, first: bool = False) -> str:
    """Run `evaluate` on the Kodak images; return the command and its output with short names."""
    images = sorted(kodak.glob("*.png"))[6:7] if first else [kodak]
    options = [part for model in models for part in ("--model", model)]
    options += [part for noise in noises for part in ("--noise", noise)] + ["--treat", "none", "--crop", _CROP, *more]
    names = ["kodak24/" + images[0].name if first else "kodak24/"]
    shown = [Path(part).name if part.endswith((*_MODELS, *_TISSUE_MODELS)) else part for part in options]
    page = run_for_page(["evaluate", *map(str, images), *options, "--quiet"], ["evaluate", *names, *shown])
    for model in models:
        page = page.replace(f" {model} |", f" {Path(model).stem} |")
    return page


def _grid(kodak: Path, models: list[str], noises: tuple[str, ...], plot: str) -> str:
    return _evaluate(kodak, models, noises, "--baseline", "noisy", "--plot", f"docs/images/{plot}")


def _gains(figure_10: str) -> str:
    """Return the table of gains of masked training on untrained noises, from the table of figure 10."""
    rows = [line.strip("| ").split(" | ") for line in figure_10.splitlines() if line.startswith("| ")]
    psnrs = {row[0]: [float(cell.split(" / ")[0]) for cell in row[1:3]] for row in rows if row[0] in _LEVELS}
    lines = ["The gain of masked training, masked minus unmasked, from this table (the paper has 4 to 6 dB):\n"]
    lines += ["| noise | gain in dB |", "| --- | --- |"]
    lines += [f"| {noise} | {psnrs[noise][0] - psnrs[noise][1]:+.2f} |" for noise in (_TRAINED, *_UNSEEN)]
    return "\n".join([*lines, ""])


def _pictures(kodak: Path, models: list[str]) -> str:
    return _evaluate(kodak, models, _UNSEEN, "--pictures", "docs/images/paper_figure_7.png", first=True)


def _curves() -> str:
    folders = [f"docs/training/{Path(model).stem}.training" for model in _MODELS]
    page = run_for_page(["evaluate", "--training-curve", *folders, "--plot", "docs/images/paper_figure_12.png"])
    command, _, lines = page.partition("\n\n")
    return f"{command}\n\n```\n{lines}```\n"


def _features(kodak: Path, models: list[str]) -> str:
    options = [
        "--features",
        *(part for model in models for part in ("--model", model)),
        "--plot",
        "docs/images/paper_figure_14.png",
    ]
    subset = sorted(kodak.glob("*.png"))[::12]
    page = run_for_page(
        ["evaluate", *map(str, subset), *options], ["evaluate", *(path.name for path in subset), *options]
    )
    return page.replace("| noise |", "\n| noise |", 1)


def _tissue(kodak: Path, folder: Path) -> str:
    paths = [folder / name for name in _TISSUE_MODELS]
    if not all(path.exists() for path in paths):
        return "Not trained.\n"
    card = load_model(paths[0]).card
    commands = (
        f"masked-denoiser train histology/ --recipe recipes/{name} --output {output}"
        for name, output in zip(("tissue-short.json", "tissue-short-unmasked.json"), _TISSUE_MODELS, strict=True)
    )
    return "\n".join(
        [
            "The masked and the unmasked network again, trained from random weights on stained tissue only (107 images "
            f"of the Data Science Bowl 2018) for {card.training['steps']} steps, and tested on photographs. The first "
            "row is the noise of the training, the others are not. Where a network scores about 8 dB, far below the "
            "noisy image, it has not learned to restore masked pixels in so few steps. Their weights are not part of "
            "this project; these commands train them:\n",
            *(f"`{command}`\n" for command in commands),
            _evaluate(kodak, [*map(str, paths)], (_TRAINED, *_UNSEEN), "--baseline", "noisy"),
        ]
    )


if __name__ == "__main__":
    main()
