"""Layers that show the result of a job."""

from __future__ import annotations

from typing import Any

from masked_denoiser.plugin.denoise.results.job_layers import JobLayers
from masked_denoiser.plugin.denoise.task import LayerUpdate, Role

#: Suffix of a layer's name by its role.
_SUFFIXES: dict[Role, str] = {
    "result": "denoised",
    "std": "standard deviation",
    "preview": "preview",
    "second": "preview by another model",
    "residual": "removed",
    "live": "live view",
    "split": "before | after",
}

#: Colormap of what was removed: green and violet for positive and negative, white for 0.
_RESIDUAL_COLORMAP = "PiYG"


def name_of(job: JobLayers, role: Role) -> str:
    """Return the name of the layer of a job with this role."""
    return f"{job.name} {_SUFFIXES[role]}"


def new_layer(job: JobLayers, update: LayerUpdate, data: Any) -> Any:
    """Return a new layer with the display settings of the input of a job.

    Args:
        job: the job.
        update: what the layer shows.
        data: its levels, or its only one.
    """
    from napari.layers import Image

    state = job.state | {"name": name_of(job, update.role), "multiscale": len(update.levels) > 1}
    state |= job.placement(update)
    if update.role in ("std", "residual"):
        state |= {"rgb": False, "visible": update.role == "residual"}
    if update.role == "residual":
        state |= {"colormap": _RESIDUAL_COLORMAP, "gamma": 1.0, "blending": "translucent"}
    if update.limits is not None:
        state |= {"contrast_limits": update.limits}
    layer = Image(data, cache=False, **state)
    if update.limits is None and job.limits_range is not None:
        layer.contrast_limits_range = job.limits_range
    layer.bounding_box.visible = update.role in ("preview", "second", "live")
    return layer
