"""Job files: a resolved job as one JSON file, shared by the command line, Python, the docks and clusters.

{"format": 6, "job": {...}} with the fields of `Job`. A job file is data, never code, and may come from an untrusted
source: its values are checked here, and against input and model when the job is run.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masked_denoiser.atomic_file import replaced_atomically
from masked_denoiser.denoising.context.planes import CONTEXT_AXES, MAX_PLANES, ContextPlanes
from masked_denoiser.errors import JobError, PlanError
from masked_denoiser.images.planes import colour_axis
from masked_denoiser.images.source import AXES
from masked_denoiser.images.suffixes import ZARR_SUFFIXES
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.jobs.spec.limits import LIMITS
from masked_denoiser.plain_json import parse_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_FORMAT = 7

#: Largest size of a job file in bytes; typical ones have a few kilobytes.
_MAX_BYTES = 2**24

#: Names of readers, which are looked up among the installed plugins.
_READER = re.compile(r"[\w.-]{0,200}")

_DTYPE = re.compile(r"[<>=|]?[uif][1248]|u?int(8|16|32|64)|float(16|32|64)")

#: Smallest standard deviation of Rician noise, as a share of the intensity range.
_MIN_RICIAN = 1e-9


def write_job_file(path: Path, job: Job) -> None:
    """Write a job file atomically; it replaces an existing job file only.

    Raises:
        JobError: if it cannot be written, does not end in .json, or would replace another kind of file.
    """
    if path.suffix != ".json":
        raise JobError(f"{path} does not end in .json; choose such a name for the job file")
    if path.exists():
        try:
            read_job_file(path)
        except JobError as error:
            raise JobError(f"{path} exists and is not a job file; choose another name") from error
    check_names(job)
    text = json.dumps({"format": _FORMAT, "job": asdict(job.with_absolute_paths())}, indent=1, sort_keys=True) + "\n"
    try:
        with replaced_atomically(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise JobError(f"job file {path} cannot be written ({error.strerror}); choose another place") from error


def check_names(job: Job) -> None:
    """Check that the paths of a job can be stored in a job file, or sent to workers.

    Raises:
        JobError: if a name is not UTF-8, as those of old archives.
    """
    for path in (job.input, job.output, job.model_from):
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise JobError(f"{path!r}: this name is not UTF-8, as job files and clusters need; rename it") from error


def read_job_file(path: Path) -> Job:
    """Return the job of a job file.

    Raises:
        JobError: if the file cannot be read, or contains no job of this format.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise JobError(f"{path} has {path.stat().st_size} bytes, too many for a job file; check the path")
        values = parse_json(path.read_bytes())
    except OSError as error:
        raise JobError(f"job file {path} cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise JobError(f"{path} is not a job file ({error}); write one with `denoise --save-job`") from error
    if not isinstance(values, dict) or set(values) != {"format", "job"}:
        raise JobError(f"{path} is not a job file; write one with `denoise --save-job`")
    if values["format"] != _FORMAT:
        raise JobError(
            f"{path} has format {str(values['format'])[:20]} of job files, and this version reads {_FORMAT}; write it "
            "again with `denoise --save-job`"
        )
    return job_from_json(values["job"], str(path))


def job_from_json(values: object, origin: str) -> Job:
    """Return a job from plain JSON values.

    Args:
        values: fields by name, as `dataclasses.asdict` returns them.
        origin: name of their file or sender, for errors.

    Raises:
        JobError: that names the first invalid value.
    """
    from pydantic import ValidationError

    try:
        job = _adapter().validate_json(json.dumps(values), strict=True)
    except (ValidationError, RecursionError) as error:
        raise JobError(f"{origin} contains no valid job: {_first_error(error)[:300]}; write it again") from error
    problem = _invalid_value(job)
    if problem:
        raise JobError(f"{origin} contains an invalid job: {problem[:300]}; write it again")
    return job


@cache
def _adapter() -> TypeAdapter[Job]:
    from pydantic import TypeAdapter

    return TypeAdapter(Job)


def _first_error(error: Exception) -> str:
    """Return the first error that pydantic found, as one line."""
    errors: list[dict[str, Any]] = getattr(error, "errors", lambda **_: [])(include_url=False, include_input=False)
    if not errors:
        return "it is nested too deeply"
    field = ".".join(map(str, errors[0]["loc"])) or "job"
    return f"{field}: {errors[0]['msg']}"


def _invalid_value(job: Job) -> str:
    """Return the first invalid value among values of valid types; empty if all are valid."""
    sides = dict(zip(job.axes, job.shape, strict=False))
    if len(sides) != len(job.shape) or len(job.axes) != len(job.shape) or not {"Y", "X"} <= set(sides) <= set(AXES):
        return f"axes {job.axes[:20]!r} for {len(job.shape)} sides"
    if not all(0 < side < 2**40 for side in job.shape):
        return f"shape {job.shape}"
    try:
        colour_axis(job.axes, sides, job.rgb, job.channels)
    except ValueError as error:
        return str(error)
    for name, (lowest, highest) in LIMITS.items():
        if not lowest <= getattr(job, name) <= highest:
            return f"{name} {getattr(job, name)}"
    if not all(0 < side <= 2**16 for side in job.group) or not _has_one_writer_per_shard(job):
        return f"group {job.group} and shard {job.shard}"
    if job.device not in ("cpu", "cuda", "mps") or not _is_real_dtype(job.dtype):
        return f"device {job.device[:20]!r} and dtype {job.dtype[:20]!r}"
    if not _READER.fullmatch(job.reader):
        return f"reader {job.reader[:40]!r}"
    return _invalid_ranges_or_treatments(job)


def _has_one_writer_per_shard(job: Job) -> bool:
    """Return whether each shard of the output is written by one group of tiles."""
    if not job.shard:
        return True
    is_zarr = job.output.lower().endswith(ZARR_SUFFIXES)
    return (
        job.group == (job.shard // job.tile,) * 2
        and not job.shard % job.tile
        and not (is_zarr and job.ome_zarr == "0.4")
    )


def _invalid_ranges_or_treatments(job: Job) -> str:
    """Return what is invalid in ranges, treatments, hot pixels and the resulting plan; empty if all are valid."""
    if any(scale.low >= scale.high for _, scale in job.ranges):
        return "an empty intensity range"
    if any(scale.rician and not _MIN_RICIAN <= scale.rician / scale.span <= 1.0 for _, scale in job.ranges):
        return "an impossible standard deviation of Rician noise"
    if {key for key, _ in job.ranges} != {key for key, _ in job.treatments}:
        return "ranges and treatments are of different channels"
    for _, treatment in job.treatments:
        if (
            not all(2 <= stride <= 8 for stride in treatment.strides)
            or len(treatment.strides) > 4
            or not 0 <= treatment.blend <= 1
            or not 0 < treatment.scale <= 1e6
            or not 0.5 <= treatment.strength <= 2
            or len(treatment.noise) not in (0, 1, 3)
            or any(noise.floor < 0 for noise in treatment.noise_variances)
        ):
            return f"treatment {treatment}"
    sizes = dict(zip(job.axes, job.shape, strict=True))
    if any(not (0 <= y < sizes["Y"] and 0 <= x < sizes["X"]) for _, pixels in job.hot_pixels for y, x in pixels):
        return "a hot pixel outside of the image"
    if not all(_is_valid_context(context, job.axes) for _, context in job.context_planes):
        return f"context planes {job.context_planes}"
    try:
        _ = job.plan
    except PlanError as error:
        return str(error)
    return ""


def _is_valid_context(context: ContextPlanes, axes: str) -> bool:
    """Return whether the neighbours of a plane are along an axis of the image, and their figures are in range."""
    return (
        context.axis in CONTEXT_AXES
        and context.axis in axes
        and 1 <= context.count <= MAX_PLANES
        and 0 <= context.shared_noise <= 1
        and context.remaining > 0
    )


def _is_real_dtype(dtype: str) -> bool:
    """Return whether a text names integers or real numbers; `np.dtype` would parse and evaluate other text, too."""
    return _DTYPE.fullmatch(dtype) is not None
