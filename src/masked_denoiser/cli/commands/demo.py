"""Handler of `masked-denoiser demo`, which denoises the bundled slide and shows it before and after."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.cli.progress import print_note, run_with_bar, summary_line
from masked_denoiser.errors import JobError
from masked_denoiser.evaluation.metrics import psnr
from masked_denoiser.evaluation.pictures import save_png
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.jobs.pipeline.events import Cancelled
from masked_denoiser.jobs.pipeline.pipeline import Pipeline
from masked_denoiser.jobs.prepare import Prepared, prepare_file
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.models.catalogue import AUTO
from masked_denoiser.samples import sample_path

Image = np.ndarray[Any, Any]


def demo(arguments: Namespace) -> int:
    """Denoise the slide, print the gain in PSNR, write a picture, and open napari if there is a display."""
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / "slide_denoised.ome.zarr"
    with open_image(sample_path("slide")) as source:
        prepared = _prepare(source, output, arguments.model or AUTO)
        for message in prepared.messages:
            print_note(message)
        end = run_with_bar(prepared.pipeline)
        noisy = np.asarray(source.data[:])
    print(summary_line(end, str(output)))
    if isinstance(end, Cancelled):
        return 130
    _report(noisy, output, folder / "before_after.png")
    if not arguments.no_window:
        _open_napari(output)
    return 0


def _prepare(source: Source, output: Path, model: str) -> Prepared[Pipeline]:
    """Resume an interrupted demo with the same settings, or replace the output."""
    if Journal.path_for(output).exists():
        try:
            return prepare_file(source, output, model=model, options=Options(tile=128), resume=True)
        except JobError as error:
            print_note(f"starting again, because {error}")
    return prepare_file(source, output, model=model, options=Options(tile=128), overwrite=True)


def _report(noisy: Image, output: Path, picture: Path) -> None:
    """Print PSNR before and after, and write a picture of the noisy, denoised and clean slide, whole and enlarged."""
    with open_image(output) as source:
        plane = next(iter(list_planes(source.axes, source.sizes, source.rgb)))
        denoised = source.read(plane, slice(None), slice(None)).transpose(1, 2, 0)
    with open_image(sample_path("slide-clean")) as source:
        clean = np.asarray(source.data[:])
    before, after = (psnr(image / 255, clean / 255) for image in (noisy, denoised))
    print(f"PSNR against the clean slide: {before:.2f} dB before, {after:.2f} dB after")
    save_png(picture, _compare([noisy, denoised, clean]))
    print(f"wrote {picture}: noisy, denoised and clean; below, the centre enlarged")


def _compare(images: list[Image]) -> Image:
    """Return images of equal size [H, W, 3] side by side, and below them the central quarter enlarged by two."""
    height, width = images[0].shape[:2]
    centre = (slice(height // 4, height // 4 + height // 2), slice(width // 4, width // 4 + width // 2))
    enlarged = [image[centre].repeat(2, axis=0).repeat(2, axis=1) for image in images]
    gap = np.full((height, 8, 3), 255, np.uint8)
    rows = [np.concatenate([part for image in row for part in (image, gap)][:-1], axis=1) for row in (images, enlarged)]
    return np.concatenate([rows[0], np.full((8, rows[0].shape[1], 3), 255, np.uint8), rows[1]])


def _open_napari(output: Path) -> None:
    """Open slide and result in napari with the dock, or print why this is not possible."""
    if find_spec("napari") is None:
        print_note('napari is not installed; for the dock: pip install "napari-masked-denoiser[all]"')
        return
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        print_note(f"no display is available; on a desktop, run: napari {output} -w napari-masked-denoiser")
        return
    files = [str(sample_path("slide")), str(output)]
    command = [sys.executable, "-m", "napari", *files, "--plugin", "napari-masked-denoiser"]
    subprocess.run([*command, "-w", "napari-masked-denoiser"], check=False)
