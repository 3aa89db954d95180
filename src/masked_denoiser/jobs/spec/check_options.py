"""Options of a job by name, and their checks against image and model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from math import isfinite
from typing import Any, get_args

from masked_denoiser.denoising.context.planes import CONTEXT_AXES, MAX_PLANES
from masked_denoiser.denoising.measurement.given_noise import AUTO, NONE
from masked_denoiser.errors import JobError
from masked_denoiser.images.choices import OmeZarr
from masked_denoiser.images.source import Source
from masked_denoiser.inference.orientations import ORIENTATIONS
from masked_denoiser.jobs.spec.limits import LIMITS
from masked_denoiser.jobs.spec.options import OPTIONS, Options, OutputDtype
from masked_denoiser.models.file import Model
from masked_denoiser.noise.modalities.prior import RequestedModality


def make_options(options: Options | None, settings: Mapping[str, Any]) -> Options:
    """Return options, or the default ones, with some replaced by name.

    Raises:
        JobError: if there is no option of a name, or a value has another type.
    """
    if unknown := sorted(set(settings) - set(OPTIONS)):
        close = get_close_matches(unknown[0], OPTIONS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(OPTIONS)}"
        raise JobError(f"there is no option {unknown[0]}; {hint}")
    return replace(options or Options(), **settings)


def check_options(source: Source, model: Model, options: Options) -> None:
    """Check the values of options, and that they fit image and model.

    Raises:
        JobError: that names the first value that does not.
    """
    if source.dtype.kind not in "uif":
        raise JobError(f"{source.name} has dtype {source.dtype}; only integers and real numbers can be denoised")
    if not 0.5 <= options.strength <= 2:
        raise JobError(f"strength is {options.strength:g}; choose 0.5 to 2; 1 is the noise as measured or given")
    if options.strength != 1 and options.noise.strip().lower() == NONE:
        raise JobError("strength scales the noise, which noise 'none' ignores; leave one of them out")
    if options.modality not in get_args(RequestedModality):
        raise JobError(f"modality is {options.modality}; choose one of {', '.join(get_args(RequestedModality))}")
    _check_neighbours(source, options)
    _check_limits(options)
    if options.passes > ORIENTATIONS and not model.card.architecture.attention_mask:
        raise JobError(
            f"passes is {options.passes}, but {model.card.name} has no attention masks, so that its passes are the "
            f"{ORIENTATIONS} flips and rotations of the image; choose 1 to {ORIENTATIONS}"
        )
    if options.dtype not in get_args(OutputDtype):
        raise JobError(f"dtype is {options.dtype}; choose {' or '.join(get_args(OutputDtype))}")
    if options.ome_zarr not in get_args(OmeZarr):
        raise JobError(f"OME-Zarr {options.ome_zarr} cannot be written; choose {' or '.join(get_args(OmeZarr))}")
    if options.intensity is not None and not all(map(isfinite, options.intensity)):
        raise JobError(f"the intensity range {options.intensity} is not finite; give two finite numbers")
    if options.intensity is not None and not options.intensity[0] < options.intensity[1]:
        raise JobError(f"the intensity range {options.intensity} is empty; give LOW < HIGH")


def _check_limits(options: Options) -> None:
    """Check numbers by the limits of job files and journals, from which jobs are resumed; a batch of 0 means any."""
    for name in ("tile", "halo", "batch", "passes", "seed"):
        value, (lowest, highest) = getattr(options, name), LIMITS[name]
        lowest = 0 if name == "batch" else lowest
        if isinstance(value, int) and not lowest <= value <= highest:
            raise JobError(f"{name} is {value}; choose {lowest} to {highest}")


def _check_neighbours(source: Source, options: Options) -> None:
    if options.neighbours in (AUTO, NONE):
        return
    if isinstance(options.neighbours, str) or not 1 <= options.neighbours <= MAX_PLANES:
        raise JobError(f"neighbours is {options.neighbours!r}; choose 'auto', 'none', or 1 to {MAX_PLANES} planes")
    if all(source.sizes.get(axis, 1) == 1 for axis in CONTEXT_AXES):
        raise JobError(
            f"neighbours is {options.neighbours}, but {source.name} has a single plane along T and Z; choose 'auto'"
        )
    if options.noise.strip().lower() == NONE:
        raise JobError("neighbours are averaged according to the noise, which noise 'none' ignores; leave one out")
