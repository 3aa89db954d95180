"""From what a user asked for to a pipeline that is ready to run: everything that can fail early fails here."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.denoising.denoiser import Denoiser
from masked_denoiser.denoising.device import choose_device
from masked_denoiser.denoising.events import Finished, Message
from masked_denoiser.denoising.fastest import settle_precision
from masked_denoiser.denoising.job import DEFAULT_HALO, Job, JobError, Options, make_job
from masked_denoiser.denoising.journal import Journal
from masked_denoiser.denoising.pipeline import Pipeline
from masked_denoiser.denoising.region import Region, RegionSink
from masked_denoiser.images.create import create_sink
from masked_denoiser.images.disk import check_output, check_replaceable, check_room, discard, estimate_bytes, has_begun
from masked_denoiser.images.memory_sink import MemorySink
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.sink import Sink
from masked_denoiser.images.source import Source
from masked_denoiser.models.catalogue import AUTO, load_model, suited
from masked_denoiser.models.file import Model
from masked_denoiser.tiling.plan import chunk_side

#: Planes as thin as this are a sign of wrong axes; integers with fewer levels than this lose by rounding.
_THIN, _LEVELS = 4, 24


@dataclass(frozen=True)
class Prepared:
    """A pipeline, and what the user should know before it runs."""

    pipeline: Pipeline
    messages: tuple[str, ...]

    @property
    def job(self) -> Job:
        """The settled job."""
        return self.pipeline.job


def prepare_file(
    source: Source,
    output: str | Path,
    *,
    model: Model | str | Path = AUTO,
    options: Options | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
) -> Prepared:
    """Settles a job that writes to disk, and creates or reopens its output.

    Args:
        source: the image; left open.
        output: `.ome.zarr` or `.ome.tif`.
        model: a model, its name or its path; "auto" takes general-rgb or general-gray, as suits the image.
        options: how to denoise.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        resume: go on with an interrupted job, or start if there is nothing to go on with.
        overwrite: replace an existing output.

    Raises:
        UserError: before anything is written, if anything does not fit.
    """
    path, options = Path(output), options or Options()
    continuing = _check_existing(path, source, resume, overwrite)
    if options.std and not (continuing or overwrite):
        _check_free(std_path(path), source)
    loaded, chosen, said = _settle(model, device, source, options)
    precision, measured = settle_precision(options.precision, loaded, chosen)
    job = make_job(source, loaded, options, chosen.type, str(path), precision)
    if continuing:
        job = Journal.as_begun(path, job, measured_precision=options.precision == "auto")
    denoiser = _denoiser(loaded, chosen, job)
    with ExitStack() as undo:
        # The journal comes before the output: what has no journal beside it is complete.
        journal = Journal.resume(path, job) if continuing else Journal.start(path, job)
        undo.callback(journal.close if continuing else journal.remove)
        sinks = _open_sinks(path, source, job, resume=bool(journal.done), overwrite=overwrite or continuing)
        undo.pop_all()
    messages = (
        *source.notes,
        *_about(source, loaded, job),
        *_axes_of_output(source, path),
        said,
        measured,
        *_resumed(journal, continuing),
    )
    return Prepared(Pipeline(job, source, denoiser, *sinks, journal=journal), tuple(filter(None, messages)))


def _open_sinks(path: Path, source: Source, job: Job, *, resume: bool, overwrite: bool) -> tuple[Sink, Sink | None]:
    """The outputs of a job: the result, and the standard deviation if it is asked for."""
    outputs = [(path, None), (std_path(path), np.dtype(np.float32))][: 1 + job.std]
    for p, _ in outputs:
        check_output(p, source)
        if not resume:
            check_replaceable(p)
        elif not has_begun(p):
            raise JobError(f"{p} has lost the work that its journal tells of; start again with --overwrite")
    if not resume:
        check_room(path, sum(estimate_bytes(source, p, dtype) for p, dtype in outputs))
    with ExitStack() as undo:
        sinks = []
        for p, dtype in outputs:
            sinks.append(
                create_sink(
                    p,
                    source,
                    chunk=chunk_side(job.tile),
                    resume=resume,
                    overwrite=overwrite and not resume,
                    attributes=provenance(job),
                    dtype=dtype,
                    ome_zarr=job.ome_zarr,
                )
            )
            undo.callback(sinks[-1].close if resume else partial(discard, p))
        undo.pop_all()
    return sinks[0], sinks[1] if job.std else None


def prepare_array(
    source: Source,
    *,
    model: Model | str | Path = AUTO,
    options: Options | None = None,
    device: str = "auto",
    sink: Any = None,
    region: Region | None = None,
) -> Prepared:
    """Settles a job whose result stays in memory, as `pipeline.sink.array`.

    Args:
        source: the image; left open.
        model: a model, its name or its path; "auto" takes general-rgb or general-gray, as suits the image.
        options: how to denoise.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        sink: where the result goes; in memory by default.
        region: only this part of the job; the result is then of its size, grown to whole tiles.

    Raises:
        UserError: before any work, if anything does not fit.
    """
    options = options or Options()
    loaded, chosen, said = _settle(model, device, source, options)
    precision, measured = settle_precision(options.precision, loaded, chosen)
    job = make_job(source, loaded, options, chosen.type, precision=precision)
    part = region.snapped(job.tile, source.size_yx) if region else None
    pipeline = Pipeline(
        job,
        source,
        _denoiser(loaded, chosen, job),
        sink or _memory(source, job, part),
        _memory(source, job, part, np.dtype(np.float32)) if options.std else None,
        region=part,
    )
    messages = (*source.notes, *_about(source, loaded, job), said, measured)
    return Prepared(pipeline, tuple(filter(None, messages)))


def denoise(
    array: Any,
    *,
    model: Model | str | Path = AUTO,
    axes: str | None = None,
    device: str = "auto",
    options: Options | None = None,
    **settings: Any,
) -> np.ndarray[Any, Any]:
    """Denoises an array in memory: `masked_denoiser.denoise`.

    Args:
        array: numpy, dask or zarr, of any real dtype.
        model: a model, its name or its path; "auto" takes general-rgb or general-gray, as suits the image.
        axes: one letter of TCZYXS for each dimension; guessed from the shape if left out.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        options: how to denoise.
        settings: fields of `Options`, such as `noise="none"`.

    Returns:
        An array of the same shape and dtype.

    Raises:
        UserError: if the array cannot be denoised as asked.

    Warns:
        UserWarning: of axes that were guessed, of noise so weak that it is left alone, and of NaN and infinite pixels,
            which stay.
    """
    source = open_image(array, axes=axes)
    prepared = prepare_array(source, model=model, options=replace(options or Options(), **settings), device=device)
    _warn([*_doubts(source), *_restraint(prepared.job)])
    for event in prepared.pipeline.run():
        _warn([event.text] if isinstance(event, Message) else [])
    sink = prepared.pipeline.sink
    assert isinstance(sink, MemorySink)
    return sink.array


def denoise_file(
    image: str | Path | Source,
    output: str | Path,
    *,
    model: Model | str | Path = AUTO,
    axes: str | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> Finished:
    """Denoises a file to a file, tile by tile: `masked_denoiser.denoise_file`.

    Args:
        image: anything that `open_image` opens.
        output: `.ome.zarr` or `.ome.tif`.
        model: a model, its name or its path; "auto" takes general-rgb or general-gray, as suits the image.
        axes: the image's axes, where its file does not name them.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        resume: go on with an interrupted job.
        overwrite: replace an existing output.
        settings: fields of `Options`, such as `passes=4`.

    Raises:
        UserError: if the job cannot be done as asked.

    Warns:
        UserWarning: of axes that were guessed, of noise so weak that it is left alone, and of NaN and infinite pixels,
            which stay.
    """
    with open_image(image, axes=axes) as source:
        prepared = prepare_file(
            source,
            output,
            model=model,
            options=Options(**settings),
            device=device,
            resume=resume,
            overwrite=overwrite,
        )
        _warn([*_doubts(source), *_restraint(prepared.job)])
        for event in prepared.pipeline.run():
            _warn([event.text] if isinstance(event, Message) else [])
            if isinstance(event, Finished):
                return event
    raise AssertionError("a job that is not cancelled either finishes or raises")


def std_path(output: Path) -> Path:
    """Where the standard deviation goes: `clean.ome.zarr` -> `clean_std.ome.zarr`."""
    stem, dot, suffixes = output.name.partition(".")
    return output.with_name(f"{stem}_std{dot}{suffixes}")


def provenance(job: Job) -> dict[str, Any]:
    """What an output says of its making. No times and no paths: equal jobs write equal bytes."""
    return {
        "model": job.model,
        "model_digest": job.model_digest,
        "version": job.version,
        "job": replace(job, input="", output="", stamp=(0, 0)).digest,
    }


def _doubts(source: Source) -> list[str]:
    """What was guessed or left out; a single plane leaves nothing to guess."""
    return [note.replace("--axes", "axes=") for note in source.notes] if set(source.axes) - set("YXS") else []


def _restraint(job: Job) -> list[str]:
    """Noise that is left alone, or nearly."""
    treatments = [job.treatment_of(plane) for plane in job.planes if not plane.copied]
    return _about_noise(job) if any(treatment.share < 1 for treatment in treatments) else []


def _warn(texts: Iterable[str]) -> None:
    """What a window or a console would show, for callers from Python."""
    for text in texts:
        warnings.warn(text, UserWarning, stacklevel=3)


def _memory(source: Source, job: Job, region: Region | None, dtype: Any = None) -> MemorySink | RegionSink:
    return RegionSink(source, region, job.planes, dtype) if region else MemorySink(source, dtype)


def _settle(model: Model | str | Path, device: str, source: Source, options: Options) -> tuple[Model, Any, str]:
    chosen, said = choose_device(device)
    if isinstance(model, Model):
        return model, chosen, said
    together = source.rgb if options.channels == "auto" else options.channels == "rgb"
    return load_model(suited(model, together)), chosen, said


def _denoiser(model: Model, device: Any, job: Job) -> Denoiser:
    """A denoiser as the job wants it."""
    return Denoiser(
        model,
        device,
        passes=job.passes,
        seed=job.seed,
        std=job.std,
        precision=job.precision,
        overlap=max(job.halo, DEFAULT_HALO),
    )


def _check_existing(path: Path, source: Source, resume: bool, overwrite: bool) -> bool:
    """Whether an interrupted job is to be continued.

    Raises:
        JobError: if resuming and overwriting are both asked for, or the output waits for one of them.
        ImageError: if the output cannot be written, or would touch the input.
    """
    if resume and overwrite:
        raise JobError("--resume goes on and --overwrite starts again; give only one of them")
    check_output(path, source)
    unfinished = Journal.beside(path).exists()
    if overwrite or (resume and unfinished):
        return resume
    if unfinished:
        raise JobError(f"{path} was begun and not finished; go on with --resume, or start again with --overwrite")
    if path.exists() and resume:
        raise JobError(f"{path} has no journal beside it: it is complete. Nothing to resume; --overwrite starts again")
    if path.exists():
        raise JobError(f"{path} exists; write elsewhere, or replace it with --overwrite")
    return False


def _check_free(path: Path, source: Source) -> None:
    """Refuses to touch a second output that is there already."""
    check_output(path, source)
    if path.exists():
        raise JobError(f"{path} exists; write elsewhere, or replace it with --overwrite")


def _about(source: Source, model: Model, job: Job) -> list[str]:
    """Choices that were made for the user."""
    channels = {plane.channels for plane in job.planes if not plane.copied}
    wants = model.card.architecture.channels
    said = []
    if wants == 3 and 1 in channels:
        said.append(f"{model.card.name} knows RGB: each gray plane is given to it three times and averaged")
    if wants == 1 and 3 in channels:
        said.append(f"{model.card.name} knows gray: red, green and blue are denoised one by one")
    said += _odd(source)
    if any(plane.copied for plane in job.planes):
        said.append("the alpha channel is copied as it is")
    if source.dtype != np.uint8:
        ranges = ", ".join(f"{low:g} to {high:g}" for _, low, high, _ in job.ranges[:4])
        said.append(f"intensity range, fixed for the whole job: {ranges}{' ...' if len(job.ranges) > 4 else ''}")
    return said + _about_noise(job)


def _axes_of_output(source: Source, path: Path) -> list[str]:
    """OME-Zarr prescribes the order of axes."""
    order = "".join(letter for letter in "TCZYX" if letter in source.axes)
    ours = source.axes.replace("S", "")
    if path.suffix != ".zarr" or ours == order:
        return []
    return [f"OME-Zarr keeps axes in the order {order}: those of this image, {ours}, are put into it"]


def _odd(source: Source) -> list[str]:
    """What looks like a mistake, or will look odd in the result."""
    said = []
    if min(source.size_yx) <= _THIN and max(source.shape) > 8 * _THIN:
        height, width = source.size_yx
        said.append(
            f"the planes are {height} x {width} pixels, with axes {source.axes}: are the axes right? RGB samples are "
            "'S', and --axes overrides what the file says"
        )
    if source.dtype.kind in "ui" and source.dtype.itemsize > 1:
        plane = next(list_planes(source.axes, source.sizes, source.rgb))
        few = int(np.ptp(source.read(plane, slice(0, 512), slice(0, 512))))
        if 0 < few < _LEVELS:
            said.append(
                f"the image has about {few + 1} grey levels, and its result is rounded to them; give it as float32, or "
                "multiplied, to keep what lies between"
            )
    return said


def _about_noise(job: Job) -> list[str]:
    """What was found, and what is done about it, for each channel that differs."""
    if not job.noise:
        return []
    done = what_is_done(job)
    return [f"noise: {job.noise}: {done[0]}"] if len(done) == 1 else [f"noise: {job.noise}", *done]


def what_is_done(job: Job) -> list[str]:
    """What is done to the planes because of their noise, a line for all channels that are treated alike."""
    done: dict[str, list[int]] = {}
    for plane in job.planes:
        if not plane.copied and plane.range_key not in done.setdefault(job.treatment_of(plane).says, []):
            done[job.treatment_of(plane).says].append(plane.range_key)
    return list(done) if len(done) == 1 else [f"{_channels_named(keys)}: {says}" for says, keys in done.items()]


def _channels_named(keys: list[int]) -> str:
    return f"channel{'s' if len(keys) > 1 else ''} {', '.join(str(key) for key in keys)}"


def _resumed(journal: Journal, continuing: bool) -> list[str]:
    return [f"resuming: {len(journal.done)} pieces of work are done already"] if continuing else []
