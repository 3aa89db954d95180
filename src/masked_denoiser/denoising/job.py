"""A job: everything that decides the result, frozen, comparable, one JSON text.

`Options` are what a user asked for; `make_job` settles them against image, model and device.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from math import isfinite
from typing import Any, Literal

from masked_denoiser.denoising.intensity import Range, measure_ranges
from masked_denoiser.errors import UserError
from masked_denoiser.images.planes import Channels, Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.models.file import Model
from masked_denoiser.network.reach import exact_halo
from masked_denoiser.tiling.plan import Plan

#: Context around a core unless asked otherwise. `masked-denoiser doctor --halo` prints the error it makes.
DEFAULT_HALO = 32


class JobError(UserError, ValueError):
    """A job that cannot be done as asked."""


@dataclass(frozen=True)
class Options:
    """What a user asks for, beside image and model.

    Attributes:
        tile: side of the square that is written at once, in pixels.
        halo: context read around a tile in pixels; "default", or "exact" for whole-image equality.
        batch: tiles denoised at once; 0 lets the device decide.
        passes: runs with different attention masks whose mean is the result.
        std: also write the standard deviation over the passes, in intensity units.
        seed: of the attention masks and of the sample that fixes the intensity range.
        channels: "auto" takes RGB as one plane and all else channel by channel.
        intensity: (low, high) that the network sees as 0 and 1; None measures them.
    """

    tile: int = 256
    halo: int | Literal["default", "exact"] = "default"
    batch: int = 0
    passes: int = 1
    std: bool = False
    seed: int = 0
    channels: Channels = "auto"
    intensity: tuple[float, float] | None = None


@dataclass(frozen=True)
class Job:
    """A settled job. Two jobs that are equal write the same bytes on the same kind of device."""

    input: str
    stamp: tuple[int, int]
    output: str
    shape: tuple[int, ...]
    axes: str
    dtype: str
    rgb: bool
    model: str
    model_digest: str
    window: int
    tile: int
    halo: int
    batch: int
    passes: int
    std: bool
    seed: int
    channels: Channels
    ranges: tuple[tuple[int, float, float, float], ...]
    device: str
    version: str

    @cached_property
    def plan(self) -> Plan:
        """The tiles of each plane."""
        sizes = dict(zip(self.axes, self.shape, strict=True))
        return Plan((sizes["Y"], sizes["X"]), self.tile, self.halo, self.window)

    @cached_property
    def planes(self) -> tuple[Plane, ...]:
        """The planes, in the order they are denoised."""
        sizes = dict(zip(self.axes, self.shape, strict=True))
        return tuple(list_planes(self.axes, sizes, self.rgb, self.channels))

    def range_of(self, plane: Plane) -> Range:
        """The intensity range of a plane."""
        return self._ranges[plane.range_key]

    @cached_property
    def _ranges(self) -> dict[int, Range]:
        return {key: Range(low, high, fill) for key, low, high, fill in self.ranges}

    def to_json(self) -> str:
        """One line of JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def digest(self) -> str:
        """SHA-256 of the JSON text, without where input and output lie."""
        return hashlib.sha256(json.dumps(self.deciding(), sort_keys=True).encode()).hexdigest()

    def deciding(self) -> dict[str, Any]:
        """The values that a resumed job must agree on, as plain JSON."""
        values: dict[str, Any] = json.loads(self.to_json())
        return {key: value for key, value in values.items() if key not in ("input", "output")}


def make_job(source: Source, model: Model, options: Options, device: str, output: str = "") -> Job:
    """Settles what was asked for.

    Args:
        source: the image; a sample of it is read to fix the intensity ranges.
        model: the model, loaded.
        options: what the user asked for.
        device: kind of device, "cpu", "cuda" or "mps".
        output: where the result goes; "" for memory.

    Raises:
        JobError: if options, image and model do not go together.
        PlanError: if the tile does not fit the model's window.
    """
    _check(source, model, options)
    config = model.card.architecture
    planes = _planes(source, options)
    job = Job(
        input=str(source.path or source.name),
        stamp=_stamp(source, planes),
        output=output,
        shape=source.shape,
        axes=source.axes,
        dtype=str(source.dtype),
        rgb=source.rgb,
        model=model.card.name,
        model_digest=model.digest,
        window=config.grid,
        tile=options.tile,
        halo=settle_halo(options.halo, model),
        batch=options.batch or {"cuda": 8, "mps": 2}.get(device, 1),
        passes=options.passes,
        std=options.std,
        seed=options.seed,
        channels=options.channels,
        ranges=_ranges(source, planes, options),
        device=device,
        version=version("napari-masked-denoiser"),
    )
    _ = job.plan  # refuses a tile or halo that does not fit the model
    return job


def settle_halo(halo: int | str, model: Model) -> int:
    """The halo in pixels: given, the default, or exact for the model's architecture."""
    config = model.card.architecture
    exact = exact_halo(config)
    if halo == "exact":
        return exact
    if halo == "default":
        return min(exact, -(-DEFAULT_HALO // config.grid) * config.grid)
    return int(halo)


def _check(source: Source, model: Model, options: Options) -> None:
    if source.dtype.kind not in "uif":
        raise JobError(f"{source.name} has dtype {source.dtype}; only integers and real numbers can be denoised")
    if options.passes < 1 or options.passes > 1000:
        raise JobError(f"passes is {options.passes}; choose 1 to 1000")
    if options.std and options.passes < 2:
        raise JobError("a standard deviation needs at least 2 passes; set passes to 2 or more")
    if options.passes > 1 and not model.card.architecture.attention_mask:
        raise JobError(f"{model.card.name} has no attention mask, so that all passes are equal; set passes to 1")
    if options.batch < 0 or options.seed < 0:
        raise JobError(f"batch ({options.batch}) and seed ({options.seed}) cannot be negative")
    if options.seed >= 2**63:
        raise JobError(f"seed is {options.seed}; choose one below 2^63")
    if options.intensity is not None and not all(map(isfinite, options.intensity)):
        raise JobError(f"the intensity range {options.intensity} has no end; give two finite numbers")
    if options.intensity is not None and not options.intensity[0] < options.intensity[1]:
        raise JobError(f"the intensity range {options.intensity} is empty; give LOW < HIGH")


def _planes(source: Source, options: Options) -> tuple[Plane, ...]:
    try:
        return tuple(list_planes(source.axes, source.sizes, source.rgb, options.channels))
    except ValueError as error:
        raise JobError(f"{error}; use channels 'each'") from error


def _ranges(source: Source, planes: tuple[Plane, ...], options: Options) -> tuple[tuple[int, float, float, float], ...]:
    keys = sorted({p.range_key for p in planes if not p.copied})
    if options.intensity is not None:
        low, high = options.intensity
        return tuple((key, low, high, (low + high) / 2) for key in keys)
    measured = measure_ranges(source, planes, options.seed)
    return tuple((key, measured[key].low, measured[key].high, measured[key].fill) for key in keys)


def _stamp(source: Source, planes: tuple[Plane, ...]) -> tuple[int, int]:
    """What tells one input from another: a file's size and time of change, else a checksum of a few pixels."""
    if source.path is not None and source.path.is_file():
        status = source.path.stat()
        return status.st_size, status.st_mtime_ns
    ys, xs = (slice(max(0, side // 2 - 64), side // 2 + 64) for side in source.size_yx)
    few = (planes[0], planes[len(planes) // 2], planes[-1])
    return 0, zlib.crc32(b"".join(source.read(plane, ys, xs).tobytes() for plane in few))
