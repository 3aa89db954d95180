"""Pictures of the tutorials, from the files that the commands of each page write.

    python docs/generate/site/tutorial_pictures.py whole-slide two-channel-stack ct-series fine-tune

The commands of the pages are run in temporary folders. The fine-tuning takes as long as its page says; `--steps 80`
shortens it, to steps of two patches.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

import numpy as np
from figures import IMAGES, Image, panels, save, show
from PIL import Image as Pillow
from run_page import read_steps, run_steps

import masked_denoiser as md

PAGES = Path(__file__).parents[2] / "tutorials"


def main() -> None:
    """Run pages and draw."""
    drawers = {
        "whole-slide": draw_slide,
        "two-channel-stack": draw_stack,
        "ct-series": draw_ct,
        "fine-tune": draw_fine_tuning,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", choices=drawers)
    parser.add_argument("--steps", type=int, help="length of the fine-tuning, of two patches each")
    arguments = parser.parse_args()
    for page in arguments.pages:
        shorter = (
            {"--minutes 10": f"--steps {arguments.steps} --batch 2"} if arguments.steps and page == "fine-tune" else {}
        )
        with tempfile.TemporaryDirectory() as name:
            outputs = run_steps(read_steps(PAGES / f"{page}.md"), Path(name), shorter)
            lines = [line for line in re.split(r"[\r\n]+", outputs[-1]) if line]
            print(page, *lines, sep="\n  ")
            drawers[page](Path(name))


def read(path: str | Path) -> Image:
    """Return the pixels of an image, with colours last."""
    with md.open_image(path) as image:
        pixels = np.asarray(image.data[:])
        return np.moveaxis(pixels, 0, -1) if image.axes == "CYX" else pixels


def draw_slide(folder: Path) -> None:
    """Draw a part of the slide, and the map of its background."""
    part = (slice(150, 310), slice(60, 220))
    noisy, clean = (read(folder / name)[part].astype(float) for name in ("slide.ome.tif", "clean.ome.zarr"))
    figure, axes = panels(1, 3)
    show(axes[0], noisy, "the slide")
    show(axes[1], clean, "denoised")
    show(axes[2], noisy - clean, "what was removed", -80, 80)
    save(figure, "tutorials/slide")
    background = Pillow.open(folder / "map.png").convert("RGB")
    background.resize((512, 512)).save(IMAGES / "tutorials" / "slide_map.webp", quality=80)


def draw_stack(folder: Path) -> None:
    """Draw a plane of both channels before and after, and the plot of the noise."""
    stacks = [read(folder / name) for name in ("stack.ome.tif", "clean.ome.tif", "with_neighbours.ome.tif")]
    titles = ("recorded", "denoised", "with neighbouring planes")
    figure, axes = panels(2, 3)
    for channel, name in enumerate(("Nuclei", "Filaments")):
        low, high = np.percentile(stacks[1][channel, 4], (0.5, 99.9))
        for column, (title, stack) in enumerate(zip(titles, stacks, strict=True)):
            show(axes[3 * channel + column], stack[channel, 4], f"{name}, {title}", low, high)
    save(figure, "tutorials/stack")
    Pillow.open(folder / "noise.png").convert("RGB").save(IMAGES / "tutorials" / "stack_noise.webp", quality=85)


def draw_ct(folder: Path) -> None:
    """Draw a slice before and after, and the truth."""
    noisy, clean, truth = read(folder / "ct"), read(folder / "clean.dicom"), np.load(folder / "truth.npy")
    volumes = {"few photons": noisy, "denoised": clean, "without noise": truth}
    figure, axes = panels(1, 3)
    for panel, (title, volume) in zip(axes, volumes.items(), strict=True):
        show(panel, volume[1], title, -160, 240)
    save(figure, "tutorials/ct")


def draw_fine_tuning(folder: Path) -> None:
    """Draw a part of the image before and after fine-tuning."""
    part = (slice(60, 188), slice(240, 368))
    names = {"noisy": "noisy", "paper-rgb": "before", "fine-tuned": "after"}
    images = {title: read(folder / f"{name}.ome.tif") for title, name in names.items()}
    images["truth"] = read(md.sample_path("slide-clean"))
    figure, axes = panels(1, 4, side=2.2)
    for panel, (title, image) in zip(axes, images.items(), strict=True):
        show(panel, image[part], title)
    save(figure, "tutorials/fine_tune")


if __name__ == "__main__":
    main()
