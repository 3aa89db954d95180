"""A job: everything that decides the result, frozen, comparable, one JSON text.

`Options` are what a user asked for; `settle.make_job` settles them against image, model and device.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import lcm
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.noise_treatment import NoiseTreatment
from masked_denoiser.images.planes import Channels, Plane, list_planes
from masked_denoiser.images.writers.layout import OmeZarr
from masked_denoiser.inference.precision import Precision
from masked_denoiser.jobs.spec.options import OnError, OutputDtype
from masked_denoiser.tiling.groups import TileGroups
from masked_denoiser.tiling.plan import Plan

#: Fields of a job that say where something lies, and decide nothing.
_PLACES = ("input", "output", "model_from")

#: What a model is named by that is a file, and no name.
MODEL_SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class Job:
    """A settled job. Two jobs that are equal write the same bytes on the same kind of device.

    Attributes:
        asked_axes, level: how the input was opened, as for `open_image`.
        stamp: size in bytes and time of change in nanoseconds of the input where it is a file, else 0; and a checksum
            of a few of its pixels.
        model_from: name or path that the model was loaded by; empty for a model in memory.
        window: the grid of the model; that of the tiles is `stride` times as wide.
        shard: side of the output's shards in pixels; 0 where chunks are files of their own.
        group: tiles along rows and columns of what is written and recorded together: of a shard of the output, or else
            of a batch.
        epochs: runs of planes with ranges and treatments of their own; see `denoising.epochs`.
        ranges: key and `IntensityRange` of each channel and epoch.
        asked: `Options.noise`.
        noise: what was found, for a person; empty where it was not looked at.
        treatments: key and `NoiseTreatment` of each channel and epoch.
        hot_pixels: channel and its pixels of the detector that are replaced first, (row, column) each.
        background: key, then the levels of the background; empty where none is skipped.
        output_dtype: as in `Options.dtype`.
        selection: the part of the input that it is about, as `images.selection` writes it; "" for all.
    """

    #: A job file that says more than this class knows is refused.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

    input: str
    asked_axes: str | None
    level: int
    stamp: tuple[int, int, int]
    output: str
    shape: tuple[int, ...]
    axes: str
    dtype: str
    output_dtype: OutputDtype
    rgb: bool
    model: str
    model_from: str
    model_digest: str
    window: int
    tile: int
    halo: int
    batch: int
    shard: int
    group: tuple[int, int]
    passes: int
    std: bool
    seed: int
    channels: Channels
    epochs: int
    ranges: tuple[tuple[int, IntensityRange], ...]
    asked: str
    noise: str
    treatments: tuple[tuple[int, NoiseTreatment], ...]
    hot_pixels: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]
    device: str
    precision: Precision
    compiled: bool
    background: tuple[tuple[int, tuple[float, ...]], ...]
    ome_zarr: OmeZarr
    on_error: OnError
    version: str
    selection: str = ""

    @cached_property
    def plan(self) -> Plan:
        """The tiles of each plane."""
        sizes = dict(zip(self.axes, self.shape, strict=True))
        return Plan((sizes["Y"], sizes["X"]), self.tile, self.halo, self.window * self.stride)

    @cached_property
    def groups(self) -> TileGroups:
        """The tiles of each plane, in groups."""
        return TileGroups(self.plan, self.group)

    @cached_property
    def planes(self) -> tuple[Plane, ...]:
        """The planes, in the order they are denoised."""
        sizes = dict(zip(self.axes, self.shape, strict=True))
        return tuple(list_planes(self.axes, sizes, self.rgb, self.channels, self.epochs))

    def range_of(self, plane: Plane) -> IntensityRange:
        """The intensity range of a plane."""
        return self._ranges[plane.range_key]

    @cached_property
    def _ranges(self) -> dict[int, IntensityRange]:
        return dict(self.ranges)

    def treatment_of(self, plane: Plane) -> NoiseTreatment:
        """What is done to a plane because of its noise."""
        return self._treatments[plane.range_key]

    @cached_property
    def _treatments(self) -> dict[int, NoiseTreatment]:
        hot, treatments = dict(self.hot_pixels), dict(self.treatments)
        channels = {plane.range_key: plane.channel for plane in self.planes if not plane.copied}
        return {key: replace(one, hot_pixels=hot.get(channels.get(key, -1), ())) for key, one in treatments.items()}

    def background_of(self, plane: Plane) -> tuple[float, ...] | None:
        """The background of a plane, where tiles of nothing else are passed through."""
        return dict(self.background).get(plane.range_key)

    @cached_property
    def stride(self) -> int:
        """The grid of the tiles is that of the model times this: the least multiple of all strides."""
        return lcm(*(treatment.stride for treatment in self._treatments.values()))

    @property
    def result_dtype(self) -> np.dtype[Any]:
        """Data type of the result."""
        return np.dtype(np.float32 if self.output_dtype == "float32" else self.dtype)

    def to_json(self) -> str:
        """One line of JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def digest(self) -> str:
        """SHA-256 of the JSON text, without where input, model and output lie."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()

    def identity(self) -> dict[str, Any]:
        """The values that a resumed job must agree on, as plain JSON."""
        values: dict[str, Any] = json.loads(self.to_json())
        return {key: value for key, value in values.items() if key not in _PLACES}

    def with_absolute_paths(self) -> Job:
        """The same job with whole paths, for other folders and machines."""

        def whole(place: str) -> str:
            return place if not place or "://" in place else str(Path(place).absolute())

        model = whole(self.model_from) if Path(self.model_from).suffix in MODEL_SUFFIXES else self.model_from
        return replace(self, input=whole(self.input), output=whole(self.output), model_from=model)

    def settings(self) -> dict[str, Any]:
        """What an output says of its making, as plain JSON: all that decides but for the input's stamp."""
        return {key: value for key, value in self.identity().items() if key != "stamp"}


def describe_difference(field: str, then: Any, now: Any) -> str:
    """That a field of a job differs, for a person."""
    if field == "asked":
        return f"--noise was {then} and is {now}"
    if field != "stamp":
        was, is_now = (text if len(text := repr(value)) <= 60 else f"{text[:60]}..." for value in (then, now))
        return f"{field} was {was} and is {is_now}"
    names = ("its size in bytes", "its time of change", "its pixels")
    values = zip(names, then, now, strict=True) if isinstance(then, list | tuple) and len(then) == 3 else ()
    changed = [name for name, before, after in values if before != after]
    return f"the input has changed ({', '.join(changed) or 'it was none'})"
