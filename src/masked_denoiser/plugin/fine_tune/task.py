"""What the workers of the Fine-tune dock do. No Qt and no napari here."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from masked_denoiser.images.source import Source
from masked_denoiser.plugin.fine_tune.form import FineTuneRequest

if TYPE_CHECKING:
    from masked_denoiser.models.file import Model
    from masked_denoiser.training.events import Trained

#: Side of the patch that shows the noise, in pixels.
PREVIEW = 96


@dataclass(frozen=True)
class Began:
    """The training has been prepared.

    Attributes:
        step: it goes on after this one.
        notes: choices that were made for the user.
    """

    step: int
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Learned:
    """The training has ended, and this is what came of it."""

    model: Model
    trained: Trained


@dataclass(frozen=True)
class Begun:
    """A training of this name was begun earlier; nothing was done."""

    folder: Path


@dataclass(frozen=True, eq=False)
class NoiseShown:
    """A patch of the image, as it is and with the noise, side by side: [height, width, 3] uint8."""

    picture: np.ndarray[Any, Any]


def fine_tune(request: FineTuneRequest, cancel: threading.Event) -> Iterator[Any]:
    """Trains.

    Yields:
        `Begun` alone, or `Began`, the events of `training.events` but for `Trained`, and `Learned`.

    Raises:
        MaskedDenoiserError: before any work, if anything does not fit.
    """
    from masked_denoiser.models.catalogue import load_model
    from masked_denoiser.training.events import Trained
    from masked_denoiser.training.fine_tune import fine_tune_recipe
    from masked_denoiser.training.prepare import TrainingImages, prepare_training

    if not (request.resume or request.overwrite) and (request.folder / "checkpoint.pt").exists():
        yield Begun(request.folder)
        return
    base = load_model(request.model)
    prepared = prepare_training(
        TrainingImages(request.images, request.clean, axes=request.axes, regions=request.regions),
        fine_tune_recipe(base, dict(request.settings), resumed=request.folder if request.resume else None),
        base=base,
        folder=request.folder,
        device=request.device,
        resume=request.resume,
        overwrite=request.overwrite,
        cancel=cancel,
    )
    yield Began(prepared.trainer.state.step, prepared.messages)
    with closing(cast("Generator[Any]", prepared.run())) as events:
        for event in events:
            if isinstance(event, Trained):
                yield Learned(prepared.model(event, request.name), event)
            else:
                yield event


def show_noise(
    image: Source | Path, centre: tuple[int, int] | None, noise: str, cancel: threading.Event
) -> Iterator[Any]:
    """Shows what a noise recipe does to a patch of an image.

    Args:
        image: a layer's, or a file; of a folder its first image.
        centre: row and column that the patch is around; None for the middle.
        noise: a noise recipe.
        cancel: not looked at; a patch takes no time.

    Raises:
        RecipeError: if the recipe does not parse.
    """
    import torch

    from masked_denoiser.evaluation.pictures import side_by_side
    from masked_denoiser.noise.synthetic.parse import parse_noise
    from masked_denoiser.noise.synthetic.recipe import USUAL_VALUES, add_noise
    from masked_denoiser.training.data.dataset import first_of, open_images

    recipe = parse_noise(noise)
    with ExitStack() as files:
        source = image if isinstance(image, Source) else open_images(first_of([image]), files)[0]
        unit = _patch(source, centre)
    generator = torch.Generator().manual_seed(0)
    noisy = add_noise(torch.from_numpy(unit.copy())[None], recipe, generator, distinct=USUAL_VALUES)[0].numpy()
    yield NoiseShown(side_by_side([[unit, noisy]]))


def _patch(source: Source, centre: tuple[int, int] | None) -> np.ndarray[Any, np.dtype[np.float32]]:
    """[channels, height, width] in [0, 1]."""
    from masked_denoiser.denoising.intensity.ranges import measure_recipe_ranges
    from masked_denoiser.images.planes import list_planes

    planes = [plane for plane in list_planes(source.axes, source.sizes, source.rgb) if not plane.copied]
    plane = planes[len(planes) // 2]
    middle = centre or (source.size_yx[0] // 2, source.size_yx[1] // 2)
    ys, xs = (_around(at, side) for at, side in zip(middle, source.size_yx, strict=True))
    scale = measure_recipe_ranges(source, [plane])[plane.range_key]
    return np.clip(scale.to_unit(source.read(plane, ys, xs)), 0.0, 1.0)


def _around(at: int, side: int) -> slice:
    start = min(max(0, at - PREVIEW // 2), max(0, side - PREVIEW))
    return slice(start, min(side, start + PREVIEW))
