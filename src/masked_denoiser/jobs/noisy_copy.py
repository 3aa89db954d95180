"""Noisy copy of an image of any size, with synthetic noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.intensity.recipe_ranges import measure_recipe_ranges
from masked_denoiser.errors import JobError
from masked_denoiser.images.planes import Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.base import Sink
from masked_denoiser.images.writers.create import create_sink
from masked_denoiser.images.writers.output_path import (
    check_disk_space,
    check_output,
    discard_output,
    estimate_bytes,
    kind_of,
)
from masked_denoiser.jobs.storage.journal import Journal, lock_output
from masked_denoiser.jobs.storage.own_output import check_own_output, how_to_replace
from masked_denoiser.messages import Message
from masked_denoiser.noise.synthetic.recipe import TYPICAL_DISTINCT_VALUES, NoiseRecipe, add_noise

#: Side of the chunks of the output, in pixels.
_CHUNK = 256
#: Family that replaces samples, so that they do not keep their distance from the range.
_REPLACING = "salt_and_pepper"
#: Largest number of samples to which noise is added in one band of rows; most planes have fewer and are one band.
_MAX_BAND_SAMPLES = 2**26


@dataclass(frozen=True)
class CopyProgress:
    """Number of bands of rows that are written, and in total."""

    done: int
    total: int


def noisy_copy(
    source: Source, output: Path, recipe: NoiseRecipe, *, seed: int = 0, overwrite: bool = False
) -> Iterator[CopyProgress | Message]:
    """Write an image with noise, band by band. Ranges and choices of the recipe are drawn once for each plane.

    Noise is defined on [0, 1], which is the range of the dtype for 8-bit images and the measured intensity range for
    others. Intensities beyond it keep their distance from it, unless samples are replaced (salt and pepper). Results
    are clipped to the range of the dtype or, of floats within it, to [0, 1], and rounded for integers. A plane of more
    than 2^26 samples is processed in bands of rows: correlated noise, stripes along columns and JPEG blocks restart at
    each band.

    Args:
        source: the image.
        output: path in any format that is written but DICOM.
        recipe: noise to add.
        seed: the same seed gives the same noise; not negative.
        overwrite: replace an existing output.

    Yields:
        A message about the intensities in which noise is expressed, unless those of the dtype, then the progress.

    Raises:
        JobError: if the output exists and must not be replaced, or was not written by this program.
        ImageError: if the output cannot be written.
    """
    check_output(output, source)
    if kind_of(output) == "DICOM":
        raise JobError(f"{output}: a noisy copy cannot be written as DICOM; write to .nii.gz or .ome.zarr")
    if Journal.path_for(output).exists():
        raise JobError(f"{output} is the unfinished output of a job; finish it with --resume, or write elsewhere")
    if output.exists() and not overwrite:
        raise JobError(f"{output} exists; write elsewhere, or {how_to_replace(output)}")
    check_own_output(output)
    check_disk_space(output, estimate_bytes(source, output, None), [output])
    planes = list(list_planes(source.axes, source.sizes, source.rgb))
    ranges = measure_recipe_ranges(source, planes)
    if source.dtype != np.uint8:
        yield Message(_range_text(ranges))
    with lock_output(output):
        sink = create_sink(output, source, chunk=_CHUNK, overwrite=overwrite, attributes={"noise": str(recipe)})
        finished = False
        try:
            yield from _write_planes(sink, source, planes, ranges, recipe, seed)
            sink.finish()
            finished = True
        finally:
            if not finished:
                sink.close()
                discard_output(output)


def _write_planes(
    sink: Sink,
    source: Source,
    planes: list[Plane],
    ranges: dict[int, IntensityRange],
    recipe: NoiseRecipe,
    seed: int,
) -> Iterator[CopyProgress]:
    """Write all planes with noise, in bands."""
    height, width = source.size_yx
    band = max(_CHUNK, _MAX_BAND_SAMPLES // (width * max(plane.channels for plane in planes)) // _CHUNK * _CHUNK)
    starts = range(0, height, band)
    for number, plane in enumerate(planes):
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))
        drawn = recipe.draw(generator)
        distinct = None if len(starts) == 1 else TYPICAL_DISTINCT_VALUES
        for count, top in enumerate(starts):
            rows = slice(top, min(top + band, height))
            pixels = source.read(plane, rows, slice(0, width))
            if not plane.copied:
                pixels = _add_noise(pixels, ranges[plane.range_key], drawn, generator, distinct)
            _write(sink, plane, top, pixels)
            yield CopyProgress(number * len(starts) + count + 1, len(planes) * len(starts))


def _write(sink: Sink, plane: Plane, top: int, pixels: np.ndarray[Any, Any]) -> None:
    """Write a band in blocks of one chunk, the largest that sinks accept."""
    for row in range(0, pixels.shape[1], _CHUNK):
        for left in range(0, pixels.shape[2], _CHUNK):
            sink.write(plane, top + row, left, pixels[:, row : row + _CHUNK, left : left + _CHUNK])


def _add_noise(
    pixels: np.ndarray[Any, Any],
    scale: IntensityRange,
    drawn: NoiseRecipe,
    generator: torch.Generator,
    distinct: int | None,
) -> np.ndarray[Any, Any]:
    exact = scale.to_unit(pixels)
    unit = np.clip(exact, 0.0, 1.0)
    images = torch.from_numpy(np.ascontiguousarray(unit))[None]
    out = add_noise(images, drawn, generator, clip=False, distinct=distinct)[0].numpy()
    replaced = (out != unit) & ((out == 0.0) | (out == 1.0)) if _REPLACING in drawn.families else False
    out = np.where(replaced, out, out + (exact - unit))
    noisy = scale.from_unit(np.clip(out, 0.0, 1.0) if (scale.low, scale.high) == (0.0, 1.0) else out, pixels)
    return np.where(out == exact, pixels, noisy)  # float32 holds no 32-bit integer exactly


def _range_text(ranges: dict[int, IntensityRange]) -> str:
    """Return the intensities of the noise, of the first few channels."""
    shown = ", ".join(f"{scale.low:.10g} to {scale.high:.10g}" for scale in list(ranges.values())[:4])
    more = " ..." if len(ranges) > 4 else ""
    return f"the 255 grey levels of noise recipes are these intensities of the image: {shown}{more}"
