"""Form and request of the Denoise dock; without Qt, napari and torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from masked_denoiser.errors import FormError
from masked_denoiser.images.source import LazyArray, Source
from masked_denoiser.images.suffixes import OUTPUT_SUFFIXES
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.region import Region

#: Where a result is written.
Output = Literal["memory", "zarr", "tiff", "nifti"]

#: Rectangle of each plane that is denoised.
RegionKind = Literal["whole", "view", "shapes"]

#: Suffix of the output by its kind.
_SUFFIX: Mapping[Output, str] = {"zarr": ".ome.zarr", "tiff": ".ome.tif", "nifti": ".nii.gz"}

#: Suffixes of a path that is kept as it was typed, by kind of the output.
_KNOWN_SUFFIXES: Mapping[Output, tuple[str, ...]] = {
    "zarr": OUTPUT_SUFFIXES["OME-Zarr"],
    "tiff": OUTPUT_SUFFIXES["OME-TIFF"],
    "nifti": OUTPUT_SUFFIXES["NIfTI"],
}

#: Longest side in pixels of a result that is shown without lower levels: other plugins take the data of a multiscale
#: layer for an array and get its lowest level, and graphics cards show textures of this size.
LARGEST_PLAIN_SIDE = 8192

#: Share of the free memory above which the user confirms a result in memory.
_MAX_MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class Form:
    """Values of the dock's fields.

    Attributes:
        model: name of a model, or "auto".
        output: where the result is written.
        path: path of the result on disk, as typed.
        axes: axes of the layer, as typed; "" for those of the layer.
        slices: ranges of T, Z and C to denoise, as a selection; "" for all.
        region: rectangle of the planes to denoise: all, the visible part, or a shape of the Shapes layer `shapes`.
        shapes: name of a Shapes layer.
        device: "auto" or the name of a device.
        scheduler: address of a dask scheduler whose workers denoise to disk; "" for this computer.
        options: options of the job.
    """

    model: str = ""
    output: Output = "memory"
    path: str = ""
    axes: str = ""
    slices: str = ""
    region: RegionKind = "whole"
    shapes: str = ""
    device: str = "auto"
    scheduler: str = ""
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, eq=False)
class Request:
    """Arguments of the background task, independent of the GUI.

    Attributes:
        source: the image to denoise: a layer or a part of it.
        model: name of a model.
        device: "auto" or the name of a device.
        options: options of the job.
        output: output file or folder; None for a result in memory.
        input: file of the layer, which must not be overwritten.
        region: part of the source to denoise in memory; None for all of it.
        preview: whether the result is a preview.
        start: first pixel of the source in its layer, by axis letter.
        pyramid: whether to show the result as a pyramid.
        resume, overwrite: what to do with an output that exists; with neither, the user is asked.
        scheduler: address of a dask scheduler whose workers denoise; "" for this computer.
        flipped: axes along which the layer is flipped, and the source is not.
        levels: levels of the layer, to show it behind a growing result; empty unless all of a pyramid is denoised.
        file: the source as the workers of a cluster open it; it may have more axes, of length 1.
    """

    source: Source
    model: str
    device: str = "auto"
    options: Options = field(default_factory=Options)
    output: Path | None = None
    input: Path | None = None
    region: Region | None = None
    preview: bool = False
    start: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    pyramid: bool = False
    resume: bool = False
    overwrite: bool = False
    scheduler: str = ""
    flipped: str = ""
    levels: tuple[LazyArray, ...] = ()
    file: Source | None = None


def make_request(
    form: Form,
    source: Source,
    *,
    input: Path | None,
    region: Region | None = None,
    preview: bool = False,
    start: Mapping[str, int] | None = None,
    multiscale: bool = False,
) -> Request:
    """Return the arguments of the background task.

    Args:
        form: fields of the dock.
        source: the chosen layer, or a part of it, as a source.
        input: file of the layer.
        region: part of the source to denoise in memory; None for all of it.
        preview: whether to denoise in memory only, as a preview.
        start: first pixel of the source in its layer, by axis letter.
        multiscale: whether the layer is a pyramid.

    Raises:
        FormError: if no model is chosen, or no path for an output on disk.
    """
    if not form.model:
        raise FormError("choose a model; `masked-denoiser models import` adds one")
    return Request(
        source,
        form.model,
        form.device,
        form.options,
        output=None if preview else output_path(form),
        input=input,
        region=region,
        preview=preview,
        start=start or {},
        pyramid=not preview and (multiscale or _longer_side(source, region) > LARGEST_PLAIN_SIDE),
        scheduler="" if preview else form.scheduler,
    )


def _longer_side(source: Source, region: Region | None) -> int:
    return max(source.size_yx if region is None else (len(region.rows), len(region.columns)))


def output_path(form: Form) -> Path | None:
    """Return the path of the result with the suffix of its format; None for a result in memory.

    Raises:
        FormError: if the result is written to disk and no path is given.
    """
    if form.output == "memory":
        return None
    if not form.path.strip():
        raise FormError("choose a file for the result, or a new layer as output")
    path = typed_path(form.path)
    return (
        path
        if path.name.lower().endswith(_KNOWN_SUFFIXES[form.output])
        else path.with_name(path.name + _SUFFIX[form.output])
    )


def typed_path(text: str) -> Path:
    """Return a path as it was typed, with "~" replaced.

    Raises:
        FormError: if it begins with a user that does not exist.
    """
    try:
        return Path(text.strip()).expanduser()
    except RuntimeError as error:
        raise FormError(f"{text.strip()} names an unknown user; type the whole path") from error


def default_path(output: Output, name: str, preferred: Path | None, input: Path | None, home: Path) -> str:
    """Return the suggested path of the result: in the preferred folder, next to the input, or in the home folder.

    Args:
        output: where the result is written; "memory" gives "".
        name: name of the layer.
        preferred: folder that the user prefers for results; None for that of the input.
        input: file of the layer, if it has one.
        home: folder for layers without a file.
    """
    if output == "memory":
        return ""
    stem = "".join(letter if letter.isalnum() or letter in "-_ " else "_" for letter in name).strip() or "image"
    of_input = input.parent if input is not None and input.parent.is_dir() else home
    folder = preferred or of_input
    return str(folder / f"{stem} denoised{_SUFFIX[output]}")


def memory_warning(source: Source, std: bool, free: int, region: Region | None = None) -> str:
    """Return the warning about a result that takes much of the free memory; "" if it fits.

    Args:
        source: the image.
        std: whether the standard deviation (float32) is kept as well.
        free: free memory in bytes.
        region: part of the image that is denoised; None for all of it.
    """
    samples = prod(source.shape)
    if region is not None:
        samples = samples // prod(source.size_yx) * len(region.rows) * len(region.columns)
    needed = samples * (source.dtype.itemsize + (4 if std else 0))
    if needed <= _MAX_MEMORY_SHARE * free:
        return ""
    return (
        f"The result takes {needed / 1e9:.1f} GB, more than {_MAX_MEMORY_SHARE:.0%} of the {free / 1e9:.1f} GB of free "
        "memory. An output on disk, such as OME-Zarr, does not have to fit in memory."
    )
