"""Layers of a job in a viewer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.plugin.denoise.task import LayerUpdate, Role
from masked_denoiser.plugin.layers.source import (
    SPATIAL_SETTINGS,
    layer_transform,
    result_state,
    translation_at,
)


@dataclass
class JobLayers:
    """Layers of a job.

    Attributes:
        source: the input layer; None between jobs.
        output: path of the result on disk; None for a result in memory.
        state: display settings of the input layer.
        name: its name.
        transform: its transform.
        limits_range: its range of contrast limits; None for RGB.
        current: layers of the job by their role.
        updates: what each of them shows.
    """

    source: Any = None
    output: Path | None = None
    state: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    transform: Any = None
    limits_range: tuple[float, ...] | None = None
    current: dict[Role, Any] = field(default_factory=dict)
    updates: dict[Role, LayerUpdate] = field(default_factory=dict)

    @classmethod
    def of(cls, layer: Any, output: Path | None) -> JobLayers:
        """Return the layers of a job that begins: none but its input."""
        limits = None if layer.rgb else tuple(layer.contrast_limits_range)
        return cls(layer, output, result_state(layer), layer.name, layer_transform(layer), limits)

    def placement(self, update: LayerUpdate) -> dict[str, Any]:
        """Return the settings that place the pixels of an update where those of the input are."""
        placement = {name: self.state[name] for name in SPATIAL_SETTINGS}
        scale = np.array(placement["scale"], float)
        offset = list(update.offset) or [0.0] * len(scale)
        for axis in update.flipped:  # from the last pixel of the input on, in steps of the other sign
            scale[axis] = -scale[axis]
            offset[axis] += update.levels[0].shape[axis] - 1
        translate = translation_at(self.transform, tuple(offset)) if any(offset) else placement["translate"]
        return placement | {"scale": scale, "translate": translate}

    def follow_source(self) -> None:
        """Take over the transform of the input layer, which the user may have changed since the job began."""
        state = result_state(self.source)
        self.state |= {name: state[name] for name in SPATIAL_SETTINGS}
        self.transform = layer_transform(self.source)
