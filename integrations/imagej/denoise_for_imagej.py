"""Denoise a TIFF of ImageJ into a TIFF that ImageJ 1 opens without plugins: one file, no tiles, no compression.

    python denoise_for_imagej.py IMAGE RESULT "OPTIONS OF masked-denoiser denoise"

Called by Denoise_Image.ijm, with the Python of the environment in which masked-denoiser is installed. Prints "done" at
the end, or else one line that says what is wrong: ImageJ's `exec` returns no exit code.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tifffile

import masked_denoiser as md

if TYPE_CHECKING:
    from masked_denoiser.images.source import Source

#: Order of the axes in a hyperstack of ImageJ; S are the colours of RGB.
_AXES = "TZCYXS"

#: Data types that ImageJ has.
_DTYPES = ("uint8", "uint16", "float32")


def main(image: str, result: str, options: str) -> int:
    """Denoise an image, and write it for ImageJ; return 0 if done, 1 if not."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "clean.ome.tif"
        command = [sys.executable, "-m", "masked_denoiser", "denoise", image, str(output)]
        process = subprocess.run([*command, "--quiet", *shlex.split(options)], capture_output=True, text=True)
        if process.returncode:
            lines = process.stderr.strip().splitlines() or [f"masked-denoiser ended with code {process.returncode}"]
            print(lines[-1])
            return 1
        with md.open_image(output) as source:
            write_for_imagej(Path(result), source)
    print("done")
    return 0


def write_for_imagej(path: Path, source: Source) -> None:
    """Write a source as a hyperstack with its pixel size; other data types than those of ImageJ become float32."""
    axes = [axis for axis in _AXES if axis in source.axes]
    pixels = np.asarray(source.levels[0][...]).transpose([source.axes.index(axis) for axis in axes])
    if pixels.dtype.name not in _DTYPES:
        pixels = pixels.astype(np.float32)
    size = source.pixel_size
    metadata: dict[str, str | float] = {"axes": "".join(axes)}
    resolution = None
    if "X" in size and "Y" in size:
        resolution = (1 / size["X"], 1 / size["Y"])
        unit = source.units.get("X", "pixel")
        metadata["unit"] = "um" if unit == "micrometer" else unit
    if "Z" in size:
        metadata["spacing"] = size["Z"]
    tifffile.imwrite(path, pixels, imagej=True, resolution=resolution, metadata=metadata)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
