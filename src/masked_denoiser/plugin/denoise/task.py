"""Background tasks of the Denoise dock; without Qt and napari."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from masked_denoiser.images.source import LazyArray
from masked_denoiser.jobs.pipeline.events import Finished, Finishing, TileDone
from masked_denoiser.messages import Message
from masked_denoiser.plugin.denoise.form import Request
from masked_denoiser.plugin.layers.lazy_view import source_levels
from masked_denoiser.plugin.layers.live_result import (
    LiveBackground,
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
    from masked_denoiser.jobs.spec.job import Job

#: Role of a result layer.
Role = Literal["result", "std", "preview", "second", "residual", "live", "split"]


@dataclass(frozen=True, eq=False)
class LayerUpdate:
    """Event: new pixels for the layer with this role.

    Attributes:
        role: role of the layer.
        levels: levels of the pyramid, full resolution first, with the axes of the input layer.
        offset: first pixel in the input layer; () for its origin.
        limits: contrast limits; None for those of the input layer.
        flipped: dimensions along which the pixels run backwards in the input layer.
        record: what was done, as plain JSON values; empty while the job runs.
    """

    role: Role
    levels: tuple[LazyArray, ...]
    offset: tuple[float, ...] = ()
    limits: tuple[float, float] | None = None
    flipped: tuple[int, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LeftUnchanged:
    """Event: no noise was found that the job would remove. A job in memory ends with it.

    Attributes:
        reason: the measured noise, and why the image is left unchanged.
    """

    reason: str


@dataclass(frozen=True)
class OutputExists:
    """Event: the output exists, and nothing was done.

    Attributes:
        path: path of the output.
        unfinished: whether it is of an interrupted job, which can be resumed.
    """

    path: Path
    unfinished: bool


def ask_about(existing: OutputExists, ask: Callable[..., str]) -> Literal["resume", "overwrite"] | None:
    """Ask what to do with an output that exists; return None if nothing is to be done."""
    if existing.unfinished:
        answer = ask(f"{existing.path} is the unfinished output of an earlier job.", "Resume", "Start again", "Stop")
    else:
        answer = ask(f"{existing.path} exists.", "Overwrite", "Stop")
    return "resume" if answer == "Resume" else "overwrite" if answer in ("Start again", "Overwrite") else None


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
    from masked_denoiser.jobs.messages import describe_unchanged

    with open_executor(request.scheduler or None) as executor, _prepare(request, executor) as prepared:
        yield from (Message(text) for text in prepared.messages)
        if _changes_nothing(prepared.job) and not cancel.is_set():
            yield LeftUnchanged(describe_unchanged(prepared.job, request.source))
            if request.output is None:
                return
        # The workers of a cluster write the output: it is shown when it is complete.
        live = None if request.scheduler else _live(request, prepared)
        if live is not None:
            yield _update(request, prepared, live.layer_levels(request.source.axes))
        with closing(cast("Generator[Any]", prepared.pipeline.run(cancel))) as events:
            for event in events:
                yield from _translate(event, request, prepared, live)


def _changes_nothing(job: Job) -> bool:
    """Return whether a job copies its input."""
    return all(plane.copied or job.treatment_of(plane).is_identity for plane in job.planes)


def _update(request: Request, prepared: Prepared[Pipeline], levels: tuple[LazyArray, ...], **more: Any) -> LayerUpdate:
    """Return an update of the result or the preview."""
    flipped = tuple(request.source.axes.index(letter) for letter in request.flipped)
    return LayerUpdate(_role(request), levels, _offset(request, prepared), flipped=flipped, **more)


def _record(request: Request, job: Job) -> dict[str, Any]:
    """Return what a result layer says about its job, as plain JSON values."""
    from masked_denoiser.jobs.spec.treatments import describe_treatments
    from masked_denoiser.jobs.storage.output import provenance

    return {
        "model": job.model,
        "model_digest": job.model_digest,
        "version": job.version,
        "noise": job.noise,
        "treatment": describe_treatments(job),
        "job": json.loads(job.to_json()),
        "provenance": json.loads(json.dumps(provenance(job))),
        "request": {"model": request.model, "device": request.device, "options": asdict(request.options)},
    }


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
        yield from _final_updates(request, prepared, live)
    yield event


def _check_output_differs(request: Request) -> None:
    """Raise ImageError if the output would overwrite the file of the layer, or cannot be written."""
    from masked_denoiser.images.writers.output_path import check_output

    assert request.output is not None
    check_output(request.output, replace(request.source, path=request.input))


def _find_existing(output: Path) -> OutputExists | None:
    from masked_denoiser.jobs.storage.own_output import find_own_output

    exists, unfinished = find_own_output(output)
    return OutputExists(output, unfinished) if exists else None


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
    """Return the growing result, with the input where nothing has been denoised yet."""
    job, sink = prepared.job, prepared.pipeline.sink
    if request.region is not None:
        array = _requested_array(request, prepared, sink)
        return LiveRegion(array, request.source, request.region, job.tile, request.pyramid)
    background = LiveBackground(request.source, request.levels, job.tile)
    if request.output is None:
        return live_in_memory(_sink_array(sink), request.source, request.pyramid, background)
    live = live_on_disk(request.output, request.source, request.pyramid, background)
    if live is None or prepared.pipeline.journal is None:
        return live
    for plane, group in prepared.pipeline.journal.done:
        rows, columns = job.groups[group].core
        live.mark_done(job.planes[plane], rows.start, columns.start, (len(rows), len(columns)))
    return live


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


def _final_updates(
    request: Request, prepared: Prepared[Pipeline], live: LiveResult | LiveRegion | None
) -> Iterator[LayerUpdate]:
    """Yield the finished outputs, opened as by the reader, and the standard deviation."""
    axes = request.source.axes
    levels = _final_levels(request, prepared, live)
    if levels:
        yield _update(request, prepared, levels, record=_record(request, prepared.job))
    if not prepared.job.std or request.preview:
        return
    if request.output is None:
        array = _requested_array(request, prepared, prepared.pipeline.std_sink)
        levels = build_memory_pyramid(array, axes) if request.pyramid else (array,)
    else:
        from masked_denoiser.jobs.storage.output import std_path

        levels = _open_levels(std_path(request.output), request)
    levels = tuple(_to_gray(level) for level in levels) if request.source.rgb else levels
    limits = (0.0, _middle_maximum(levels[-1]))
    yield replace(_update(request, prepared, levels), role="std", limits=limits)


def _final_levels(
    request: Request, prepared: Prepared[Pipeline], live: LiveResult | LiveRegion | None
) -> tuple[LazyArray, ...]:
    """Return the levels of a finished result."""
    if request.output is not None:
        return _open_levels(request.output, request)
    if request.region is not None and request.pyramid:
        array = _requested_array(request, prepared, prepared.pipeline.sink)
        return build_memory_pyramid(array, request.source.axes)
    return live.finished_levels(request.source.axes) if live is not None else ()


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
