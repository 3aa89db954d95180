"""Generator of docs/models.md: scores of the bundled models, by the command `evaluate`.

    python docs/generate/model_tables.py kodak24/ w2s/ --quick

`kodak24` contains the 24 Kodak images, `w2s` the folders `noisy` and `gt`. `--quick` uses every sixth photograph.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from command_page import DOCS, run_for_page


def main() -> None:
    """Run the command of each table and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kodak", type=Path)
    parser.add_argument("w2s", type=Path)
    parser.add_argument("--quick", action="store_true", help="use every sixth photograph")
    arguments = parser.parse_args()
    photographs = sorted(arguments.kodak.glob("*.png"))[:: 6 if arguments.quick else 1]
    subset = sorted(arguments.kodak.glob("*.png"))[::6]
    real = ["--noisy", str(arguments.w2s / "noisy"), "--clean", str(arguments.w2s / "gt"), "--fit-gain"]
    parts = [
        "# The bundled models in figures\n",
        "Written by `python docs/generate/model_tables.py kodak24/ w2s/`. PSNR in dB / SSIM, on RGB or gray in [0, 1] "
        "after rounding to 8 bit, no border cut; `none` is a clean image against itself, without the little noise that "
        "some photographs have of their own. Noises are defined in "
        "[families.py](../src/masked_denoiser/noise/synthetic/families.py).\n",
        f"## Photographs: {_describe(photographs)} of Kodak24\n",
        _table([*map(str, photographs), "--model", "general-rgb", "--baseline", "noisy"]),
        f"## Classical denoisers on {_describe(subset)} of Kodak24\n",
        _table([*map(str, subset), "--model", "general-rgb", "--baseline", "nlm", "--baseline", "wavelet"]),
        "## Real wide-field fluorescence: W2S, 24 pairs, gain and offset fitted\n",
        "`vst-bm3d` measures the noise as this program does, and needs the package `bm3d`, whose licence is for "
        "non-commercial use.\n",
        _table(
            [*real, "--model", "general-gray", "--baseline", "noisy", "--baseline", "nlm", "--baseline", "vst-bm3d"]
        ),
        "The same without measuring the noise first:\n",
        _table([*real, "--model", "general-gray", "--treat", "none"]),
        "The mean of the eight flips and rotations, which takes eight times the time:\n",
        _table([*real, "--model", "general-gray", "--passes", "8"]),
    ]
    (DOCS / "models.md").write_text("\n".join(parts))


def _table(arguments: list[str]) -> str:
    """Return the command for these images and its table."""
    shown = [Path(a).name if "/" in a else a for a in arguments]
    options = [a for a in shown if not a.endswith(".png")]
    images = [a for a in shown if a.endswith(".png")]
    images = images if len(images) < 10 else ["kodak24/"] if images else []
    return run_for_page(["evaluate", *arguments, "--quiet"], ["evaluate", *images, *options])


def _describe(images: list[Path]) -> str:
    return (
        f"all {len(images)} images"
        if len(images) > 10
        else f"{len(images)} images ({', '.join(p.stem for p in images)})"
    )


if __name__ == "__main__":
    main()
