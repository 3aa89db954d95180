"""Resolution of options to a job, against image, model and device."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from math import lcm
from pathlib import Path
from typing import Any

from masked_denoiser.denoising.background import measure_background
from masked_denoiser.denoising.context.choice import choose_context
from masked_denoiser.denoising.context.neighbour_mean import REACH as CONTEXT_REACH
from masked_denoiser.denoising.context.planes import ContextPlanes
from masked_denoiser.denoising.correction.faint_objects import FAINT_OBJECT_REACH
from masked_denoiser.denoising.correction.limits import MEAN_REACH
from masked_denoiser.denoising.correction.stride_pattern import pattern_reach
from masked_denoiser.denoising.hot_pixels import Positions, find_hot_pixels
from masked_denoiser.denoising.intensity.colours import colours_are_related, shows_a_channel_in_colour
from masked_denoiser.denoising.intensity.epochs import count_epochs
from masked_denoiser.denoising.intensity.exposures import REACH as EXPOSURE_REACH
from masked_denoiser.denoising.intensity.ranges import IntensityRange, measure_ranges
from masked_denoiser.denoising.measurement.given_noise import AUTO
from masked_denoiser.denoising.noise_by_place import PLACE_REACH
from masked_denoiser.denoising.noise_settings import NoiseChoice, resolve_noise
from masked_denoiser.denoising.noise_treatment import NoiseTreatment, with_strength
from masked_denoiser.denoising.tile_denoiser import MAP_REACH
from masked_denoiser.errors import JobError
from masked_denoiser.images.choices import Channels
from masked_denoiser.images.planes import Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.images.validation.fingerprint import take_fingerprint
from masked_denoiser.images.writers.layout import shard_side
from masked_denoiser.images.writers.output_path import is_assembled, kind_of
from masked_denoiser.inference.halo import resolve_halo, round_up_to_grid
from masked_denoiser.inference.orientations import ORIENTATIONS
from masked_denoiser.inference.precision import Precision
from masked_denoiser.jobs.spec.check_options import check_options
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.file import Model
from masked_denoiser.noise.impulses import REACH as IMPULSE_REACH
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
    """Resolve options to a job.

    Args:
        source: the image; a sample of it is read to fix the intensity ranges.
        model: the model, loaded.
        options: what the user asked for.
        device: kind of device, "cpu", "cuda" or "mps".
        output: where the result goes; "" for memory.
        precision: `options.precision`, resolved for the device.
        model_from: name or path of the model; empty for a model in memory.

    Raises:
        JobError: if options, image and model do not fit together.
        PlanError: if the tile does not fit the model's window.
    """
    check_options(source, model, options)
    _check_anonymize(output, options)
    if options.std and options.passes == 1:
        options = replace(options, passes=ORIENTATIONS)
    grid = model.card.architecture.grid
    context = source.context or source  # a small part may be too small to measure its noise
    epochs = 1 if options.intensity is not None else count_epochs(context, planes_of(source, options.channels))
    planes = planes_of(source, options.channels, epochs)
    choice = _noise_choice(context, planes, _ranges(context, planes, options), model, options)
    ranges = dict(choice.ranges)
    hot = _hot_pixels(source, planes, ranges, choice, options)
    neighbours = _context_planes(context, planes, ranges, choice, hot, model, options)
    stride = lcm(*(treatment.stride for treatment in choice.treatments.values()))
    batch = options.batch or {"cuda": 8, "mps": 2}.get(device, 1)
    tile = _tile(options, grid, stride)
    shard = _shard(source, planes, tile, output, options)
    context_reach = _context_reach(choice.treatments.values()) + IMPULSE_REACH * bool(hot)
    context_reach += CONTEXT_REACH * bool(neighbours)
    job = Job(
        **_source_fields(source, planes),
        **_option_fields(options),
        output=output,
        model=model.card.name,
        model_from=model_from,
        model_digest=model.digest,
        grid=grid,
        tile=tile,
        halo=resolve_halo(options.halo, model, stride, context_reach),
        batch=batch,
        shard=shard,
        group=(shard // tile, shard // tile) if shard else (1, batch),
        epochs=epochs,
        ranges=tuple(ranges.items()),
        modality=choice.modality,
        noise=choice.verdict,
        treatments=tuple(choice.treatments.items()),
        hot_pixels=tuple(hot.items()),
        context_planes=tuple(neighbours.items()),
        device=device,
        precision=precision,
        background=_background(context, planes, ranges, options),
        version=program_version(),
    )
    _ = job.plan  # raises if a tile or halo does not fit the model
    return job


def _noise_choice(
    source: Source,
    planes: tuple[Plane, ...],
    ranges: dict[int, IntensityRange],
    model: Model,
    options: Options,
) -> NoiseChoice:
    """Return the noise treatment of each channel and epoch, at the requested strength."""
    rounded = options.dtype == "same"
    choice = resolve_noise(
        options.noise,
        source,
        planes,
        ranges,
        model,
        options.seed,
        rounded_output=rounded,
        modality=options.modality,
    )
    treatments = {key: with_strength(treatment, options.strength) for key, treatment in choice.treatments.items()}
    return replace(choice, treatments=treatments)


def _check_anonymize(output: str, options: Options) -> None:
    """Raise JobError for a format whose texts are not removed."""
    if options.anonymize and output and (kind := kind_of(Path(output))) in ("OME-Zarr", "OME-TIFF"):
        raise JobError(f"{kind} keeps the names of image and channels; leave out --anonymize, or write to .nii.gz")


def _option_fields(options: Options) -> dict[str, Any]:
    """Return the fields of a job that are taken over from the options."""
    names = ("passes", "std", "seed", "strength", "channels", "compiled", "ome_zarr", "on_error", "anonymize")
    renamed = {"output_dtype": options.dtype, "requested_noise": options.noise}
    return {name: getattr(options, name) for name in names} | renamed


def _shard(source: Source, planes: tuple[Plane, ...], tile: int, output: str, options: Options) -> int:
    """Return the side of the output's shards; 0 in memory and in OME-Zarr 0.4, which has no shards."""
    if not output or (options.ome_zarr == "0.4" and not is_assembled(Path(output))):
        return 0
    return shard_side(source.size_yx, tile, chunk_side(tile), len(planes))


def _source_fields(source: Source, planes: tuple[Plane, ...]) -> dict[str, Any]:
    """Return the fields of a job that describe its input."""
    return {
        "input": source.where,
        "requested_axes": source.requested_axes,
        "level": source.level,
        "fingerprint": take_fingerprint(source, planes),
        "shape": source.shape,
        "axes": source.axes,
        "dtype": str(source.dtype),
        "rgb": source.rgb,
        "selection": source.selection,
        "reader": source.reader,
    }


def planes_of(source: Source, channels: Channels, epochs: int = 1) -> tuple[Plane, ...]:
    """Return the planes of an image, in the order in which they are denoised.

    Raises:
        JobError: if RGB is requested for channels that are not colours.
    """
    try:
        return tuple(list_planes(source.axes, source.sizes, source.rgb, channels, epochs))
    except ValueError as error:
        raise JobError(f"{error}; use channels 'each'") from error


def _tile(options: Options, grid: int, stride: int) -> int:
    """Return the side of a tile: as given, or the next multiple of the grid if there are strides."""
    if isinstance(options.tile, str):
        raise JobError(f"tile is {options.tile!r}; give a number of pixels, or 'auto' to `denoise`")
    return options.tile if stride == 1 else round_up_to_grid(grid * stride, options.tile)


def _context_reach(treatments: Collection[NoiseTreatment]) -> int:
    """Return the reach in pixels of the steps before and after the network."""
    limited = ((3 * MEAN_REACH + FAINT_OBJECT_REACH) * bool(t.noise) * bool(t.blend) for t in treatments)
    before = (
        pattern_reach(t.strides)
        + (MAP_REACH + PLACE_REACH * t.by_place) * t.noise_map
        + IMPULSE_REACH * t.replaces_pixels
        + EXPOSURE_REACH * bool(t.blend)
        for t in treatments
    )
    return max(map(sum, zip(before, limited, strict=True)), default=0)


def _ranges(source: Source, planes: tuple[Plane, ...], options: Options) -> dict[int, IntensityRange]:
    """Return the intensity range of each channel and epoch that is denoised, by key, in the order of the keys."""
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
    choice: NoiseChoice,
    options: Options,
) -> dict[int, Positions]:
    """Return the positions of hot pixels by channel; none unless the noise is measured."""
    if options.noise.strip().lower() != AUTO:
        return {}
    noise = {key: treatment.noise_variances[0] for key, treatment in choice.treatments.items() if treatment.noise}
    return find_hot_pixels(source, planes, ranges, noise)


def _context_planes(
    source: Source,
    planes: tuple[Plane, ...],
    ranges: dict[int, IntensityRange],
    choice: NoiseChoice,
    hot: dict[int, Positions],
    model: Model,
    options: Options,
) -> dict[int, ContextPlanes]:
    """Return the neighbouring planes that are averaged with those of each channel; none for channels without."""
    channels = {plane.range_key: plane.channel for plane in planes if not plane.copied}
    treatments = {
        key: replace(treatment, hot_pixels=hot.get(channels[key], ())) for key, treatment in choice.treatments.items()
    }
    return choose_context(source, planes, ranges, treatments, model, options.neighbours, options.seed)


def _background(
    source: Source, planes: tuple[Plane, ...], ranges: dict[int, IntensityRange], options: Options
) -> tuple[tuple[int, tuple[float, ...]], ...]:
    if not options.skip_background:
        return ()
    return tuple(measure_background(source, planes, ranges, options.seed).items())


def resolve_channels(source: Source, model: Model | str | Path, options: Options) -> Options:
    """Return options with channels "each" for RGB images that are not of a camera, if channels and model are "auto".

    These are merged images of several fluorophores, and single channels that were saved in colour.

    Args:
        source: the image, or a part of it with the image as its context.
        model: as requested by the user; a named model gets RGB together, as in its training.
        options: how to denoise.
    """
    if model != AUTO or options.channels != "auto" or not source.rgb:
        return options
    together = colours_are_related(source, options.seed) and not shows_a_channel_in_colour(source, options.seed)
    return options if together else replace(options, channels="each")
