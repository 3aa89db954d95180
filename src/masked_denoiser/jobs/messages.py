"""Messages about a job before it runs: automatic choices, noise treatments and likely mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np

from masked_denoiser.denoising.noise_measurement import measure_noise
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.output_path import kind_of
from masked_denoiser.images.writers.provenance import read_attributes
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.treatments import describe_treatments
from masked_denoiser.jobs.storage.output import std_path
from masked_denoiser.models.file import Model
from masked_denoiser.noise.modalities.prior import Modality
from masked_denoiser.noise.verdict import TREATED_AS_STRUCTURE

#: Side in pixels up to which a plane suggests wrong axes.
_THIN_SIDE = 4
#: Number of grey levels below which rounding degrades the result.
_FEW_GREY_LEVELS = 24


def job_messages(source: Source, model: Model, job: Job) -> list[str]:
    """Return the automatic choices of a job and likely mistakes."""
    channels = {plane.channels for plane in job.planes if not plane.copied}
    model_channels = model.card.architecture.channels
    messages = []
    if model_channels == 3 and 1 in channels:
        messages.append(f"{model.card.name} is an RGB model: gray planes are repeated in three channels, then averaged")
    if model_channels == 1 and 3 in channels:
        messages.append(f"{model.card.name} is a gray model: red, green and blue are denoised separately")
    if source.rgb and job.channels == "each":
        messages.append("red, green and blue are denoised separately; --channels rgb denoises them together")
    if job.std and not model.card.uncertainty:
        messages.append(
            f"{model.card.name} has no calibration of its error: the standard deviation is that of its passes, which "
            "is several times too small"
        )
    messages += _warnings(source)
    if any(plane.copied for plane in job.planes):
        messages.append("the alpha channel is copied unchanged")
    if source.dtype != np.uint8:
        ranges = ", ".join(f"{scale.low:g} to {scale.high:g}" for _, scale in job.ranges[:4])
        what = " of stabilized intensities" if any(scale.rician for _, scale in job.ranges) else ""
        more = " ..." if len(job.ranges) > 4 else ""
        messages.append(f"intensity range{what}, fixed for the whole job: {ranges}{more}")
    if job.output and (source.modality or kind_of(Path(job.output)) in ("NIfTI", "DICOM")):
        messages.append("for research use only: a denoised medical image must not be used for a diagnosis")
    return messages + noise_messages(job) + context_messages(job)


def axis_order_messages(source: Source, path: Path) -> list[str]:
    """Return a message if OME-Zarr, which prescribes the order of axes, reorders those of the image."""
    order = "".join(letter for letter in "TCZYX" if letter in source.axes)
    axes = source.axes.replace("S", "")
    if path.suffix != ".zarr" or axes == order:
        return []
    return [f"OME-Zarr requires axes in the order {order}: the axes of this image, {axes}, are reordered"]


def old_std_messages(job: Job) -> list[str]:
    """Return a message if the standard deviation of an earlier job stays next to the output."""
    std = std_path(Path(job.output))
    settings = {} if job.std else read_attributes(std).get("settings")
    if not isinstance(settings, dict) or not settings.get("std"):
        return []
    return [f"{std} belongs to an earlier job, not to this one: it is kept unchanged"]


def _warnings(source: Source) -> list[str]:
    """Return messages about likely mistakes, and about integers with few grey levels."""
    messages = []
    if min(source.size_yx) <= _THIN_SIDE and max(source.shape) > 8 * _THIN_SIDE:
        height, width = source.size_yx
        messages.append(
            f"the planes are {height} x {width} pixels with axes {source.axes}: check the axes; RGB samples are 'S', "
            "and --axes overrides the axes in the file"
        )
    if source.dtype.kind in "ui" and source.dtype.itemsize > 1:
        plane = next(list_planes(source.axes, source.sizes, source.rgb))
        levels = int(np.ptp(source.read(plane, slice(0, 512), slice(0, 512))))
        if 0 < levels < _FEW_GREY_LEVELS:
            messages.append(
                f"the image has about {levels + 1} grey levels, to which the result is rounded; convert it to float32, "
                "or multiply it, to keep intermediate values"
            )
    return messages


def noise_messages(job: Job) -> list[str]:
    """Return the measured noise and its treatment, a line for each group of channels that are treated alike."""
    if not job.noise:
        return []
    lines = describe_treatments(job)
    hints = _modality_hints(job)
    if any(treatment.is_identity for _, treatment in job.treatments):
        hints.append("--noise none denoises what is left alone")
    if len(lines) == 1:
        return ["; ".join([f"noise: {job.noise}: {lines[0]}", *hints])]
    return [f"noise: {job.noise}", *lines, *hints]


def _modality_hints(job: Job) -> list[str]:
    """Return the advice to state the modality if what was taken for fine texture may be noise of a known kind.

    Noise of CT, ultrasound and the like is not white: only what is known of the modality distinguishes it.
    """
    if job.modality != "other" or job.rgb or TREATED_AS_STRUCTURE not in job.noise:
        return []
    modalities = ", ".join(name for name in get_args(Modality) if name != "other")
    return [f"state the modality if it is one of {modalities}, whose noise may look like fine texture"]


def context_messages(job: Job) -> list[str]:
    """Return which neighbouring planes are averaged with each plane, a line for each group of channels."""
    channels: dict[str, list[int]] = {}
    for channel, context in job.context_planes:
        planes = "plane on each side" if context.count == 1 else "planes on each side"
        shared = f"; {context.shared_noise:.0%} of the noise is common to them" if context.shared_noise else ""
        text = f"averages {context.count} neighbouring {planes} along {context.axis} where they show the same{shared}"
        channels.setdefault(text, []).append(channel)
    if len(channels) == 1 and len(job.context_planes) == len({p.channel for p in job.planes if not p.copied}):
        return list(channels)
    plural = {text: "s" if len(numbers) > 1 else "" for text, numbers in channels.items()}
    return [f"channel{plural[text]} {', '.join(map(str, n))}: {text}" for text, n in channels.items()]


def describe_unchanged(job: Job, source: Source) -> str:
    """Return why a job leaves its image unchanged, with the measured noise of the image."""
    measured = f"Measured noise: {job.noise}. " if job.noise else ""
    hints = [f" {hint.capitalize()}." for hint in _modality_hints(job)]
    unchanged = f"The image is {'; '.join(describe_treatments(job))}."
    return "".join([_describe_sigma(source, job.modality), measured, unchanged, *hints])


def _describe_sigma(source: Source, modality: Modality) -> str:
    """Return the largest standard deviation of the noise of a channel, as a sentence; "" if nothing was measured."""
    noise = measure_noise(source, modality=modality).estimate
    channels = [(c.sigma, high - low) for c, (low, high) in zip(noise.channels, noise.ranges, strict=True)]
    if not channels:
        return ""
    sigma, span = max(channels, key=lambda channel: channel[0] * channel[1])
    return f"The noise has a standard deviation of {sigma * span:.2g} ({sigma:.2%} of the intensity range). "


def unremoved_noise_messages(job: Job) -> list[str]:
    """Return the noise messages if some noise is hardly removed or not at all."""
    treatments = [job.treatment_of(plane) for plane in job.planes if not plane.copied]
    return noise_messages(job) if any(treatment.is_restrained for treatment in treatments) else []
