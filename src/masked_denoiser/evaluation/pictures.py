"""Small pictures that put images side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.errors import PictureError
from masked_denoiser.evaluation.metrics import to_8_bit

Image = np.ndarray[Any, Any]

#: White pixels between two images.
_GAP = 2


def side_by_side(rows: Sequence[Sequence[Image]]) -> Image:
    """One picture of several rows of images.

    Args:
        rows: images [C, H, W] float in [0, 1], C 1 or 3, all of one size.

    Returns:
        [height, width, 3] uint8.
    """
    lines = [_join([_as_rgb(image) for image in row], axis=1) for row in rows]
    return _join(lines, axis=0)


def save_png(path: Path, picture: Image) -> None:
    """Write [H, W, 3] uint8 as PNG, whole or not at all."""
    from PIL import Image as Pillow  # comes with scikit-image; training runs where there is no imagecodecs

    making = path.with_name(f".{path.name}.creating")
    Pillow.fromarray(picture).save(making, format="png")
    making.replace(path)


def _as_rgb(image: Image) -> Image:
    pixels = to_8_bit(image).transpose(1, 2, 0)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _join(images: list[Image], axis: int) -> Image:
    gap = list(images[0].shape)
    gap[axis] = _GAP
    white = np.full(gap, 255, np.uint8)
    parts = [part for image in images for part in (white, image)][1:]
    return np.concatenate(parts, axis=axis)


def picture_path(text: str) -> Path:
    """The path of a picture that is to be written.

    Raises:
        PictureError: if it does not end in .png, or something is there: an image, perhaps, of which there is no other.
    """
    path = Path(text)
    if path.suffix.lower() != ".png" or path.exists():
        raise PictureError(f"{path} {'exists' if path.exists() else 'does not end in .png'}; give another name")
    return path
