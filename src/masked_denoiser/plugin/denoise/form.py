"""What the user chose in the dock, and what follows from it. Pure: no Qt, no napari, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from masked_denoiser.errors import FormError
from masked_denoiser.images.planes import Channels
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.layout import SMALLEST_LEVEL
from masked_denoiser.images.writers.output_path import TIFF_SUFFIXES, ZARR_SUFFIXES
from masked_denoiser.inference.precision import AskedPrecision
from masked_denoiser.jobs.spec.region import Region

#: Where a result goes.
Output = Literal["memory", "zarr", "tiff"]

RegionKind = Literal["whole", "view", "shapes"]

_SUFFIX: Mapping[Output, str] = {"zarr": ".ome.zarr", "tiff": ".ome.tif"}

#: A result in memory that takes more than this share of the free memory is asked about first.
MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class Form:
    """The fields of the dock.

    Attributes:
        model: name of a model, or "auto".
        output: where the result goes.
        path: of the result on disk, as typed.
        axes: as typed; empty takes those of the layer.
        slices: ranges of T, Z and C to take, as a selection; empty takes all.
        region: which rectangle of the planes to take: all, what is in view, or a shape of the layer `shapes`.
        intensity: (low, high), or None to measure them.
        noise, strength, precision, skip_background, dtype: as in `Options`.
    """

    model: str = ""
    output: Output = "memory"
    path: str = ""
    axes: str = ""
    slices: str = ""
    region: RegionKind = "whole"
    shapes: str = ""
    channels: Channels = "auto"
    passes: int = 1
    std: bool = False
    tile: int = 512
    halo: Literal["default", "exact"] = "default"
    device: str = "auto"
    seed: int = 0
    intensity: tuple[float, float] | None = None
    noise: str = "auto"
    strength: float = 1.0
    precision: AskedPrecision = "float32"
    skip_background: bool = False
    dtype: Literal["same", "float32"] = "same"
    scheduler: str = ""

    def settings(self) -> dict[str, Any]:
        """Fields of `Options`."""
        names = [
            "tile",
            "halo",
            "passes",
            "std",
            "seed",
            "channels",
            "intensity",
            "noise",
            "strength",
            "precision",
            "skip_background",
            "dtype",
        ]
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, eq=False)
class Request:
    """A task for the worker: all it needs, and nothing of the window.

    Attributes:
        source: the image, or the part of it that the job is about.
        model: name of a model.
        device: "auto" or one by name.
        settings: fields of `Options`.
        output: file or folder; None for memory.
        input: where the image came from, which must not be written to.
        region: only this part, in memory.
        preview: whether it is only a look at the image.
        start: axis letter to where the source begins in its layer, in pixels.
        pyramid: whether to show the result as a pyramid.
        resume, overwrite: what to do with an output that exists; neither asks.
        scheduler: of a cluster that does it; empty for this computer.
        file: the source as the workers of a cluster open it; it may have more axes, of length 1.
    """

    source: Source
    model: str
    device: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    output: Path | None = None
    input: Path | None = None
    region: Region | None = None
    preview: bool = False
    start: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    pyramid: bool = False
    resume: bool = False
    overwrite: bool = False
    scheduler: str = ""
    file: Source | None = None


def make_request(
    form: Form,
    source: Source,
    *,
    input: Path | None,
    region: Region | None = None,
    preview: bool = False,
    start: Mapping[str, int] | None = None,
) -> Request:
    """What the worker is asked to do.

    Args:
        form: the fields of the dock.
        source: the chosen layer, or a part of it, as a source.
        input: the file that the layer came from.
        region: the part of the source that is done, in memory; None for all of it.
        preview: whether to have a look only, and write nothing.
        start: where the source begins in its layer.

    Raises:
        FormError: if a field must be filled in first.
    """
    if not form.model:
        raise FormError("choose a model; `masked-denoiser models import` adds one")
    return Request(
        source,
        form.model,
        form.device,
        form.settings(),
        output=None if preview else output_path(form),
        input=input,
        region=region,
        preview=preview,
        start=start or {},
        pyramid=not preview and _long_side(source, region) > SMALLEST_LEVEL,
        scheduler="" if preview else form.scheduler,
    )


def _long_side(source: Source, region: Region | None) -> int:
    return max(source.size_yx if region is None else (len(region.rows), len(region.columns)))


def output_path(form: Form) -> Path | None:
    """Where the result goes, with the ending that belongs there; None for memory.

    Raises:
        FormError: if it goes to disk and no path is given.
    """
    if form.output == "memory":
        return None
    if not form.path.strip():
        raise FormError("choose a file for the result, or a new layer as output")
    path = Path(form.path.strip()).expanduser()
    known = ZARR_SUFFIXES if form.output == "zarr" else TIFF_SUFFIXES
    return path if path.name.lower().endswith(known) else path.with_name(path.name + _SUFFIX[form.output])


def default_path(output: Output, name: str, input: Path | None, home: Path) -> str:
    """A path to begin with: beside the input, else in a folder of the user's.

    Args:
        output: where the result goes.
        name: of the layer.
        input: the layer's file, if it has one.
        home: the folder for layers that have none.
    """
    if output == "memory":
        return ""
    stem = "".join(letter if letter.isalnum() or letter in "-_ " else "_" for letter in name).strip() or "image"
    folder = input.parent if input is not None and input.parent.is_dir() else home
    return str(folder / f"{stem} denoised{_SUFFIX[output]}")


def memory_warning(source: Source, std: bool, free: int, region: Region | None = None) -> str:
    """What to ask before a result is put into memory; empty if it fits well.

    Args:
        source: the image.
        std: whether the standard deviation is kept as well.
        free: bytes of free memory.
        region: the part that is done; None for all.
    """
    samples = prod(source.shape)
    if region is not None:
        samples = samples // prod(source.size_yx) * len(region.rows) * len(region.columns)
    needed = samples * (source.dtype.itemsize + (4 if std else 0))
    if needed <= MEMORY_SHARE * free:
        return ""
    return (
        f"The result takes {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB of memory are free "
        f"(more than {MEMORY_SHARE:.0%} of it). An output on disk, such as OME-Zarr, needs no memory for it."
    )
