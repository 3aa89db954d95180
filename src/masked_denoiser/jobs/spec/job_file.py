"""Job files: a settled job as one JSON file, the same for the command line, Python, the docks and clusters.

{"format": 3, "job": {...}}: the fields of `Job`. A job file is data, never code, and may come from anyone: what it says
is checked here, and again against the input and the model that it names when it is run.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from masked_denoiser.errors import JobError, PlanError
from masked_denoiser.images.source import AXES
from masked_denoiser.images.writers.output_path import TIFF_SUFFIXES
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.plain_json import parse_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_FORMAT = 4

#: A job file is some kilobytes long; what is longer than this many bytes is none.
_LONGEST = 2**24

_DTYPE = re.compile(r"[<>=|]?[uif][1248]|u?int(8|16|32|64)|float(16|32|64)")

#: Smallest and largest values of what a person might choose.
_LIMITS = {
    "tile": (1, 2**20),
    "halo": (0, 2**20),
    "window": (1, 2**16),
    "batch": (1, 2**16),
    "passes": (1, 1000),
    "level": (0, 100),
    "seed": (0, 2**63 - 1),
    "epochs": (1, 2**20),
}


def write_job_file(path: Path, job: Job) -> None:
    """Writes a job file, whole or not at all; another job file is replaced, and nothing else.

    Raises:
        JobError: if it cannot be written, does not end in .json, or something else is there.
    """
    if path.suffix != ".json":
        raise JobError(f"{path} does not end in .json; name the job file so")
    if path.exists():
        try:
            read_job_file(path)
        except JobError as error:
            raise JobError(f"{path} exists and is no job file; it is left as it is, choose another name") from error
    text = json.dumps({"format": _FORMAT, "job": asdict(job.with_absolute_paths())}, indent=1, sort_keys=True) + "\n"
    making = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        making.write_text(text, encoding="utf-8")
        making.replace(path)
    except OSError as error:
        making.unlink(missing_ok=True)
        raise JobError(f"job file {path} cannot be written ({error.strerror}); choose another place") from error


def read_job_file(path: Path) -> Job:
    """A job from its file.

    Raises:
        JobError: if the file cannot be read, or holds no job that this version knows.
    """
    try:
        if path.stat().st_size > _LONGEST:
            raise JobError(f"job file {path} is {path.stat().st_size} bytes long; job files are some kilobytes")
        values = parse_json(path.read_bytes())
    except OSError as error:
        raise JobError(f"job file {path} cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise JobError(f"{path} is no job file ({error}); write one with `denoise --save-job`") from error
    if not isinstance(values, dict) or values.get("format") != _FORMAT or set(values) != {"format", "job"}:
        raise JobError(f"{path} is no job file of format {_FORMAT}; write one with `denoise --save-job`")
    return job_from(values["job"], str(path))


def job_from(values: object, where: str) -> Job:
    """A job from plain JSON values.

    Args:
        values: as `dataclasses.asdict` gives them.
        where: they come from, for errors.

    Raises:
        JobError: naming the first value that is wrong.
    """
    from pydantic import ValidationError

    try:
        job = _adapter().validate_json(json.dumps(values), strict=True)
    except (ValidationError, RecursionError) as error:
        raise JobError(f"{where} holds no job: {_first(error)[:300]}; write it again") from error
    wrong = _wrong(job)
    if wrong:
        raise JobError(f"{where} holds a job that cannot be: {wrong[:300]}; write it again")
    return job


@cache
def _adapter() -> TypeAdapter[Job]:
    from pydantic import TypeAdapter

    return TypeAdapter(Job)


def _first(error: Exception) -> str:
    """The first fault that pydantic found, in a line."""
    faults: list[dict[str, Any]] = getattr(error, "errors", lambda **_: [])(include_url=False, include_input=False)
    if not faults:
        return "it is nested too deeply"
    at = ".".join(map(str, faults[0]["loc"])) or "the whole"
    return f"{at}: {faults[0]['msg']}"


def _wrong(job: Job) -> str:
    """What is wrong with values that have the right types; empty if nothing is."""
    sides = dict(zip(job.axes, job.shape, strict=False))
    if len(sides) != len(job.shape) or len(job.axes) != len(job.shape) or not {"Y", "X"} <= set(sides) <= set(AXES):
        return f"axes {job.axes[:20]!r} for {len(job.shape)} sides"
    if not all(0 < side < 2**40 for side in job.shape):
        return f"shape {job.shape}"
    for name, (least, largest) in _LIMITS.items():
        if not least <= getattr(job, name) <= largest:
            return f"{name} {getattr(job, name)}"
    if not all(0 < side <= 2**16 for side in job.group) or not _one_writer(job):
        return f"group {job.group} and shard {job.shard}"
    if job.device not in ("cpu", "cuda", "mps") or not _real(job.dtype):
        return f"device {job.device[:20]!r} and dtype {job.dtype[:20]!r}"
    return _wrong_figures(job)


def _one_writer(job: Job) -> bool:
    """Whether each shard of the output is written by one group of tiles."""
    if not job.shard:
        return True
    folder = not job.output.lower().endswith(TIFF_SUFFIXES)
    return (
        job.group == (job.shard // job.tile,) * 2
        and not job.shard % job.tile
        and not (folder and job.ome_zarr == "0.4")
    )


def _wrong_figures(job: Job) -> str:
    """What is wrong with ranges and treatments, and the plan that follows from them."""
    if any(scale.low >= scale.high for _, scale in job.ranges):
        return "an empty intensity range"
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
            or any(one.floor < 0 for one in treatment.limits)
        ):
            return f"treatment {treatment}"
    sizes = dict(zip(job.axes, job.shape, strict=True))
    if any(not (0 <= y < sizes["Y"] and 0 <= x < sizes["X"]) for _, places in job.hot_pixels for y, x in places):
        return "a hot pixel outside of the image"
    try:
        _ = job.plan
    except PlanError as error:
        return str(error)
    return ""


def _real(dtype: str) -> bool:
    """Whether this names integers or real numbers; NumPy would take whole sentences, and evaluate them."""
    return _DTYPE.fullmatch(dtype) is not None
