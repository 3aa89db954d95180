"""Settles what a user asked for against image, model and device: from `Options` to `Job`."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import replace
from math import isfinite, lcm
from pathlib import Path
from typing import Any, get_args

from masked_denoiser.denoising.background import measure_background
from masked_denoiser.denoising.correction_limits import MEAN_REACH
from masked_denoiser.denoising.hot_pixels import Positions, find_hot_pixels
from masked_denoiser.denoising.intensity.colours import colours_are_related
from masked_denoiser.denoising.intensity.epochs import count_epochs
from masked_denoiser.denoising.intensity.exposures import REACH as EXPOSURE_REACH
from masked_denoiser.denoising.intensity.ranges import IntensityRange, measure_ranges
from masked_denoiser.denoising.noise_settings import AUTO, NONE, NoiseChoice, choose
from masked_denoiser.denoising.noise_treatment import NoiseTreatment, with_strength
from masked_denoiser.denoising.stride_pattern import pattern_reach
from masked_denoiser.denoising.tile_denoiser import MAP_REACH
from masked_denoiser.errors import JobError
from masked_denoiser.images.planes import Channels, Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.layout import OmeZarr, shard_side
from masked_denoiser.images.writers.output_path import is_tiff
from masked_denoiser.inference.halo import _up_to, resolve_halo
from masked_denoiser.inference.precision import Precision
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.options import Options, OutputDtype
from masked_denoiser.models.file import Model
from masked_denoiser.noise.impulses import REACH
from masked_denoiser.tiling.plan import chunk_side
from masked_denoiser.version import program_version


def make_job(
    source: Source,
    model: Model,
    options: Options,
    device: str,
    output: str = "",
    precision: Precision = "float32",
    model_from: str = "",
) -> Job:
    """Settles what was asked for.

    Args:
        source: the image; a sample of it is read to fix the intensity ranges.
        model: the model, loaded.
        options: what the user asked for.
        device: kind of device, "cpu", "cuda" or "mps".
        output: where the result goes; "" for memory.
        precision: what `options.precision` comes to on the device.
        model_from: name or path of the model.

    Raises:
        JobError: if options, image and model do not go together.
        PlanError: if the tile does not fit the model's window.
    """
    _check(source, model, options)
    grid = model.card.architecture.grid
    around = source.context or source  # a small part tells little of its noise
    epochs = 1 if options.intensity is not None else count_epochs(around, planes_of(source, options.channels))
    planes = planes_of(source, options.channels, epochs)
    ranges = _ranges(around, planes, options)
    chosen = choose(options.noise, around, planes, ranges, model, options.seed, rounded_output=options.dtype == "same")
    treatments = {key: with_strength(treatment, options.strength) for key, treatment in chosen.treatments.items()}
    chosen = replace(chosen, treatments=treatments)
    hot = _hot_pixels(source, planes, ranges, chosen, options)
    stride = lcm(*(treatment.stride for treatment in chosen.treatments.values()))
    batch = options.batch or {"cuda": 8, "mps": 2}.get(device, 1)
    tile = _tile(options, grid, stride)
    shard = _shard(source, planes, tile, output, options)
    job = Job(
        **_of_source(source, planes),
        output=output,
        model=model.card.name,
        model_from=model_from,
        model_digest=model.digest,
        window=grid,
        tile=tile,
        halo=resolve_halo(options.halo, model, stride, _around(chosen.treatments.values()) + REACH * bool(hot)),
        batch=batch,
        shard=shard,
        group=(shard // tile, shard // tile) if shard else (1, batch),
        passes=options.passes,
        std=options.std,
        seed=options.seed,
        channels=options.channels,
        output_dtype=options.dtype,
        epochs=epochs,
        ranges=tuple(ranges.items()),
        asked=options.noise,
        noise=chosen.verdict,
        treatments=tuple(chosen.treatments.items()),
        hot_pixels=tuple(hot.items()),
        device=device,
        precision=precision,
        compiled=options.compiled,
        background=_background(around, planes, ranges, options),
        ome_zarr=options.ome_zarr,
        on_error=options.on_error,
        version=program_version(),
    )
    _ = job.plan  # refuses a tile or halo that does not fit the model
    return job


def _shard(source: Source, planes: tuple[Plane, ...], tile: int, output: str, options: Options) -> int:
    """The side of the output's shards: none in memory, nor in OME-Zarr 0.4, which has none."""
    if not output or (options.ome_zarr == "0.4" and not is_tiff(Path(output))):
        return 0
    return shard_side(source.size_yx, tile, chunk_side(tile), len(planes))


def _of_source(source: Source, planes: tuple[Plane, ...]) -> dict[str, Any]:
    """What a job says of its input."""
    return {
        "input": source.where,
        "asked_axes": source.asked_axes,
        "level": source.level,
        "stamp": fingerprint(source, planes),
        "shape": source.shape,
        "axes": source.axes,
        "dtype": str(source.dtype),
        "rgb": source.rgb,
        "selection": source.selection,
    }


def planes_of(source: Source, channels: Channels, epochs: int = 1) -> tuple[Plane, ...]:
    """Return the planes of an image, in the order they are denoised.

    Raises:
        JobError: if channels that are no colours are to be taken as RGB.
    """
    try:
        return tuple(list_planes(source.axes, source.sizes, source.rgb, channels, epochs))
    except ValueError as error:
        raise JobError(f"{error}; use channels 'each'") from error


def _tile(options: Options, grid: int, stride: int) -> int:
    """The side of a tile: as asked for, or with strides the next on their grid."""
    if isinstance(options.tile, str):
        raise JobError(f"tile is {options.tile!r}; give a number of pixels, or 'auto' to `denoise`")
    return options.tile if stride == 1 else _up_to(grid * stride, options.tile)


def _around(treatments: Collection[NoiseTreatment]) -> int:
    """Before the network impulses are looked for among neighbours, after it the result is held to local figures."""
    limited = (3 * MEAN_REACH * bool(t.noise) * bool(t.blend) for t in treatments)
    before = (
        pattern_reach(t.strides) + MAP_REACH * t.noise_map + REACH * t.replaces_pixels + EXPOSURE_REACH * bool(t.blend)
        for t in treatments
    )
    return max(map(sum, zip(before, limited, strict=True)), default=0)


def _check(source: Source, model: Model, options: Options) -> None:
    if source.dtype.kind not in "uif":
        raise JobError(f"{source.name} has dtype {source.dtype}; only integers and real numbers can be denoised")
    if not 0.5 <= options.strength <= 2:
        raise JobError(f"strength is {options.strength:g}; choose 0.5 to 2, 1 takes the noise as it was measured")
    if options.strength != 1 and options.noise.strip().lower() == NONE:
        raise JobError("strength is that of the noise, and noise 'none' does not look at it; leave one of them out")
    if options.passes < 1 or options.passes > 1000:
        raise JobError(f"passes is {options.passes}; choose 1 to 1000")
    if options.std and options.passes < 2:
        raise JobError("a standard deviation needs at least 2 passes; set passes to 2 or more")
    if options.passes > 1 and not model.card.architecture.attention_mask:
        raise JobError(f"{model.card.name} has no attention mask, so that all passes are equal; set passes to 1")
    if options.dtype not in get_args(OutputDtype):
        raise JobError(f"results cannot be {options.dtype}; choose {' or '.join(get_args(OutputDtype))}")
    if options.ome_zarr not in get_args(OmeZarr):
        raise JobError(f"OME-Zarr {options.ome_zarr} cannot be written; choose {' or '.join(get_args(OmeZarr))}")
    if options.batch < 0 or options.seed < 0:
        raise JobError(f"batch ({options.batch}) and seed ({options.seed}) cannot be negative")
    if options.seed >= 2**63:
        raise JobError(f"seed is {options.seed}; choose one below 2^63")
    if options.intensity is not None and not all(map(isfinite, options.intensity)):
        raise JobError(f"the intensity range {options.intensity} has no end; give two finite numbers")
    if options.intensity is not None and not options.intensity[0] < options.intensity[1]:
        raise JobError(f"the intensity range {options.intensity} is empty; give LOW < HIGH")


def _ranges(source: Source, planes: tuple[Plane, ...], options: Options) -> dict[int, IntensityRange]:
    """Of all channels that are denoised, by key, in the order of the keys."""
    keys = sorted({p.range_key for p in planes if not p.copied})
    measured = measure_ranges(source, planes, options.seed)
    if options.intensity is None:
        return {key: measured[key] for key in keys}
    low, high = options.intensity
    return {key: replace(measured[key], low=low, high=high) for key in keys}


def _hot_pixels(
    source: Source,
    planes: tuple[Plane, ...],
    ranges: dict[int, IntensityRange],
    chosen: NoiseChoice,
    options: Options,
) -> dict[int, Positions]:
    """By channel, the pixels that stay at their place; only where noise was measured."""
    if options.noise.strip().lower() != AUTO:
        return {}
    noise = {key: treatment.limits[0] for key, treatment in chosen.treatments.items() if treatment.noise}
    return find_hot_pixels(source, planes, ranges, noise)


def _background(
    source: Source, planes: tuple[Plane, ...], ranges: dict[int, IntensityRange], options: Options
) -> tuple[tuple[int, tuple[float, ...]], ...]:
    if not options.skip_background:
        return ()
    return tuple(measure_background(source, planes, ranges, options.seed).items())


def fingerprint(source: Source, planes: tuple[Plane, ...]) -> tuple[int, int, int]:
    """What tells one input from another: `Job.fingerprint`."""
    ys, xs = (slice(max(0, side // 2 - 64), side // 2 + 64) for side in source.size_yx)
    few = (planes[0], planes[len(planes) // 2], planes[-1])
    checksum = zlib.crc32(b"".join(source.read(plane, ys, xs).tobytes() for plane in few))
    if source.path is None or not source.path.is_file():
        return 0, 0, checksum
    status = source.path.stat()
    return status.st_size, status.st_mtime_ns, checksum


def resolve_channels(source: Source, model: Model | str | Path, options: Options) -> Options:
    """Return options in which "auto" channels of a merged RGB image are "each", where the model is chosen, too.

    Args:
        source: the image, or a part of it with the image as its context.
        model: as the user asked for it; a model that is named gets RGB together, as it knows it.
        options: how to denoise.
    """
    if model != AUTO or options.channels != "auto" or not source.rgb or colours_are_related(source, options.seed):
        return options
    return replace(options, channels="each")
