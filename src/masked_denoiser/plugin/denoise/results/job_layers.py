"""Layers of a job in a viewer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from masked_denoiser.plugin.denoise.task import Role
from masked_denoiser.plugin.layers.source import layer_transform, result_state


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
    """

    source: Any = None
    output: Path | None = None
    state: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    transform: Any = None
    limits_range: tuple[float, ...] | None = None
    current: dict[Role, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, layer: Any, output: Path | None) -> JobLayers:
        """Return the layers of a job that begins: none but its input."""
        limits = None if layer.rgb else tuple(layer.contrast_limits_range)
        return cls(layer, output, result_state(layer), layer.name, layer_transform(layer), limits)
