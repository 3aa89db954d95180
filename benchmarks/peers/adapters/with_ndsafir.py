"""Adapter of ndsafir, which measures Poisson-Gaussian noise by default, as its command does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import ndsafir
import numpy as np

Image = np.ndarray[Any, Any]


def denoise(image: Image, axes: str, modality: str) -> Image:
    """Denoise for the measured gain and offset of each channel."""
    data, own_axes = image.astype(np.float32), axes.replace("S", "C")
    gains, offsets = ndsafir.calibrate_poisson_gaussian(data, axes=own_axes)
    return np.asarray(ndsafir.denoise_poisson_gaussian(data, axes=own_axes, gains=gains, offsets=offsets))


def denoise_file(source: Path, folder: Path) -> Path:
    """Denoise a file with the command of the package.

    Raises:
        RuntimeError: with the first sentence of the command's last line, if it fails.
    """
    target = folder / "result.ome.tif"
    command = [sys.executable, "-m", "ndsafir", "--input", source.name, "--output", str(target)]
    done = subprocess.run(command, cwd=source.parent, capture_output=True, text=True)
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1]
        raise RuntimeError(last.partition(". You")[0])
    return target
