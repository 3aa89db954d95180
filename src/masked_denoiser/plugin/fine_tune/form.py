"""What the user chose in the Fine-tune dock, and what follows from it. Pure: no Qt, no napari, no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from masked_denoiser.errors import FormError
from masked_denoiser.images.source import Source
from masked_denoiser.models import catalogue
from masked_denoiser.tiling.plan import Span

Way = Literal["clean", "noisy", "pairs"]
Rectangle = tuple[Span, Span]


@dataclass(frozen=True)
class FineTuneForm:
    """The fields of the dock.

    Attributes:
        way: what the images are.
        model: name of the model to begin with.
        noise: a noise recipe.
        name: of the model to make.
        input_mask, attention_mask: whether they are on, where the model was trained so.
        axes: as typed; empty takes those of the layers.
    """

    way: Way = "clean"
    model: str = ""
    noise: str = "gaussian(sigma=15)"
    name: str = ""
    input_mask: bool = True
    attention_mask: bool = True
    steps: int = 500
    batch: int = 8
    rate: float = 2e-4
    patch: int = 64
    device: str = "auto"
    axes: str = ""

    def settings(self) -> dict[str, Any]:
        """What is set of the recipe for fine-tuning."""
        values: dict[str, Any] = {"way": self.way, "noise": self.noise, "patch": self.patch}
        values |= {"steps": self.steps, "batch": self.batch, "rate": self.rate}
        if not self.input_mask:
            values["masked_patches"] = 0.0
        if not self.attention_mask:
            values["attention_mask"] = [0.0, 0.0]
        return values


@dataclass(frozen=True, eq=False)
class FineTuneRequest:
    """A task for the worker: all it needs, and nothing of the window.

    Attributes:
        images: sources of layers, and files.
        clean: the truths of pairs.
        regions: for each image the rectangles that learning is confined to; empty for no region at all.
        model: name of the model to begin with.
        name: of the model to make.
        settings: of the recipe.
        device: "auto" or one by name.
        axes: of the files, where they do not name them.
        resume, overwrite: what to do with a training of this name that was begun.
    """

    images: tuple[Source | Path, ...]
    clean: tuple[Source | Path, ...]
    regions: tuple[tuple[Rectangle, ...], ...]
    model: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    device: str = "auto"
    axes: str | None = None
    resume: bool = False
    overwrite: bool = False

    @property
    def folder(self) -> Path:
        """Where checkpoint and log lie until the model is saved, and after."""
        return training_folder(self.name)


def make_fine_tune_request(
    form: FineTuneForm,
    images: Sequence[Source | Path],
    clean: Sequence[Source | Path],
    regions: Sequence[Sequence[Rectangle]],
) -> FineTuneRequest:
    """What the worker is asked to do.

    Raises:
        FormError: if a field must be filled in first.
    """
    if not images:
        raise FormError("choose at least one image to learn from: tick a layer, or add files")
    if not form.model:
        raise FormError("choose a model to begin with")
    if form.way == "pairs" and not clean:
        raise FormError("pairs need a clean image for each noisy one: choose a layer, files or a folder")
    if regions and len(regions) != len(images):
        raise FormError("shapes are drawn on layers: take the files out of the list, or learn from the whole image")
    return FineTuneRequest(
        tuple(images),
        tuple(clean) if form.way == "pairs" else (),
        tuple(tuple(of_image) for of_image in regions),
        form.model,
        clean_name(form.name, form.model),
        form.settings(),
        form.device,
        form.axes.strip().upper() or None,
    )


def clean_name(name: str, model: str) -> str:
    """A name that any file system takes.

    Raises:
        FormError: if it has characters that a file name should not have.
    """
    chosen = name.strip() or f"{model}-tuned"
    if not all(letter.isalnum() or letter in "-_." for letter in chosen) or chosen.startswith("."):
        raise FormError(f"the name {chosen!r} should have only letters, digits, '-', '_' and '.'")
    return chosen


def training_folder(name: str) -> Path:
    """Where a training of the dock keeps its checkpoint and log."""
    return catalogue.user_folder().parent / "training" / name


def model_path(name: str) -> Path:
    """Where a model of this name is saved, so that the Denoise dock finds it."""
    return catalogue.user_folder() / f"{name}.safetensors"


def rectangles(shapes: Sequence[Any], size: tuple[int, int]) -> list[Rectangle]:
    """The bounding rectangles of shapes, within an image.

    Args:
        shapes: vertices [N, 2 or more] in the image's full-resolution pixels, rows and columns last.
        size: height and width of the image.

    Raises:
        FormError: if a shape lies outside of the image.
    """
    found = []
    for vertices in shapes:
        spans = []
        for axis, side in ((-2, size[0]), (-1, size[1])):
            low, high = (float(f(vertices[:, axis])) for f in (min, max))
            spans.append(Span(max(0, math.floor(low)), min(side, math.ceil(high) + 1)))
        if any(span.stop <= span.start for span in spans):
            raise FormError("a shape lies outside of the image; draw it on the image, or remove it")
        found.append((spans[0], spans[1]))
    return found
