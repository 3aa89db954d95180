"""Handler of `masked-denoiser info`, which describes an image and the job that would denoise it."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from masked_denoiser.cli.input_image import open_input
from masked_denoiser.images.axes import orientation_of
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source


def info(arguments: Namespace) -> int:
    """Print a description of an image.

    Raises:
        JobError: if a preview is requested without a plan that skips background.
    """
    if arguments.preview and not (arguments.plan and arguments.skip_background):
        from masked_denoiser.errors import JobError

        raise JobError("--preview shows which tiles are background; also give --plan and --skip-background")
    with open_input(arguments) as source:
        facts = _describe(source, arguments.channels)
        if arguments.plan:
            facts["plan"] = _plan(source, arguments)
    if arguments.json:
        print(json.dumps(facts))
        return 0
    for key, value in (facts | _readable_plan(facts.pop("plan", {}))).items():
        if value:
            print(f"{key.replace('_', ' '):14} {_format(value)}")
    return 0


def _plan(source: Source, arguments: Namespace) -> dict[str, Any]:
    """Return what a job would do and need, as plain JSON values; memory and disk space in bytes."""
    from masked_denoiser.cli.commands.run_job import set_threads
    from masked_denoiser.cli.options import options_of
    from masked_denoiser.cli.progress import print_note
    from masked_denoiser.jobs.dry_run import plan_job

    if arguments.threads is not None:
        set_threads(arguments.threads)
    preview = Path(arguments.preview) if arguments.preview else None
    return plan_job(source, arguments.model or "auto", options_of(arguments), arguments.device, print_note, preview)


def _readable_plan(plan: dict[str, Any]) -> dict[str, Any]:
    """Return the lines of a plan that are printed, by name."""
    if not plan:
        return {}
    lines = {name: plan[name] for name in ("model", "device", "noise")} | {"treatment": plan["done"]}
    side, halo = plan["tile"], plan["halo"]
    lines["tiles"] = f"{plan['tiles']} of {side} x {side} pixels, with a halo of {halo} pixels"
    lines["memory"] = f"at most {plan['memory'] / 2**20:.0f} MiB"
    if plan["device_memory"]:
        lines["memory"] += f", and {plan['device_memory'] / 2**20:.0f} MiB or more on the GPU"
    lines["output"] = f"about {plan['output'] / 2**20:.0f} MiB as OME-Zarr, before compression"
    if plan["background"] is not None:
        lines["background"] = f"{plan['background']:.0%} of {plan['looked_at']} sampled tiles would be copied unchanged"
    return lines


def _describe(source: Source, channels: Any = "auto") -> dict[str, Any]:
    """Return the properties of an image, as plain JSON values."""
    planes = list(list_planes(source.axes, source.sizes, source.rgb, channels))
    return {
        "name": source.name,
        "axes": source.axes,
        "shape": list(source.shape),
        "dtype": str(source.dtype),
        "rgb": source.rgb,
        "pixel_size": {axis: [size, source.units.get(axis, "")] for axis, size in source.pixel_size.items()},
        "channel_names": list(source.channel_names),
        "origin": {axis: [position, source.units.get(axis, "")] for axis, position in source.origin.items()},
        "modality": source.modality,
        "orientation": orientation_of(source.affine),
        "selection": source.selection,
        "part": source.part,
        "reader": source.reader,
        "levels": [list(level.shape) for level in source.levels],
        "planes": sum(not plane.copied for plane in planes),
        "megapixels": round(source.size_yx[0] * source.size_yx[1] * len(planes) / 1e6, 3),
        "notes": list(source.notes),
    }


def _format(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{axis} {size:g} {unit}".strip() for axis, (size, unit) in value.items())
    if isinstance(value, list):
        inner = (" x ".join(map(str, v)) if isinstance(v, list) else str(v) for v in value)
        return (" x " if all(isinstance(v, int) for v in value) else ", ").join(inner)
    return "yes" if value is True else str(value)
