"""What a user should know of a job before it runs: choices that were made, and what looks odd."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.provenance import read_attributes
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.storage.output import std_path
from masked_denoiser.models.file import Model

#: Planes as thin as this are a sign of wrong axes; integers with fewer levels than this lose by rounding.
_THIN, _LEVELS = 4, 24


def about(source: Source, model: Model, job: Job) -> list[str]:
    """Choices that were made for the user."""
    channels = {plane.channels for plane in job.planes if not plane.copied}
    wants = model.card.architecture.channels
    messages = []
    if wants == 3 and 1 in channels:
        messages.append(f"{model.card.name} knows RGB: each gray plane is given to it three times and averaged")
    if wants == 1 and 3 in channels:
        messages.append(f"{model.card.name} knows gray: red, green and blue are denoised one by one")
    if source.rgb and job.channels == "each":
        messages.append("red, green and blue are denoised one by one; 'rgb' for the channels takes them together")
    messages += _odd(source)
    if any(plane.copied for plane in job.planes):
        messages.append("the alpha channel is copied as it is")
    if source.dtype != np.uint8:
        ranges = ", ".join(f"{scale.low:g} to {scale.high:g}" for _, scale in job.ranges[:4])
        messages.append(f"intensity range, fixed for the whole job: {ranges}{' ...' if len(job.ranges) > 4 else ''}")
    return messages + about_noise(job)


def axes_of_output(source: Source, path: Path) -> list[str]:
    """OME-Zarr prescribes the order of axes."""
    order = "".join(letter for letter in "TCZYX" if letter in source.axes)
    ours = source.axes.replace("S", "")
    if path.suffix != ".zarr" or ours == order:
        return []
    return [f"OME-Zarr keeps axes in the order {order}: those of this image, {ours}, are put into it"]


def beside(job: Job) -> list[str]:
    """A standard deviation of an earlier job, which one without leaves where it is."""
    std = std_path(Path(job.output))
    settings = {} if job.std else read_attributes(std).get("settings")
    if not isinstance(settings, dict) or not settings.get("std"):
        return []
    return [f"{std} is of an earlier job, and not of this one: it stays as it is"]


def _odd(source: Source) -> list[str]:
    """What looks like a mistake, or will look odd in the result."""
    messages = []
    if min(source.size_yx) <= _THIN and max(source.shape) > 8 * _THIN:
        height, width = source.size_yx
        messages.append(
            f"the planes are {height} x {width} pixels, with axes {source.axes}: are the axes right? RGB samples are "
            "'S', and --axes overrides what the file says"
        )
    if source.dtype.kind in "ui" and source.dtype.itemsize > 1:
        plane = next(list_planes(source.axes, source.sizes, source.rgb))
        few = int(np.ptp(source.read(plane, slice(0, 512), slice(0, 512))))
        if 0 < few < _LEVELS:
            messages.append(
                f"the image has about {few + 1} grey levels, and its result is rounded to them; give it as float32, or "
                "multiplied, to keep what lies between"
            )
    return messages


def about_noise(job: Job) -> list[str]:
    """What was found, and what is done about it, for each channel that differs."""
    if not job.noise:
        return []
    done = what_is_done(job)
    return [f"noise: {job.noise}: {done[0]}"] if len(done) == 1 else [f"noise: {job.noise}", *done]


def what_is_done(job: Job) -> list[str]:
    """Return what is done to the planes because of their noise, a line for all channels that are treated alike."""
    planes = [plane for plane in job.planes if not plane.copied]
    done: dict[str, Counter[int]] = {}
    for plane in planes:
        done.setdefault(job.treatment_of(plane).summary, Counter())[plane.channel] += 1
    whole = Counter(plane.channel for plane in planes)
    return list(done) if len(done) == 1 else [f"{_planes_named(of, whole)}: {what}" for what, of in done.items()]


def _planes_named(counts: Counter[int], whole: Counter[int]) -> str:
    """Channels, and how many of their planes where these are not treated alike."""
    several = "s" if len(counts) > 1 else ""
    if all(counts[channel] == whole[channel] for channel in counts):
        return f"channel{several} {', '.join(map(str, counts))}"
    parts = [f"{channel} ({count} of {whole[channel]} planes)" for channel, count in counts.items()]
    return f"channel{several} {', '.join(parts)}"


def restraint(job: Job) -> list[str]:
    """Noise that is left alone, or nearly."""
    treatments = [job.treatment_of(plane) for plane in job.planes if not plane.copied]
    return about_noise(job) if any(treatment.is_restrained for treatment in treatments) else []
