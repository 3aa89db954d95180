"""Background tasks of the Fine-tune dock; without Qt and napari."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.images.source import Source
from masked_denoiser.messages import Message
from masked_denoiser.plugin.fine_tune.form import FineTuneRequest

if TYPE_CHECKING:
    from masked_denoiser.models.file import Model
    from masked_denoiser.training.events import Trained

#: Side in pixels of the part of the user's view that is shown while a model learns.
_VIEW_SIDE = 160

#: Side of the noise preview in pixels.
_PREVIEW_SIDE = 96


@dataclass(frozen=True)
class TrainingPrepared:
    """Event: the training is prepared.

    Attributes:
        step: completed steps; 0 for a new training.
        messages: automatic choices.
    """

    step: int
    messages: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """Event: the training has ended with this model."""

    model: Model
    trained: Trained


@dataclass(frozen=True, eq=False)
class ViewPicture:
    """Event: the user's view before and after the model as trained so far, [height, width, 3] uint8."""

    picture: np.ndarray[Any, Any]


@dataclass(frozen=True)
class TrainingExists:
    """Event: a training of this name exists, and nothing was done."""

    folder: Path


@dataclass(frozen=True)
class NoisyImages:
    """Event: an image that is given as clean is noisy, and nothing was done.

    Attributes:
        description: the image and its noise.
    """

    description: str


@dataclass(frozen=True, eq=False)
class NoisePreview:
    """Event: a patch without and with noise side by side, [height, width, 3] uint8."""

    picture: np.ndarray[Any, Any]


def fine_tune(request: FineTuneRequest, cancel: threading.Event) -> Iterator[Any]:
    """Fine-tune a model.

    Yields:
        Only `TrainingExists` or `NoisyImages`; or `TrainingPrepared`, the events of `training.events` except `Trained`,
        a `ViewPicture` after each validation, and `TrainingResult`.

    Raises:
        MaskedDenoiserError: before the first step, if the request is invalid.
    """
    from masked_denoiser.inference.device import choose_device
    from masked_denoiser.models.catalogue import load_model
    from masked_denoiser.training.data.dataset import TrainingImages
    from masked_denoiser.training.events import Trained, Validated
    from masked_denoiser.training.fine_tune import fine_tune_recipe
    from masked_denoiser.training.prepare import prepare_training

    if not (request.resume or request.overwrite) and (request.folder / "checkpoint.pt").exists():
        yield TrainingExists(request.folder)
        return
    if noisy := _noisy_image(request, cancel):
        yield NoisyImages(noisy)
        return
    base = load_model(_resolve_model(request))
    device, _ = choose_device(request.device)
    resumed = request.folder if request.resume else None
    recipe = fine_tune_recipe(base, _extended_settings(request), device, resumed)
    prepared = prepare_training(
        TrainingImages(request.images, request.clean, axes=request.axes, regions=request.regions),
        recipe,
        base=base,
        folder=request.folder,
        device=device,
        resume=request.resume,
        overwrite=request.overwrite,
        cancel=cancel,
    )
    with ExitStack() as files:
        view = _read_patch(_first_image(request, files), request.view, _VIEW_SIDE)
    yield TrainingPrepared(prepared.trainer.state.step, prepared.messages)
    with closing(cast("Generator[Any]", prepared.run())) as events:
        for event in events:
            if isinstance(event, Trained):
                yield TrainingResult(prepared.model(event, request.name), event)
            else:
                yield event
            if isinstance(event, Validated):
                yield _view_picture(view, prepared, request)


def _extended_settings(request: FineTuneRequest) -> dict[str, Any]:
    """Return the settings of a request, with more steps if it resumes a training that has finished them.

    Raises:
        TrainingError: if the checkpoint is damaged.
    """
    from masked_denoiser.training.checkpoint import read_step

    settings = dict(request.settings)
    done = read_step(request.folder / "checkpoint.pt") if request.resume else 0
    return settings | {"steps": settings["steps"] + (done if done >= settings["steps"] else 0)}


def _resolve_model(request: FineTuneRequest) -> str | Path:
    """Return the model to begin with, which "auto" chooses by the first image."""
    from masked_denoiser.models.catalogue import AUTO, resolve_auto

    if request.model != AUTO:
        return request.model
    with ExitStack() as files:
        return resolve_auto(AUTO, _first_image(request, files).rgb)


def _first_image(request: FineTuneRequest, files: ExitStack) -> Source:
    from masked_denoiser.training.data.dataset import first_input, open_images

    image = request.images[0]
    return image if isinstance(image, Source) else open_images(first_input([image]), files, request.axes)[0]


def _view_picture(view: np.ndarray[Any, Any], prepared: Any, request: FineTuneRequest) -> ViewPicture | Message:
    """Return a patch before and after the model as trained so far, or why there is none: the training continues."""
    try:
        return ViewPicture(_denoise_view(view, prepared, request))
    except (MaskedDenoiserError, MemoryError, RuntimeError) as error:  # of torch, if memory runs out
        return Message(f"your view could not be denoised ({error}); the training continues")


def _denoise_view(view: np.ndarray[Any, Any], prepared: Any, request: FineTuneRequest) -> np.ndarray[Any, Any]:
    """Return a patch before and after the model as trained so far, side by side."""
    from masked_denoiser.evaluation.pictures import side_by_side
    from masked_denoiser.inference.runner import ModelRunner
    from masked_denoiser.training.events import Trained

    step = prepared.trainer.state.step
    model = prepared.model(Trained(step, step, None, "stopped"), request.name)
    runner = ModelRunner(model, prepared.trainer.device)
    return side_by_side([[view, np.clip(runner(view[None], ((0, 0),)).mean[0], 0.0, 1.0)]])


def _noisy_image(request: FineTuneRequest, cancel: threading.Event) -> str:
    """Return a noisy image among clean ones, with its noise; "" if there is none or the user has accepted it."""
    from masked_denoiser.training.data.dataset import open_images
    from masked_denoiser.training.data.noisy_images import noisy_image

    if request.accepts_noise or request.settings.get("way") != "clean":
        return ""
    with ExitStack() as files:
        return noisy_image(open_images(request.images, files, request.axes, cancel), cancel)


def preview_noise(
    image: Source | Path, centre: tuple[int, int] | None, noise: str, model: str, cancel: threading.Event
) -> Iterator[Any]:
    """Yield a `NoisePreview` of a noise recipe on a patch of an image.

    Args:
        image: a layer as a source, a file, or a folder, of which the first image is used.
        centre: row and column of the centre of the patch; None for the centre of the image.
        noise: a noise recipe; "" for that with which the model was trained.
        model: name of the model to fine-tune, or "auto".
        cancel: ignored, since a patch takes little time.

    Raises:
        RecipeError: if the recipe does not parse.
        ModelError: if there is no such model.
    """
    import torch

    from masked_denoiser.evaluation.pictures import side_by_side
    from masked_denoiser.noise.synthetic.parse import parse_noise
    from masked_denoiser.noise.synthetic.recipe import TYPICAL_DISTINCT_VALUES, add_noise
    from masked_denoiser.training.data.dataset import first_input, open_images

    with ExitStack() as files:
        source = image if isinstance(image, Source) else open_images(first_input([image]), files)[0]
        recipe = parse_noise(noise.strip() or _inherited_noise(model, source.rgb))
        patch = _read_patch(source, centre)
    generator = torch.Generator().manual_seed(0)
    clean = torch.from_numpy(patch.copy())[None]
    noisy = add_noise(clean, recipe, generator, distinct=TYPICAL_DISTINCT_VALUES)[0].numpy()
    yield NoisePreview(side_by_side([[patch, noisy]]))


def _inherited_noise(model: str, rgb: bool) -> str:
    from masked_denoiser.models.catalogue import find_model, resolve_auto
    from masked_denoiser.models.file import read_card
    from masked_denoiser.training.fine_tune import inherited_noise

    return inherited_noise(read_card(find_model(resolve_auto(model, rgb))))


def _read_patch(
    source: Source, centre: tuple[int, int] | None, side: int = _PREVIEW_SIDE
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a patch of the middle plane, [channels, height, width] float32 in [0, 1]."""
    from masked_denoiser.denoising.intensity.recipe_ranges import measure_recipe_ranges
    from masked_denoiser.images.planes import list_planes

    planes = [plane for plane in list_planes(source.axes, source.sizes, source.rgb) if not plane.copied]
    plane = planes[len(planes) // 2]
    middle = centre or (source.size_yx[0] // 2, source.size_yx[1] // 2)
    ys, xs = (_centred_slice(centre, whole, side) for centre, whole in zip(middle, source.size_yx, strict=True))
    intensity_range = measure_recipe_ranges(source, [plane])[plane.range_key]
    return np.clip(intensity_range.to_unit(source.read(plane, ys, xs)), 0.0, 1.0)


def _centred_slice(middle: int, whole: int, side: int) -> slice:
    start = min(max(0, middle - side // 2), max(0, whole - side))
    return slice(start, min(whole, start + side))
