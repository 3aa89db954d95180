"""Background tasks of the Denoise dock; without Qt and napari."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from masked_denoiser.images.source import LazyArray
from masked_denoiser.jobs.pipeline.events import Finished, Finishing, TileDone
from masked_denoiser.messages import Message
from masked_denoiser.plugin.denoise.form import Request
from masked_denoiser.plugin.layers.lazy_view import source_levels
from masked_denoiser.plugin.layers.live_result import (
    LiveRegion,
    LiveResult,
    build_memory_pyramid,
    live_in_memory,
    live_on_disk,
)

if TYPE_CHECKING:
    from masked_denoiser.jobs.executor import Executor
    from masked_denoiser.jobs.pipeline.pipeline import Pipeline
    from masked_denoiser.jobs.prepare import Prepared

#: Role of a result layer.
Role = Literal["result", "std", "preview"]


@dataclass(frozen=True, eq=False)
class LayerUpdate:
    """Event: new pixels for the layer with this role.

    Attributes:
        role: role of the layer.
        levels: levels of the pyramid, full resolution first, with the axes of the input layer.
        offset: first pixel in the input layer; () for its origin.
        limits: contrast limits; None for those of the input layer.
    """

    role: Role
    levels: tuple[LazyArray, ...]
    offset: tuple[float, ...] = ()
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class OutputExists:
    """Event: the output exists, and nothing was done.

    Attributes:
        path: path of the output.
        unfinished: whether it is of an interrupted job, which can be resumed.
    """

    path: Path
    unfinished: bool


@dataclass(frozen=True)
class ModelsAndDevices:
    """Event: descriptions of the models by name, and names of the available devices."""

    descriptions: dict[str, str]
    devices: tuple[str, ...]


def find_models_and_devices(cancel: threading.Event) -> Iterator[ModelsAndDevices]:
    """Yield the descriptions of all models and the available devices; imports torch, which later jobs need."""
    from masked_denoiser.errors import ModelError
    from masked_denoiser.inference.device import available_devices
    from masked_denoiser.models.catalogue import AUTO, DEFAULT, DEFAULT_GRAY, list_models
    from masked_denoiser.models.file import read_card

    descriptions = {AUTO: f"{DEFAULT} for photographs and stained tissue, {DEFAULT_GRAY} for all others"}
    for entry in list_models():
        if cancel.is_set():
            return
        try:
            card = read_card(entry.path)
            descriptions[entry.name] = card.description or f"no description; licence {card.licence}"
        except ModelError as error:
            descriptions[entry.name] = str(error)
    yield ModelsAndDevices(descriptions, available_devices())


def denoise(request: Request, cancel: threading.Event) -> Iterator[Any]:
    """Run a job or a preview.

    Yields:
        The events of `jobs.pipeline.events` except `TileDone`, and `OutputExists` and `LayerUpdate`.

    Raises:
        MaskedDenoiserError: before the first tile, if the request is invalid.
    """
    if request.output is not None:
        _check_output_differs(request)
        if not (request.resume or request.overwrite) and (existing := _find_existing(request.output)):
            yield existing
            return
    from masked_denoiser.jobs.executor import open_executor

    with open_executor(request.scheduler or None) as executor, _prepare(request, executor) as prepared:
        yield from (Message(text) for text in prepared.messages)
        # The workers of a cluster write the output: it is shown when it is complete.
        live = None if request.scheduler else _live(request, prepared)
        if live is not None:
            yield LayerUpdate(_role(request), live.layer_levels(request.source.axes), _offset(request, prepared))
        with closing(cast("Generator[Any]", prepared.pipeline.run(cancel))) as events:
            for event in events:
                yield from _translate(event, request, prepared, live)


def _translate(
    event: Any, request: Request, prepared: Prepared[Pipeline], live: LiveResult | LiveRegion | None
) -> Iterator[Any]:
    """Yield the events for the GUI that an event of a pipeline gives."""
    if isinstance(event, TileDone):
        if live is not None:
            live.add(event)
        yield event.progress
        return
    if isinstance(event, Finishing) and request.output is None and live is not None:
        yield event
        live.finalize()
        return
    if isinstance(event, Finished):
        yield from _final_updates(request, prepared)
    yield event


def _check_output_differs(request: Request) -> None:
    """Raise ImageError if the output would overwrite the file of the layer, or cannot be written."""
    from masked_denoiser.images.writers.output_path import check_output

    assert request.output is not None
    check_output(request.output, replace(request.source, path=request.input))


def _find_existing(output: Path) -> OutputExists | None:
    from masked_denoiser.jobs.storage.journal import Journal

    unfinished = Journal.path_for(output).exists()
    return OutputExists(output, unfinished) if unfinished or output.exists() else None


def _prepare(request: Request, executor: Executor[Any]) -> Prepared[Any]:
    from masked_denoiser.jobs.prepare import prepare_array, prepare_file

    arguments: dict[str, Any] = {"model": request.model, "options": request.options, "device": request.device}
    if request.output is None:
        return prepare_array(request.source, region=request.region, **arguments)
    arguments |= {"executor": executor, "resume": request.resume, "overwrite": request.overwrite}
    return prepare_file(request.file or request.source, request.output, **arguments)


def _role(request: Request) -> Role:
    return "preview" if request.preview else "result"


def _live(request: Request, prepared: Prepared[Pipeline]) -> LiveResult | LiveRegion | None:
    if request.output is not None:
        return live_on_disk(request.output, request.source, request.pyramid)
    if request.region is not None:
        corner = (request.region.rows.start, request.region.columns.start)
        array = _requested_array(request, prepared, prepared.pipeline.sink)
        return LiveRegion(array, request.source.axes, corner, request.pyramid)
    return live_in_memory(_sink_array(prepared.pipeline.sink), request.source, request.pyramid)


def _offset(request: Request, prepared: Prepared[Pipeline]) -> tuple[float, ...]:
    """Return the first pixel of the result in the layer, without RGB samples; () for the origin of the layer."""
    region, start = request.region, dict(request.start)
    if region is not None:
        sizes = dict(zip(request.source.axes, _sink_array(prepared.pipeline.sink).shape, strict=True))
        # An axis that is denoised jointly, such as colour, is complete at every slider position.
        position = [(letter, place) for letter, place in region.position if sizes[letter] == 1]
        for letter, place in (*position, ("Y", region.rows.start), ("X", region.columns.start)):
            start[letter] = start.get(letter, 0) + place
    if not any(start.values()) and not request.preview:
        return ()
    colour = request.source.axes[-1] if request.source.rgb else ""
    return tuple(float(start.get(letter, 0)) for letter in request.source.axes if letter != colour)


def _requested_array(request: Request, prepared: Prepared[Pipeline], sink: Any) -> Any:
    """Return the requested rectangle of the denoised tiles, as a view of the sink's array."""
    requested, done = request.region, prepared.pipeline.region
    if requested is None or done is None:
        return _sink_array(sink)
    inside = {"Y": requested.rows.inside(done.rows), "X": requested.columns.inside(done.columns)}
    return _sink_array(sink)[tuple(inside.get(letter, slice(None)) for letter in request.source.axes)]


def _final_updates(request: Request, prepared: Prepared[Pipeline]) -> Iterator[LayerUpdate]:
    """Yield the finished outputs, opened as by the reader, and the standard deviation."""
    axes, offset = request.source.axes, _offset(request, prepared)
    if request.output is not None:
        yield LayerUpdate("result", _open_levels(request.output, request), offset)
    elif request.region is not None and request.pyramid:
        array = _requested_array(request, prepared, prepared.pipeline.sink)
        yield LayerUpdate("result", build_memory_pyramid(array, axes), offset)
    if not prepared.job.std or request.preview:
        return
    if request.output is None:
        array = _requested_array(request, prepared, prepared.pipeline.std_sink)
        levels = build_memory_pyramid(array, axes) if request.pyramid else (array,)
    else:
        from masked_denoiser.jobs.storage.output import std_path

        levels = _open_levels(std_path(request.output), request)
    levels = tuple(_to_gray(level) for level in levels) if request.source.rgb else levels
    yield LayerUpdate("std", levels, offset, limits=(0.0, _middle_maximum(levels[-1])))


def _open_levels(path: Path, request: Request) -> tuple[LazyArray, ...]:
    from masked_denoiser.images.open import open_image

    return source_levels(open_image(path), request.source.axes, None if request.pyramid else 1)


def _middle_maximum(level: LazyArray) -> float:
    """Return the maximum of the middle plane, as contrast limit; 1 if it is 0."""
    middle = tuple(side // 2 for side in level.shape[:-2])
    plane = np.asarray(level[(*middle, slice(None), slice(None))])
    return float(np.nanmax(plane, initial=0.0)) or 1.0


def _to_gray(level: LazyArray) -> LazyArray:
    """Return the mean over red, green and blue, since napari shows RGB only from 0 to 255."""
    from dask import array as da

    pixels = da.from_array(level, name=False)  # type: ignore[no-untyped-call]
    gray: LazyArray = pixels[..., :3].mean(axis=-1)
    return gray


def _sink_array(sink: Any) -> Any:
    """Return the array of a sink in memory."""
    return sink.array
