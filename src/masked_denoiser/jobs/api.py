"""Python interface: `masked_denoiser.denoise`, `denoise_file` and `estimate_noise`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from masked_denoiser.denoising.noise_measurement import measure_noise
from masked_denoiser.errors import JobError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.readers.arrays.results import like_input
from masked_denoiser.images.source import Source, axes_notes, closed_unless_given
from masked_denoiser.images.writers.memory import MemorySink
from masked_denoiser.jobs.executor import LocalExecutor, open_executor
from masked_denoiser.jobs.messages import unremoved_noise_messages
from masked_denoiser.jobs.pipeline.events import Event, Finished
from masked_denoiser.jobs.prepare import prepare_array, prepare_file
from masked_denoiser.jobs.spec.check_options import make_options
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.parameter_names import parameters_in_errors, with_parameters
from masked_denoiser.messages import Message
from masked_denoiser.models.catalogue import AUTO
from masked_denoiser.models.file import Model
from masked_denoiser.noise.estimation import NoiseEstimate
from masked_denoiser.noise.modalities.prior import RequestedModality

_LOG = logging.getLogger(__name__)


@parameters_in_errors()
def denoise(
    array: Any,
    *,
    model: Model | str | Path = AUTO,
    axes: str | None = None,
    device: str = "auto",
    options: Options | None = None,
    **settings: Any,
) -> Any:
    """Denoise an array in memory: `masked_denoiser.denoise`.

    Args:
        array: array of any real dtype: NumPy, dask, zarr, torch, xarray, lists of numbers, or anything that converts
            itself to NumPy. Masked pixels are missing.
        model: a model, its name or its path; "auto" takes general-rgb or general-gray, depending on the image.
        axes: one letter of TCZYXS for each dimension; guessed from the shape by default.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        options: how to denoise; a standard deviation is not available.
        settings: fields of `Options`, such as `noise="none"`.

    Returns:
        A NumPy array of the same shape and dtype. For a tensor of torch, a tensor on the CPU; for a masked array, one
        with the same mask and numbers under it; for a DataArray, one with the same coordinates, attributes and name.

    Raises:
        MaskedDenoiserError: if the array cannot be denoised with these settings.

    Warns:
        UserWarning: about guessed axes, about noise that is too weak to be removed, and about NaN and infinite pixels,
            which are kept.
    """
    options = make_options(options, settings)
    if options.std:
        raise JobError("denoise returns no standard deviation; set std to False, or use denoise_file")
    source = open_image(array, axes=axes)
    prepared = prepare_array(source, model=model, options=options, device=device)
    _warn([*axes_notes(source), *unremoved_noise_messages(prepared.job)])
    for event in prepared.pipeline.run():
        _warn([event.text] if isinstance(event, Message) else [])
    sink = prepared.pipeline.sink
    assert isinstance(sink, MemorySink)
    return like_input(array, sink.array, same_dtype=prepared.job.output_dtype == "same")


@parameters_in_errors()
def denoise_file(
    image: str | Path | Source,
    output: str | Path,
    *,
    model: Model | str | Path = AUTO,
    axes: str | None = None,
    reader: str = "",
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    scheduler: str | None = None,
    workers: int | None = None,
    options: Options | None = None,
    **settings: Any,
) -> Finished:
    """Denoise a file to a file, tile by tile, and return its last event: `masked_denoiser.denoise_file`.

    Args:
        image: anything that `open_image` accepts; a source stays open.
        output: path that ends in `.ome.zarr`, `.ome.tif`, `.nii.gz`, `.mrc` or `.dicom`.
        model: a model, its name or its path; "auto" takes general-rgb or general-gray, depending on the image.
        axes: axes of the image, if its file does not name them.
        reader: napari plugin or reader of bioio that opens the file; see `open_image`.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        resume: continue an interrupted job.
        overwrite: replace an existing output.
        scheduler: address of the dask scheduler whose workers run the job.
        workers: number of processes of this machine that run the job.
        options: how to denoise.
        settings: fields of `Options` that replace those of `options`, such as `passes=4`.

    Raises:
        MaskedDenoiserError: if the job cannot be run with these settings.

    Warns:
        UserWarning: about guessed axes, about noise that is too weak to be removed, and about NaN and infinite pixels,
            which are kept.
    """
    options = make_options(options, settings)
    local = LocalExecutor(cpu_fallback=options.cpu_as_last_resort)
    with (
        closed_unless_given(open_image(image, axes=axes, reader=reader), image) as source,
        open_executor(scheduler, workers, local=local) as executor,
    ):
        prepared = prepare_file(
            source,
            output,
            model=model,
            options=options,
            device=device,
            executor=executor,
            resume=resume,
            overwrite=overwrite,
        )
        with prepared, closing(cast("Generator[Event]", prepared.pipeline.run())) as events:
            _warn([*axes_notes(source), *unremoved_noise_messages(prepared.job)])
            for event in events:
                _warn([event.text] if isinstance(event, Message) else [])
                if isinstance(event, Finished):
                    return event
    raise AssertionError("a job that is not cancelled finishes or raises")


@parameters_in_errors()
def estimate_noise(
    image: Any,
    *,
    axes: str | None = None,
    reader: str = "",
    seed: int = 0,
    modality: RequestedModality = "auto",
) -> NoiseEstimate:
    """Measure the noise of an image: `masked_denoiser.estimate_noise`.

    Args:
        image: anything that `open_image` accepts; a source stays open.
        axes: axes of the image, as for `open_image`.
        reader: what opens a file, as for `open_image`.
        seed: of the sample; not negative.
        modality: kind of the image, such as "mri"; by default that of the file, or else what the noise shows.

    Raises:
        ImageError: if the axes are unknown, or the file cannot be read.
        NoiseError: if the modality is unknown or not that of the image, or the seed is negative.

    Warns:
        UserWarning: about guessed axes.
    """
    with closed_unless_given(open_image(image, axes=axes, reader=reader), image) as source:
        _warn(axes_notes(source))
        return measure_noise(source, seed=seed, modality=modality).estimate


def _warn(texts: Iterable[str]) -> None:
    """Issue warnings that name parameters, and point to the caller of the public function."""
    for text in texts:
        warnings.warn(with_parameters(text), UserWarning, stacklevel=4)  # between them is `parameters_in_errors`
