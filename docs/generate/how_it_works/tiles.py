"""Figure of the tiles: what a tile reads and writes, and the difference from the whole image without and with a halo.

python docs/generate/how_it_works/tiles.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

import masked_denoiser as md
from masked_denoiser.evaluation.plot import COLOURS
from masked_denoiser.tiling.plan import Plan

sys.path.insert(0, str(Path(__file__).parents[1] / "site"))
from figures import Image, panels, save, show

_MODEL, _TILE, _HALO, _FACTOR = "general-rgb", 128, 64, 20.0


def main() -> None:
    """Denoise the sample slide whole and in tiles and draw."""
    with md.open_image(md.sample_path("slide")) as sample:
        noisy = np.asarray(sample.data[:], np.float32) / 255
    whole = denoise(noisy, tile=512, halo=0)
    figure, axes = panels(1, 3, side=3.2)
    show(axes[0], noisy, "one of 16 tiles: written, and read", 0.0, 1.0)
    draw_tile(axes[0], Plan(noisy.shape[:2], _TILE, _HALO, 64))
    for panel, halo in zip(axes[1:], (0, _HALO), strict=True):
        difference = np.abs(denoise(noisy, tile=_TILE, halo=halo) - whole).max(axis=2)
        print(f"halo {halo}: largest difference {difference.max() * 255:.3f} grey levels of 255")
        show(panel, difference * _FACTOR, f"halo {halo}: difference, x {_FACTOR:g}", 0.0, 1.0)
    exact = np.abs(denoise(noisy, tile=_TILE, halo="exact") - whole)
    print(f"halo exact: largest difference {exact.max() * 255:.6f} grey levels of 255")
    save(figure, "how-it-works/tiles")


def denoise(image: Image, **options: Any) -> Image:
    """Return an image denoised without measurement, so that only the tiles differ."""
    return np.asarray(md.denoise(image, model=_MODEL, axes="YXS", noise="none", intensity=(0.0, 1.0), **options))


def draw_tile(axes: Any, plan: Plan) -> None:
    """Draw all cores, and one of them with what is read for it."""
    for start in range(_TILE, 512, _TILE):
        axes.axhline(start, color="white", linewidth=0.5)
        axes.axvline(start, color="white", linewidth=0.5)
    for inset, colour in ((0, COLOURS[0]), (-_HALO, COLOURS[4])):
        side = _TILE - 2 * inset
        place = (_TILE + inset, _TILE + inset)
        axes.add_patch(Rectangle(place, side, side, fill=False, edgecolor=colour, linewidth=2.5))


if __name__ == "__main__":
    main()
