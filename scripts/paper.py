"""Writes docs/paper.md: the paper's figures 7, 10, 12 and 14 and its motivation, each by a named command.

    python scripts/paper.py kodak24/ --tissue runs/

`kodak24` holds the 24 Kodak images. The twins and the logs of all trainings lie in docs/training; the folder of
`--tissue` holds tissue.safetensors and tissue-unmasked.safetensors, trained as the page says.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from command_page import DOCS, printed

from masked_denoiser.models.catalogue import load_model
from masked_denoiser.models.reference import parameter_count
from masked_denoiser.training.recipe import TrainingRecipe

_TWINS = ("docs/training/paper-short.safetensors", "docs/training/paper-short-unmasked.safetensors")
_TISSUE = ("tissue.safetensors", "tissue-unmasked.safetensors")

#: Never trained; what the gain of masked training is claimed for.
_UNSEEN = ("poisson(alpha=3)", "speckle(variance=0.04)", "mixture(level=4)", "salt_and_pepper(density=0.02)")
_TRAINED = "gaussian(sigma=15)"
#: The levels of figure 10, of what has levels.
_LEVELS = (
    _TRAINED,
    *(f"correlated(sigma={level})" for level in (40, 50, 60)),
    *(f"speckle(variance={level})" for level in (0.018, 0.03, 0.04)),
    *(f"poisson(alpha={level})" for level in (2, 3, 3.5)),
    *(f"mixture(level={level})" for level in (1, 4)),
    "salt_and_pepper(density=0.02)",
)
_CROP = "64"

#: Fields of a recipe that do not decide what is learned.
_NO_MATTER = ("unseen", "micro_batch", "save_every", "validate_every", "keep")


def main() -> None:
    """Runs each figure's command, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kodak", type=Path)
    parser.add_argument("--tissue", type=Path, help="folder of the networks that were trained on tissue")
    asked = parser.parse_args()
    for figure in Path("docs/images").glob("paper_figure_*.png"):
        figure.unlink()  # `evaluate` replaces no picture
    kodak, recipe = asked.kodak, _recipe(_TWINS[0])
    curves, pictures = _curves(), _pictures(kodak)
    figure_10 = _grid(kodak, _TWINS, _LEVELS, "paper_figure_10.png")
    parts = [
        "# The paper, in small\n",
        "Written by `python scripts/paper.py kodak24/`. *Masked Image Training for Generalizable Deep Image Denoising* "
        "(Chen et al., CVPR 2023) claims: a network that learns with most of its input pixels and tokens hidden learns "
        "what images look like, and so removes noises that it never saw. Here are its figures with networks that were "
        f"trained on a CPU: {recipe.steps} steps of {recipe.batch} patches instead of 200 000 of 64. They are "
        "far from what the paper's training gives, and say what so little training can say.\n",
        _what_was_trained(),
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
        _features(kodak),
        "![Distributions of features](images/paper_figure_14.png)\n",
        "## The motivation: trained on stained tissue, tested on photographs\n",
        _tissue(kodak, asked.tissue),
    ]
    (DOCS / "paper.md").write_text("\n".join(parts))


def _recipe(model: str) -> TrainingRecipe:
    recipe = load_model(model).card.training["recipe"]
    return TrainingRecipe.from_json(json.dumps(recipe))


def _what_was_trained() -> str:
    """A table of the networks, from their cards."""
    rows = ["## What was trained\n", "| | " + " | ".join(Path(t).stem for t in _TWINS) + " |", "| --- | --- | --- |"]
    cards = [load_model(name).card for name in _TWINS]
    recipes: list[dict[str, Any]] = [card.training["recipe"] for card in cards]
    sizes = [f"the paper's, {parameter_count(card.architecture):,} parameters" for card in cards]
    rows.append("| network | " + " | ".join(sizes) + " |")
    names = [name for name in recipes[0] if name not in _NO_MATTER]
    rows += [f"| {name} | " + " | ".join(_plain(recipe[name]) for recipe in recipes) + " |" for name in names]
    spent = [f"{card.training['hours']}, {card.training['hardware']}" for card in cards]
    rows.append("| hours, hardware | " + " | ".join(spent) + " |")
    rows.append("| images | " + " | ".join(c.data[0] if c.data else "" for c in cards) + " |\n")
    rows.append(
        "The recipes are [paper-short.json](../recipes/paper-short.json) and "
        "[paper-short-unmasked.json](../recipes/paper-short-unmasked.json): `masked-denoiser train natural/ "
        "--recipe recipes/paper-short.json --output paper-short.safetensors`. Beside the length they differ from the "
        "paper in the learning rate (one cycle to 1e-3 instead of 1e-4 throughout), in a clipped gradient, in the "
        "average (0.998 instead of 0.999), in bfloat16, and in that half of the patches have masked pixels and not "
        "all: with all of them masked, as in the paper, so short a training gets nowhere.\n"
    )
    return "\n".join(rows)


def _plain(value: Any) -> str:
    return " to ".join(map(str, value)) if isinstance(value, list) else str(value)


def _evaluate(kodak: Path, models: tuple[str, ...], noises: tuple[str, ...], *more: str, first: bool = False) -> str:
    """`evaluate` on the Kodak images, as the page shows it."""
    given = sorted(kodak.glob("*.png"))[6:7] if first else [kodak]
    rest = [part for model in models for part in ("--model", model)]
    rest += [part for noise in noises for part in ("--noise", noise)] + ["--treat", "none", "--crop", _CROP, *more]
    names = ["kodak24/" + given[0].name if first else "kodak24/"]
    shown = [Path(part).name if part.endswith(_TISSUE) else part for part in rest]
    said = printed(["evaluate", *map(str, given), *rest, "--quiet"], ["evaluate", *names, *shown])
    for model in models:
        said = said.replace(f" {model} |", f" {Path(model).stem} |")
    return said


def _grid(kodak: Path, models: tuple[str, ...], noises: tuple[str, ...], plot: str) -> str:
    return _evaluate(kodak, models, noises, "--baseline", "noisy", "--plot", f"docs/images/{plot}")


def _gains(figure_10: str) -> str:
    """What masked training gains on what was never trained, from the table above."""
    rows = [line.strip("| ").split(" | ") for line in figure_10.splitlines() if line.startswith("| ")]
    found = {row[0]: [float(cell.split(" / ")[0]) for cell in row[1:3]] for row in rows if row[0] in _LEVELS}
    lines = ["The gain of masked training, masked minus unmasked, from this table (the paper has 4 to 6 dB):\n"]
    lines += ["| noise | gain in dB |", "| --- | --- |"]
    lines += [f"| {noise} | {found[noise][0] - found[noise][1]:+.2f} |" for noise in (_TRAINED, *_UNSEEN)]
    return "\n".join([*lines, ""])


def _pictures(kodak: Path) -> str:
    return _evaluate(kodak, _TWINS, _UNSEEN, "--pictures", "docs/images/paper_figure_7.png", first=True)


def _curves() -> str:
    folders = [str(Path(twin).with_suffix(".training")) for twin in _TWINS]
    said = printed(["evaluate", "--training-curve", *folders, "--plot", "docs/images/paper_figure_12.png"])
    command, _, lines = said.partition("\n\n")
    return f"{command}\n\n```\n{lines}```\n"


def _features(kodak: Path) -> str:
    models = [part for model in _TWINS for part in ("--model", model)]
    rest = ["--features", *models, "--plot", "docs/images/paper_figure_14.png"]
    few = sorted(kodak.glob("*.png"))[::12]
    said = printed(["evaluate", *map(str, few), *rest], ["evaluate", *(path.name for path in few), *rest])
    return said.replace("| noise |", "\n| noise |", 1)


def _tissue(kodak: Path, folder: Path | None) -> str:
    paths = [folder / name for name in _TISSUE] if folder else []
    if not paths or not all(path.exists() for path in paths):
        return "Not trained.\n"
    card = load_model(paths[0]).card
    commands = (
        f"masked-denoiser train histology/ --recipe recipes/{name} --output {output}"
        for name, output in zip(("tissue-short.json", "tissue-short-unmasked.json"), _TISSUE, strict=True)
    )
    return "\n".join(
        [
            "Both twins again, from random weights, on stained tissue only (107 images of the Data Science Bowl 2018), "
            f"{card.training['steps']} steps; the noise is the one that was trained, then others; the images are of a "
            "kind that was not. Their weights are not kept here; these commands train them:\n",
            *(f"`{command}`\n" for command in commands),
            _evaluate(kodak, tuple(map(str, paths)), (_TRAINED, *_UNSEEN), "--baseline", "noisy"),
        ]
    )


if __name__ == "__main__":
    main()
