"""What the worker does: prepare, denoise, and say what the window should show. No Qt and no napari here."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from masked_denoiser.images.source import Lazy
from masked_denoiser.jobs.pipeline.events import Finished, Finishing, TileDone
from masked_denoiser.messages import Message
from masked_denoiser.plugin.denoise.form import Request
from masked_denoiser.plugin.layers.lazy_view import shown_levels
from masked_denoiser.plugin.layers.live_result import LiveRegion, LiveResult, live_in_memory, live_on_disk, pyramid_of

if TYPE_CHECKING:
    from masked_denoiser.jobs.executor import Executor
    from masked_denoiser.jobs.pipeline.pipeline import Pipeline
    from masked_denoiser.jobs.prepare import Prepared

Role = Literal["result", "std", "preview"]


@dataclass(frozen=True, eq=False)
class Shown:
    """Pixels to show, or to show instead of those that were shown in this role.

    Attributes:
        role: what they are.
        levels: full resolution first, with the axes of the layer they were made from.
        offset: where they start in that layer, in pixels.
        limits: contrast limits, where those of the layer do not fit.
    """

    role: Role
    levels: tuple[Lazy, ...]
    offset: tuple[float, ...] = ()
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Exists:
    """The output is there already; nothing was done.

    Attributes:
        path: the output.
        unfinished: whether a job was interrupted there, and can go on.
    """

    path: Path
    unfinished: bool


@dataclass(frozen=True)
class Models:
    """What the models are, by name, and which devices there are."""

    descriptions: dict[str, str]
    devices: tuple[str, ...]


def survey(cancel: threading.Event) -> Iterator[Models]:
    """Reads the models' cards and finds the devices. It loads torch, so that the first job need not."""
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
    yield Models(descriptions, available_devices())


def denoise(request: Request, cancel: threading.Event) -> Iterator[Any]:
    """Does a job or a preview.

    Yields:
        The events of `denoising.events` but for `TileDone`, and `Exists` and `Shown`.

    Raises:
        MaskedDenoiserError: before any work, if anything does not fit.
    """
    if request.output is not None:
        _check_apart(request)
        if not (request.resume or request.overwrite) and (exists := _exists(request.output)):
            yield exists
            return
    from masked_denoiser.jobs.executor import open_executor

    with open_executor(request.scheduler or None) as computing, _prepare(request, computing) as prepared:
        prepared.pipeline.cancel = cancel
        yield from (Message(text) for text in prepared.messages)
        # Workers write by themselves: what they do is seen when it is complete.
        live = None if request.scheduler else _live(request, prepared)
        if live is not None:
            yield Shown(_role(request), live.seen(request.source.axes), _offset(request, prepared))
        with closing(cast("Generator[Any]", prepared.pipeline.run())) as events:
            for event in events:
                yield from _translate(event, request, prepared, live)


def _translate(
    event: Any, request: Request, prepared: Prepared[Pipeline], live: LiveResult | LiveRegion | None
) -> Iterator[Any]:
    """A pipeline's event as events for the window."""
    if isinstance(event, TileDone):
        if live is not None:
            live.add(event)
        yield event.progress
        return
    if isinstance(event, Finishing) and request.output is None and live is not None:
        yield event
        live.settle()
        return
    if isinstance(event, Finished):
        yield from _final(request, prepared)
    yield event


def _check_apart(request: Request) -> None:
    """The file that the layer came from is not written to."""
    from masked_denoiser.images.writers.output_path import check_output

    assert request.output is not None
    check_output(request.output, replace(request.source, path=request.input))


def _exists(output: Path) -> Exists | None:
    from masked_denoiser.jobs.storage.journal import Journal

    unfinished = Journal.beside(output).exists()
    return Exists(output, unfinished) if unfinished or output.exists() else None


def _prepare(request: Request, computing: Executor[Any]) -> Prepared[Any]:
    from masked_denoiser.jobs.prepare import prepare_array, prepare_file_on
    from masked_denoiser.jobs.spec.options import Options

    options = Options(**request.settings)
    how: dict[str, Any] = {"model": request.model, "options": options, "device": request.device}
    if request.output is None:
        return prepare_array(request.source, region=request.region, **how)
    how |= {"resume": request.resume, "overwrite": request.overwrite}
    return prepare_file_on(computing, request.file or request.source, request.output, **how)


def _role(request: Request) -> Role:
    return "preview" if request.preview else "result"


def _live(request: Request, prepared: Prepared[Pipeline]) -> LiveResult | LiveRegion | None:
    if request.output is not None:
        return live_on_disk(request.output, request.source, request.pyramid)
    if request.region is not None:
        corner = (request.region.rows.start, request.region.columns.start)
        array = _asked(request, prepared, prepared.pipeline.sink)
        return LiveRegion(array, request.source.axes, corner, request.pyramid)
    return live_in_memory(_array(prepared.pipeline.sink), request.source, request.pyramid)


def _offset(request: Request, prepared: Prepared[Pipeline]) -> tuple[float, ...]:
    """Where the result starts in the layer, which has no dimension for RGB samples; empty at its beginning."""
    region, at = request.region, dict(request.start)
    if region is not None:
        made = dict(zip(request.source.axes, _array(prepared.pipeline.sink).shape, strict=True))
        # An axis that is denoised together, such as colour, is whole wherever the slider stands.
        position = [(letter, place) for letter, place in region.position if made[letter] == 1]
        for letter, place in (*position, ("Y", region.rows.start), ("X", region.columns.start)):
            at[letter] = at.get(letter, 0) + place
    if not any(at.values()) and not request.preview:
        return ()
    colour = request.source.axes[-1] if request.source.rgb else ""
    return tuple(float(at.get(letter, 0)) for letter in request.source.axes if letter != colour)


def _asked(request: Request, prepared: Prepared[Pipeline], sink: Any) -> Any:
    """What was asked for of the whole tiles that are done: a view, which grows with them."""
    asked, done = request.region, prepared.pipeline.region
    if asked is None or done is None:
        return _array(sink)
    inside = {"Y": asked.rows.inside(done.rows), "X": asked.columns.inside(done.columns)}
    return _array(sink)[tuple(inside.get(letter, slice(None)) for letter in request.source.axes)]


def _final(request: Request, prepared: Prepared[Pipeline]) -> Iterator[Shown]:
    """The finished outputs, opened as a reader opens them, and the standard deviation."""
    axes, offset = request.source.axes, _offset(request, prepared)
    if request.output is not None:
        yield Shown("result", _opened(request.output, request), offset)
    elif request.region is not None and request.pyramid:
        yield Shown("result", pyramid_of(_asked(request, prepared, prepared.pipeline.sink), axes), offset)
    if not prepared.job.std or request.preview:
        return
    if request.output is None:
        array = _asked(request, prepared, prepared.pipeline.std_sink)
        levels = pyramid_of(array, axes) if request.pyramid else (array,)
    else:
        from masked_denoiser.jobs.storage.output import std_path

        levels = _opened(std_path(request.output), request)
    levels = tuple(_gray(level) for level in levels) if request.source.rgb else levels
    yield Shown("std", levels, offset, limits=(0.0, _brightest(levels[-1])))


def _opened(path: Path, request: Request) -> tuple[Lazy, ...]:
    from masked_denoiser.images.open import open_image

    return shown_levels(open_image(path), request.source.axes, None if request.pyramid else 1)


def _brightest(level: Lazy) -> float:
    """The largest value of the middle plane, for its contrast."""
    middle = tuple(side // 2 for side in level.shape[:-2])
    plane = np.asarray(level[(*middle, slice(None), slice(None))])
    return float(np.nanmax(plane, initial=0.0)) or 1.0


def _gray(level: Lazy) -> Lazy:
    """The mean over red, green and blue: napari shows colours only as 0 to 255."""
    from dask import array as da

    pixels = da.from_array(level, name=False)  # type: ignore[no-untyped-call]
    gray: Lazy = pixels[..., :3].mean(axis=-1)
    return gray


def _array(sink: Any) -> Any:
    """The pixels of a sink in memory."""
    return sink.array
