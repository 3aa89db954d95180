"""Adapter of this project: its defaults, without and with a statement of the modality, and its VST-BM3D baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from planes import by_plane, on_unit_scale

# The names of the package itself load torch when they are used first, which would be part of the work.
from masked_denoiser.jobs import api

Image = np.ndarray[Any, Any]


def default(image: Image, axes: str, modality: str) -> Image:
    """Denoise as the first example of docs/python.md does."""
    return np.asarray(api.denoise(image, axes=axes))


def stated_modality(image: Image, axes: str, modality: str) -> Image:
    """Denoise with the modality that a DICOM file would state."""
    return np.asarray(api.denoise(image, axes=axes, modality=modality))


def vst_bm3d(image: Image, axes: str, modality: str) -> Image:
    """Denoise with BM3D between a variance-stabilising transform and its inverse, for the noise that we measure."""
    from masked_denoiser.evaluation.baselines import make_baseline

    denoise = make_baseline("vst-bm3d")
    return on_unit_scale(
        image, lambda unit: by_plane(unit, axes, lambda p: denoise(p.reshape(*p.shape[:2], -1)).reshape(p.shape))
    )


def denoise_file(source: Path, folder: Path) -> Path:
    """Denoise a file to OME-TIFF, tile by tile."""
    target = folder / "result.ome.tif"
    api.denoise_file(source, target)
    return target
