"""Denoising from Python: `masked_denoiser.denoise` and `masked_denoiser.denoise_file`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.memory import MemorySink
from masked_denoiser.jobs.executor import LocalExecutor, open_executor
from masked_denoiser.jobs.messages import restraint
from masked_denoiser.jobs.pipeline.events import Event, Finished
from masked_denoiser.jobs.prepare import prepare_array, prepare_file_on
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.messages import Message
from masked_denoiser.models.catalogue import AUTO
from masked_denoiser.models.file import Model

_LOG = logging.getLogger(__name__)


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
        MaskedDenoiserError: if the array cannot be denoised as asked.

    Warns:
        UserWarning: of axes that were guessed, of noise so weak that it is left alone, and of NaN and infinite pixels,
            which stay.
    """
    source = open_image(array, axes=axes)
    prepared = prepare_array(source, model=model, options=replace(options or Options(), **settings), device=device)
    _warn([*_doubts(source), *restraint(prepared.job)])
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
    scheduler: str | None = None,
    workers: int | None = None,
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
        scheduler, workers: a cluster to do it; see `jobs.executor.open_executor`.
        settings: fields of `Options`, such as `passes=4`.

    Raises:
        MaskedDenoiserError: if the job cannot be done as asked.

    Warns:
        UserWarning: of axes that were guessed, of noise so weak that it is left alone, and of NaN and infinite pixels,
            which stay.
    """
    options = Options(**settings)
    here = LocalExecutor(or_cpu=options.cpu_as_last_resort)
    with open_image(image, axes=axes) as source, open_executor(scheduler, workers, here=here) as computing:
        prepared = prepare_file_on(
            computing,
            source,
            output,
            model=model,
            options=options,
            device=device,
            resume=resume,
            overwrite=overwrite,
        )
        with prepared, closing(cast("Generator[Event]", prepared.pipeline.run())) as events:
            _warn([*_doubts(source), *restraint(prepared.job)])
            for event in events:
                _warn([event.text] if isinstance(event, Message) else [])
                if isinstance(event, Finished):
                    return event
    raise AssertionError("a job that is not cancelled either finishes or raises")


def _doubts(source: Source) -> list[str]:
    """What was guessed or left out; a single plane leaves nothing to guess."""
    return [note.replace("--axes", "axes=") for note in source.notes] if set(source.axes) - set("YXS") else []


def _warn(texts: Iterable[str]) -> None:
    """What a window or a console would show, for callers from Python."""
    for text in texts:
        warnings.warn(text, UserWarning, stacklevel=3)
