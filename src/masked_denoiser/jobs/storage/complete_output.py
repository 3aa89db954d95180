"""Checks of a complete output that is to be resumed: whether it is that of the same job."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from masked_denoiser.errors import JobError
from masked_denoiser.images.writers.provenance import read_attributes
from masked_denoiser.jobs.spec.job import Job, describe_difference
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.storage.output import provenance
from masked_denoiser.jobs.storage.own_output import how_to_replace


def recorded_tile(path: Path, options: Options) -> Options:
    """Return options with the tile of a complete output if the tile is "auto"."""
    match options.tile, read_attributes(path).get("settings"):
        case "auto", {"tile": int(tile)} if tile > 0:
            return replace(options, tile=tile)
        case _:
            return options


def check_same_job(path: Path, job: Job, *, chosen_precision: bool = False) -> None:
    """Check that a complete output was written by a job with the same settings.

    Args:
        path: path of the output.
        job: the job as it would start now.
        chosen_precision: whether the precision was left to be chosen.

    Raises:
        JobError: that names the differences.
    """
    attributes = read_attributes(path)
    then = attributes.get("settings")
    if then is None and attributes.get("job") == provenance(job)["job"]:  # MRC has room for the digest only
        if attributes.get("input", provenance(job)["input"]) != provenance(job)["input"]:
            raise JobError(f"{path} is complete, but the input has changed (its pixels); write elsewhere")
        return
    if not isinstance(then, dict):
        raise JobError(
            f"{path} exists and is not an output of this version; write elsewhere, or {how_to_replace(path)}"
        )
    measured = {"noise", "treatments", "hot_pixels"} if job.requested_noise == "auto" else set()
    ignored = {"version", *measured, *(["precision"] if chosen_precision else [])}
    now = json.loads(json.dumps(job.settings()))
    differing = [
        describe_difference(key, then.get(key), now[key])
        for key in now
        if key not in ignored and then.get(key) != now[key]
    ]
    if attributes.get("input") != provenance(job)["input"]:
        differing.insert(0, "the input has changed (its pixels)")
    if differing:
        raise JobError(
            f"{path} is complete, but of another job: {'; '.join(differing[:3])}; write elsewhere, or use --overwrite"
        )
