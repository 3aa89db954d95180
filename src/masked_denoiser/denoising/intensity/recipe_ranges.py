"""Intensity ranges in which noise recipes and training patches are expressed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from masked_denoiser.denoising.intensity.ranges import TAIL_PERCENTILES, IntensityRange, least_span
from masked_denoiser.denoising.intensity.rectangles import group_planes, sample_rectangles
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source


def measure_recipe_ranges(source: Source, planes: Iterable[Plane], seed: int = 0) -> dict[int, IntensityRange]:
    """Return the ranges in which noise recipes and training patches are expressed, by `Plane.range_key`.

    8-bit images have a range of 0 to 255, so that "sigma=15" means 15 grey levels; floats within [0, 1] have a range of
    0 to 1. Other images are stretched between the 0.01st and the 99.99th percentile of a sample.
    """
    by_key = group_planes(planes, "range_key")
    if source.dtype == np.uint8:
        return {key: IntensityRange(0.0, 255.0) for key in by_key}
    return {key: _measure_recipe_range(source, group, seed) for key, group in by_key.items()}


def _measure_recipe_range(source: Source, planes: list[Plane], seed: int) -> IntensityRange:
    sample = np.concatenate([tile.astype(np.float64).ravel() for tile in sample_rectangles(source, planes, seed)])
    finite = sample[np.isfinite(sample)]
    has_nonfinite = finite.size < sample.size
    if not finite.size:
        return IntensityRange(0.0, 1.0, 0.0, has_nonfinite)
    low, median, high = (float(v) for v in np.percentile(finite, (TAIL_PERCENTILES[0], 50.0, TAIL_PERCENTILES[1])))
    if source.dtype.kind == "f" and float(finite.min()) >= 0.0 and 0.05 < float(finite.max()) <= 1.0:
        low, high = 0.0, 1.0
    if not high > low:
        low, high = float(finite.min()), float(finite.max())
    if not high > low:
        high = low + least_span(low, source.dtype)
    return IntensityRange(low, high, median, has_nonfinite)
