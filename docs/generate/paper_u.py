"""Generator of docs/paper-u.md: the claim of the paper with the U-shaped network, which converges faster.

    python docs/generate/paper_u.py kodak24/ runs/

`kodak24` contains the 24 Kodak images, and `runs` the models u-masked.safetensors and u-unmasked.safetensors, trained
as the page says.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from command_page import DOCS, run_for_page
from paper import _LEVELS, _gains

from masked_denoiser.models.catalogue import load_model
from masked_denoiser.models.reference import parameter_count

#: Models trained with and without masks.
_MODELS = ("u-masked.safetensors", "u-unmasked.safetensors")

#: Side in pixels of the central square that is used.
_CROP = "128"


def main() -> None:
    """Run the comparison and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kodak", type=Path)
    parser.add_argument("models", type=Path, help="folder of the trained models")
    arguments = parser.parse_args()
    models = [str(arguments.models / name) for name in _MODELS]
    grid = _evaluate(arguments.kodak, models)
    parts = [
        "# The paper's claim with a network that converges faster\n",
        "Written by `python docs/generate/paper_u.py kodak24/ runs/`. The U-shaped network of the general models, "
        "trained on Gaussian noise of sigma 15 only, with and without masks, for the same time on the CPU, both from "
        "random weights and at the same time on one machine. [paper.md](paper.md) has the paper's own network.\n",
        _training(models),
        f"The 24 Kodak images, the middle {_CROP} x {_CROP} pixels of each; PSNR in dB / SSIM; images are given to the "
        "networks as they are (`--treat none`).\n",
        grid,
        _gains(grid),
    ]
    (DOCS / "paper-u.md").write_text("\n".join(parts))


def _training(models: list[str]) -> str:
    """Return a table of the two trainings, from the cards."""
    cards = [load_model(name).card for name in models]
    rows = ["| | " + " | ".join(Path(name).stem for name in models) + " |", "| --- | --- | --- |"]
    rows.append("| parameters | " + " | ".join(f"{parameter_count(c.architecture):,}" for c in cards) + " |")
    for name in ("steps", "hours", "hardware"):
        rows.append(f"| {name} | " + " | ".join(str(card.training[name]) for card in cards) + " |")
    for name in ("noise", "masked_patches", "attention_mask", "batch", "patch", "rate"):
        rows.append(f"| {name} | " + " | ".join(str(card.training["recipe"][name]) for card in cards) + " |")
    commands = (
        f"`masked-denoiser train natural/ --recipe recipes/{Path(name).stem}.json --network general --threads 1 "
        f"--minutes 11 --set batch=4 --set patch=64 --set precision=float32 --output {Path(name).name}`"
        for name in models
    )
    return "\n".join([*rows, "", "\n\n".join(commands), ""])


def _evaluate(kodak: Path, models: list[str]) -> str:
    """Run `evaluate` on the Kodak images; return the command and its output with short names."""
    options = [part for model in models for part in ("--model", model)]
    options += [part for noise in _LEVELS for part in ("--noise", noise)]
    options += ["--treat", "none", "--crop", _CROP, "--baseline", "noisy"]
    shown = [Path(part).name if part.endswith(_MODELS) else part for part in options]
    page = run_for_page(["evaluate", str(kodak), *options, "--quiet"], ["evaluate", "kodak24/", *shown])
    for model in models:
        page = page.replace(f" {model} |", f" {Path(model).stem} |")
    return page


if __name__ == "__main__":
    main()
