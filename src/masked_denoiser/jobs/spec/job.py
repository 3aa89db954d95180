"""Job: everything that determines the result, as a frozen dataclass that can be stored as JSON.

`Options` are what a user requests; `spec.resolve.make_job` resolves them against image, model and device.
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

from masked_denoiser.denoising.context.average import uses_context
from masked_denoiser.denoising.context.planes import ContextPlanes, PlaneNeighbours
from masked_denoiser.denoising.intensity.ranges import IntensityRange
from masked_denoiser.denoising.noise_treatment import NoiseTreatment
from masked_denoiser.images.choices import Channels, OmeZarr
from masked_denoiser.images.planes import Plane, list_planes
from masked_denoiser.images.validation.fingerprint import Fingerprint
from masked_denoiser.images.writers.output_path import stores_scale
from masked_denoiser.inference.precision import Precision
from masked_denoiser.jobs.spec.options import OnError, OutputDtype
from masked_denoiser.models.catalogue import MODEL_SUFFIXES
from masked_denoiser.noise.modalities.prior import Modality
from masked_denoiser.tiling.groups import TileGroups
from masked_denoiser.tiling.plan import Plan

#: Fields of a job that locate files and do not affect the result.
_LOCATION_FIELDS = ("input", "output", "model_from")


@dataclass(frozen=True)
class Job:
    """A resolved job. Equal jobs write the same bytes on the same kind of device.

    Attributes:
        requested_axes: `axes` of `open_image` for the input.
        level: level of the pyramid of the input; 0 is full resolution.
        reader: `reader` of `open_image` for the input.
        fingerprint: checksums of files and pixels of the input.
        model_from: name or path from which the model was loaded; empty for a model in memory.
        grid: grid of the model in pixels; that of the tiles is `stride` times as wide.
        strength: see `Options.strength`; the treatments have it, too.
        shard: side of the output's shards in pixels; 0 if each chunk is a separate file.
        group: numbers of rows and columns of the tiles that are written and recorded together: those of a shard of the
            output, or else of a batch.
        epochs: runs of planes with separate ranges and treatments; see `denoising.intensity.epochs`.
        ranges: key and `IntensityRange` of each channel and epoch.
        requested_noise: `Options.noise`.
        modality: kind of the image, as it was stated or recognised.
        noise: result of the noise measurement as text; empty if the noise was not measured.
        treatments: key and `NoiseTreatment` of each channel and epoch.
        hot_pixels: channel and (row, column) of each of its detector pixels that are replaced first.
        context_planes: channel and the neighbouring planes that are averaged with each of its planes; none for channels
            whose planes are denoised by themselves.
        background: key and background levels of each channel and epoch; empty if background is not skipped.
        output_dtype: see `Options.dtype`.
        selection: the denoised part of the input, as `images.selection` formats it; "" for all of it.
        anonymize: whether the output is without what identifies a patient.
    """

    #: Configuration of the validation of job files, which rejects unknown fields.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}

    input: str
    requested_axes: str | None
    level: int
    fingerprint: Fingerprint
    output: str
    shape: tuple[int, ...]
    axes: str
    dtype: str
    output_dtype: OutputDtype
    rgb: bool
    model: str
    model_from: str
    model_digest: str
    grid: int
    tile: int
    halo: int
    batch: int
    shard: int
    group: tuple[int, int]
    passes: int
    std: bool
    seed: int
    strength: float
    channels: Channels
    epochs: int
    ranges: tuple[tuple[int, IntensityRange], ...]
    requested_noise: str
    modality: Modality
    noise: str
    treatments: tuple[tuple[int, NoiseTreatment], ...]
    hot_pixels: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]
    context_planes: tuple[tuple[int, ContextPlanes], ...]
    device: str
    precision: Precision
    compiled: bool
    background: tuple[tuple[int, tuple[float, ...]], ...]
    ome_zarr: OmeZarr
    on_error: OnError
    version: str
    selection: str = ""
    anonymize: bool = False
    reader: str = ""

    @cached_property
    def plan(self) -> Plan:
        """Tiles of each plane."""
        sizes = dict(zip(self.axes, self.shape, strict=True))
        return Plan((sizes["Y"], sizes["X"]), self.tile, self.halo, self.grid * self.stride)

    @cached_property
    def groups(self) -> TileGroups:
        """Groups of the tiles of each plane."""
        return TileGroups(self.plan, self.group)

    @cached_property
    def planes(self) -> tuple[Plane, ...]:
        """Planes in the order in which they are denoised."""
        sizes = dict(zip(self.axes, self.shape, strict=True))
        return tuple(list_planes(self.axes, sizes, self.rgb, self.channels, self.epochs))

    def range_of(self, plane: Plane) -> IntensityRange:
        """Return the intensity range of a plane."""
        return self._ranges[plane.range_key]

    @cached_property
    def _ranges(self) -> dict[int, IntensityRange]:
        return dict(self.ranges)

    def treatment_of(self, plane: Plane) -> NoiseTreatment:
        """Return the noise treatment of a plane, with the hot pixels of its channel."""
        return self._treatments[plane.range_key]

    @cached_property
    def _treatments(self) -> dict[int, NoiseTreatment]:
        hot, treatments = dict(self.hot_pixels), dict(self.treatments)
        channels = {plane.range_key: plane.channel for plane in self.planes if not plane.copied}
        return {key: replace(value, hot_pixels=hot.get(channels.get(key, -1), ())) for key, value in treatments.items()}

    def context_of(self, plane: Plane) -> ContextPlanes | None:
        """Return the neighbouring planes that are averaged with a plane; None if it is denoised by itself."""
        if plane.copied or not uses_context(self.treatment_of(plane)):
            return None
        return dict(self.context_planes).get(plane.channel)

    def neighbours_of(self, plane: Plane, context: ContextPlanes) -> tuple[Plane, ...]:
        """Return the neighbours of a plane, the nearest first; none that have a single intensity."""
        neighbours = self._neighbours.of(plane, context)
        return tuple(neighbour for neighbour in neighbours if not self.range_of(neighbour).blank)

    @cached_property
    def _neighbours(self) -> PlaneNeighbours:
        return PlaneNeighbours(self.planes)

    def background_of(self, plane: Plane) -> tuple[float, ...] | None:
        """Return the background levels of a plane; None if its background is not skipped."""
        return dict(self.background).get(plane.range_key)

    @cached_property
    def stride(self) -> int:
        """Factor of the grid of the tiles to that of the model: the least common multiple of all strides."""
        return lcm(*(treatment.stride for treatment in self._treatments.values()))

    @property
    def result_dtype(self) -> np.dtype[Any]:
        """Data type of the result; float32 for an output that stores integers with a scale, to keep fractions."""
        scaled = bool(self.output) and stores_scale(Path(self.output), self.dtype)
        return np.dtype(np.float32 if self.output_dtype == "float32" or scaled else self.dtype)

    def to_json(self) -> str:
        """Return the job as one line of JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def digest(self) -> str:
        """SHA-256 of the JSON text without the locations of input, model and output."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()

    def identity(self) -> dict[str, Any]:
        """Return the values that a resumed job must share, as plain JSON."""
        values: dict[str, Any] = json.loads(self.to_json())
        return {key: value for key, value in values.items() if key not in _LOCATION_FIELDS}

    def with_absolute_paths(self) -> Job:
        """Return the same job with absolute paths, for other folders and machines."""

        def absolute(path: str) -> str:
            return path if not path or "://" in path else str(Path(path).absolute())

        model = absolute(self.model_from) if Path(self.model_from).suffix.lower() in MODEL_SUFFIXES else self.model_from
        return replace(self, input=absolute(self.input), output=absolute(self.output), model_from=model)

    def settings(self) -> dict[str, Any]:
        """Return the settings that an output records, as plain JSON: the identity without `fingerprint`."""
        return {key: value for key, value in self.identity().items() if key != "fingerprint"}


def describe_difference(field: str, then: Any, now: Any) -> str:
    """Return a description of a field in which two jobs differ."""
    if field == "requested_noise":
        return f"--noise was {then} and is {now}"
    if field != "fingerprint":
        before, after = (text if len(text := repr(value)) <= 60 else f"{text[:60]}..." for value in (then, now))
        return f"{field} was {before} and is {after}"
    names = {"files": "names or sizes of its files", "pixels": "its pixels"}
    changed = [name for key, name in names.items() if isinstance(then, dict) and then.get(key) != now[key]]
    return f"the input has changed ({', '.join(changed) or 'it was not recorded'})"
