"""Average of a tile and its neighbours in pixels of the image, with everything excluded that is no structure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from masked_denoiser.denoising.context.neighbour_mean import NeighbourMean, PlaneNoise, Values
from masked_denoiser.denoising.context.planes import ContextPlanes
from masked_denoiser.denoising.impulse_replacement import replace_impulses
from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.intensity.rectangles import Pixels
from masked_denoiser.denoising.noise_treatment import NoiseTreatment


def uses_context(treatment: NoiseTreatment) -> bool:
    """Return whether a plane with this treatment is averaged with others: if it is denoised, and its noise is known."""
    return bool(treatment.blend and treatment.noise)


def plane_noise(treatment: NoiseTreatment, context: ContextPlanes) -> PlaneNoise:
    """Return the noise of a plane as it was measured, whatever the strength of its treatment."""
    measured = [variance.scaled(1.0 / treatment.noise_factor) for variance in treatment.noise_variances]
    return PlaneNoise(measured, treatment.width, context.shared_noise, context.remaining)


def average_neighbours(
    pixels: Pixels,
    unit: Values,
    neighbours: Iterable[tuple[Pixels, IntensityRange]],
    intensity_range: IntensityRange,
    treatment: NoiseTreatment,
    context: ContextPlanes,
    origin: tuple[int, int],
) -> NeighbourMean:
    """Return the weighted mean of a tile and its neighbours.

    Impulses and hot pixels are replaced in each of them first. Missing pixels have a weight of 0. Planes of other
    epochs are compared in units of the range of the tile.

    Args:
        pixels: [C, H, W], the tile as read.
        unit: the tile in units of `intensity_range`, in which missing pixels are filled.
        neighbours: the same rectangle of other planes, each with the range of its plane.
        intensity_range: of the plane of the tile.
        treatment: of the plane.
        context: of its channel.
        origin: row and column of the first pixel in the image.
    """
    repaired = replace_impulses(unit[None], treatment, (origin,))[0]
    missing = intensity_range.missing_mask(pixels)
    mean = NeighbourMean(repaired, plane_noise(treatment, context), missing)
    for other, other_range in neighbours:
        fill_values = tuple(dict.fromkeys((*intensity_range.fill_values, *other_range.fill_values)))
        common = replace(intensity_range, fill_values=fill_values)
        other_unit = replace_impulses(common.to_unit(other)[None], treatment, (origin,))[0]
        mean.add(np.asarray(other_unit, np.float32), common.missing_mask(other))
    return mean
