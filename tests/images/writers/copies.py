"""Copies of images that are written by the sinks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.create import create_sink

ATTRIBUTES = {"model": "general-gray", "job": "ab" * 32, "settings": {"anonymize": False}}


def copy_image(source: Source, path: Path, change: float = 0.0, **options: Any) -> None:
    """Write a source with `change` added to its pixels."""
    sink = create_sink(path, source, chunk=64, attributes=options.pop("attributes", ATTRIBUTES), **options)
    dtype = np.float32 if path.name.endswith((".nii", ".nii.gz")) and source.dtype.itemsize < 4 else source.dtype
    for plane in list_planes(source.axes, source.sizes, source.rgb):
        pixels = source.read(plane, slice(0, source.size_yx[0]), slice(0, source.size_yx[1]))
        sink.write(plane, 0, 0, (pixels.astype(np.float64) + change).astype(options.get("dtype", dtype)))
    sink.finish()
    sink.close()
