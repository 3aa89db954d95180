"""Generator of docs/trust.md: what the default treatment removes from real and synthetic images.

    python docs/generate/trust_page.py validation/* --stretched w2s

Runs `evaluate --safety`. A folder with subfolders `noisy` and `clean` (or `gt`) is taken as pairs, any other folder as
images without a truth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from command_page import DOCS, run_for_page

_INTRODUCTION = """# What is removed from which image

Written by `python docs/generate/trust_page.py`, by the command under each heading: the default settings on each image,
the worst result first. {summary}

- **PSNR before -> after, gain**: against the truth, where it is known. A gain below zero means that the result is
  worse than the image. An image left alone has a gain of 0; 100 dB stand for no error at all. The peak is 255 for
  8-bit images and otherwise the range of the truth; missing pixels do not count.
- **noise before -> after**: measured standard deviation in units of the image, of the channels that have noise.
- **removed**: root mean square of what was removed, in units of the image.
- **structure share**: share of the variance of what was removed that is structure. It is the larger one of two
  measures. The first is the share that can be predicted from the pixels of the image around each pixel, without those
  near enough to share its noise: noise cannot be predicted. The second is the share that detailed blocks of 16 x 16
  pixels lost beyond flat blocks of the same intensity: noise is no stronger where there is detail. The distance
  from which pixels do not share noise is the measured one. Where it is right, noise that is removed perfectly measures
  up to 5%, and a blur of 1 pixel measures 20% to 70% on images with sharp detail and less on soft ones. Fine texture
  that was measured to be noise is seen only where the truth is known.
- **change of means**: the largest change of the mean of 32 x 32 pixels, in standard errors of that mean under the
  measured noise. Perfect averaging changes means by up to about 3.
- **confidence**: that what looks like noise shared by neighbours is noise; where it is low, that part is left alone.
  For white noise there is no such decision: sharp texture of gray images without flat places, such as fur, grass or
  small text, may be taken for noise and be flattened. 0% where there was too little to measure on.
- **treatment, measured noise**: what the program says of the image.

Empty cells: the truth is not known, or there are too few pixels to judge.

Definitions: [safety.py](../src/masked_denoiser/evaluation/safety/report.py) and
[removed_structure.py](../src/masked_denoiser/evaluation/safety/removed_structure.py). The synthetic images are made by
[synthetic.py](../src/masked_denoiser/evaluation/safety/synthetic.py) and
[patterns.py](../src/masked_denoiser/evaluation/safety/patterns.py).
"""

#: Headings of the folders of the page.
_TITLES = {
    "fmd": "Fluorescence microscopy (FMD)",
    "tissue": "Stained tissue without noise (MoNuSeg)",
    "ct": "Low-dose CT, modality not stated",
    "polyu": "Photographs of a camera (PolyU)",
    "w2s": "Wide-field fluorescence (W2S)",
}

#: Folders that are evaluated again with fitted gain and offset, and why.
_ALSO_FITTED = {
    "fmd": (
        "The truth is the mean of 50 frames. The frame of `TwoPhoton_MICE_1` is brighter than that mean, in bright "
        "places by a fifth, which limits its PSNR. The same with gain and offset fitted to the truth:"
    )
}

#: Gain in dB beyond which an image counts as changed.
_CLEAR_GAIN = 0.01


def main() -> None:
    """Run the command on each folder and on the synthetic images and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument(
        "--stretched", action="append", default=[], help="name of a folder whose images need a fitted gain"
    )
    parser.add_argument("--no-synthetic", action="store_true", help="leave the synthetic images out")
    parser.add_argument(
        "--crop", type=int, default=0, metavar="N", help="use only the central N x N pixels of real images"
    )
    parser.add_argument("--output", type=Path, default=DOCS / "trust.md")
    arguments = parser.parse_args()
    parts, counted = [], []
    for folder in arguments.folders:
        title = _TITLES.get(folder.name, folder.name)
        counted.append(_section(folder, folder.name in arguments.stretched, arguments.crop))
        parts += [f"## {title}\n", counted[-1]]
        if folder.name in _ALSO_FITTED:
            parts += [f"{_ALSO_FITTED[folder.name]}\n", _section(folder, True, arguments.crop)]
    if not arguments.no_synthetic:
        counted.append(run_for_page(["evaluate", "--safety", "--synthetic", "--quiet"]))
        parts += ["## Synthetic images\n", counted[-1]]
    introduction = _INTRODUCTION.format(summary=_summarise("\n".join(counted)))
    arguments.output.write_text("\n".join([introduction, *parts]))


def _summarise(tables: str) -> str:
    """Return how many images of known truth are better, unchanged and worse, from the column of gains."""
    rows = [line.split(" | ") for line in tables.splitlines() if line.startswith("| ")]
    gains = [float(row[2]) for row in rows if len(row) > 3 and row[2].lstrip("+-").replace(".", "", 1).isdigit()]
    better, worse = (sum(gain * sign > _CLEAR_GAIN for gain in gains) for sign in (1, -1))
    unchanged = len(gains) - better - worse
    return (
        f"Of {len(gains)} images whose truth is known, {better} are better than before, {unchanged} are the same "
        f"within {_CLEAR_GAIN} dB, and {worse} are worse."
    )


def _section(folder: Path, stretched: bool, crop: int) -> str:
    """Return the command for a folder and its output."""
    options = [*(["--fit-gain"] if stretched else []), *(["--crop", str(crop)] if crop else [])]
    clean = next((folder / name for name in ("clean", "gt") if (folder / name).is_dir()), None)
    if clean is None:
        return run_for_page(_command([str(folder)], options), _command([f"{folder.name}/"], options))
    shown = ["--noisy", f"{folder.name}/noisy", "--clean", f"{folder.name}/{clean.name}"]
    return run_for_page(
        _command(["--noisy", str(folder / "noisy"), "--clean", str(clean)], options), _command(shown, options)
    )


def _command(images: list[str], options: list[str]) -> list[str]:
    return ["evaluate", "--safety", *images, *options, "--quiet"]


if __name__ == "__main__":
    main()
