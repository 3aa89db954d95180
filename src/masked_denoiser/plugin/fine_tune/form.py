"""Form and request of the Fine-tune dock; without Qt, napari and torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from masked_denoiser.errors import FormError
from masked_denoiser.images.source import Source
from masked_denoiser.images.suffixes import suffix_of
from masked_denoiser.models import catalogue
from masked_denoiser.plugin.layers.world import world_to_data
from masked_denoiser.tiling.plan import Span

#: Training images: clean ones to which noise is added, noisy ones alone, or pairs of both; a recipe calls it "way".
Supervision = Literal["clean", "noisy", "pairs"]

#: Rows and columns of a plane.
Rectangle = tuple[Span, Span]


#: Longest name of a model.
_MAX_NAME = 100


@dataclass(frozen=True)
class FineTuneForm:
    """Values of the dock's fields.

    Attributes:
        supervision: kind of the training images.
        model: name of the model to fine-tune; "auto" for the default for the first image.
        noise: a noise recipe; "" for that with which the model was trained.
        name: name of the new model.
        input_mask, attention_mask: whether these masks are used, if the model was trained with them.
        steps, batch, rate, patch: steps, patches per step (0 chooses by the device), learning rate, and side of the
            patches in pixels.
        device: "auto" or the name of a device.
        axes: axes of the images, as typed; "" for those of the layers and files.
    """

    supervision: Supervision = "clean"
    model: str = ""
    noise: str = ""
    name: str = ""
    input_mask: bool = True
    attention_mask: bool = True
    steps: int = 500
    batch: int = 0
    rate: float = 2e-4
    patch: int = 64
    device: str = "auto"
    axes: str = ""

    def settings(self) -> dict[str, Any]:
        """Return the fields of the training recipe that the form sets."""
        values: dict[str, Any] = {"way": self.supervision, "patch": self.patch}
        values |= {"steps": self.steps, "rate": self.rate}
        if self.noise.strip():
            values["noise"] = self.noise
        if self.batch:
            values["batch"] = self.batch
        if not self.input_mask:
            values["masked_patches"] = 0.0
        if not self.attention_mask:
            values["attention_mask"] = [0.0, 0.0]
        return values


@dataclass(frozen=True, eq=False)
class FineTuneRequest:
    """Arguments of the background task, independent of the GUI.

    Attributes:
        images: sources of layers, and files.
        clean: clean images of pairs.
        regions: for each image the rectangles to train on; () for whole images.
        model: name of the model to fine-tune; "auto" for the default for the first image.
        name: name of the new model.
        settings: fields of the training recipe.
        device: "auto" or the name of a device.
        axes: axes of files that do not name them; None for none.
        resume, overwrite: what to do with an earlier training of this name.
        view: row and column of the first image around which progress is shown; None for its middle.
        accepts_noise: whether to train with clean images that are noisy.
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
    view: tuple[int, int] | None = None
    accepts_noise: bool = False

    @property
    def supervision(self) -> Supervision:
        """Kind of the training images."""
        kind: Supervision = self.settings.get("way", "clean")
        return kind

    @property
    def folder(self) -> Path:
        """Folder of the checkpoint and the log."""
        return training_folder(self.name)


def make_fine_tune_request(
    form: FineTuneForm,
    images: Sequence[Source | Path],
    clean: Sequence[Source | Path],
    regions: Sequence[Sequence[Rectangle]],
) -> FineTuneRequest:
    """Return the arguments of the background task.

    Args:
        form: fields of the dock.
        images: training images.
        clean: clean images of pairs.
        regions: for each image the rectangles to train on; empty for whole images.

    Raises:
        FormError: if a field is missing or does not fit the others.
    """
    if not images:
        raise FormError("choose at least one training image: tick a layer, or add files")
    if not form.model:
        raise FormError("choose a model to fine-tune")
    if form.supervision == "pairs" and not clean:
        raise FormError("pairs need a clean image for each noisy one: choose a layer, files or a folder")
    if regions and len(regions) != len(images):
        raise FormError("shapes apply to layers only: untick the files, or train on the whole image")
    return FineTuneRequest(
        tuple(images),
        tuple(clean) if form.supervision == "pairs" else (),
        tuple(tuple(of_image) for of_image in regions),
        form.model,
        model_name(form.name, images[0]),
        form.settings(),
        form.device,
        form.axes.strip().upper() or None,
    )


def noisy_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training with noisy images instead of clean ones, which needs masked pixels."""
    return {name: value for name, value in settings.items() if name != "masked_patches"} | {"way": "noisy"}


def model_name(name: str, image: Source | Path) -> str:
    """Return a name for the new model that is a valid file name: `name`, or that of the image and "-tuned".

    So trainings on different images have different checkpoints. Characters that file names may not have become "-".

    Raises:
        FormError: if nothing remains of the name.
    """
    typed = name.strip()
    raw = typed or image.name[: len(image.name) - len(suffix_of(image.name))]
    letters = (letter if letter.isalnum() or letter in "-_." else "-" for letter in raw)
    valid = "".join(letters).strip("-.")[:_MAX_NAME]
    if not valid:
        raise FormError(f"the name {raw!r} has no letters or digits; choose another one")
    return valid if typed else f"{valid}-tuned"


def training_folder(name: str) -> Path:
    """Return the folder of the checkpoint and the log of a training."""
    return catalogue.user_folder().parent / "training" / name


def model_path(name: str) -> Path:
    """Return the file of a model in the user's folder, where the Denoise dock finds it."""
    return catalogue.user_folder() / f"{name}.safetensors"


def bounding_boxes(shapes: Sequence[Any], size: tuple[int, int]) -> list[Rectangle]:
    """Return the bounding boxes of shapes, clipped to an image.

    Args:
        shapes: for each shape its vertices [N, 2 or more] in full-resolution pixels, rows and columns last.
        size: height and width of the image.

    Raises:
        FormError: if a shape is outside of the image.
    """
    boxes = []
    for vertices in shapes:
        spans = []
        for axis, side in ((-2, size[0]), (-1, size[1])):
            low, high = (float(f(vertices[:, axis])) for f in (min, max))
            spans.append(Span(max(0, math.floor(low)), min(side, math.ceil(high) + 1)))
        if any(span.stop <= span.start for span in spans):
            raise FormError("a shape is outside of the image; move it onto the image, or remove it")
        boxes.append((spans[0], spans[1]))
    return boxes


def shape_boxes(shapes: Any, layer: Any, axes: str, size: tuple[int, int]) -> list[Rectangle]:
    """Return the bounding boxes of a Shapes layer in the pixels of an image layer.

    Args:
        shapes: the Shapes layer.
        layer: the image layer.
        axes: axes of the image layer.
        size: height and width of the image layer.

    Raises:
        FormError: if a shape is outside of the image.
    """
    world = [[shapes.data_to_world(vertex) for vertex in vertices] for vertices in shapes.data]
    yx = [axes.index("Y"), axes.index("X")]
    return bounding_boxes(
        [np.array([world_to_data(layer, point, shapes.units)[yx] for point in vertices]) for vertices in world], size
    )


def middle(rectangle: Rectangle) -> tuple[int, int]:
    """Return the row and column in the middle of a rectangle."""
    rows, columns = rectangle
    return (rows.start + rows.stop) // 2, (columns.start + columns.stop) // 2
