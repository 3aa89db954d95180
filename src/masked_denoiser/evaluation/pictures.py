"""Pictures that show images side by side, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.atomic_file import replaced_atomically
from masked_denoiser.errors import PictureError
from masked_denoiser.evaluation.metrics import to_8_bit

Image = np.ndarray[Any, Any]

#: Width in pixels of the white gap between images.
_GAP = 2


def side_by_side(rows: Sequence[Sequence[Image]]) -> Image:
    """Return one picture of several rows of images.

    Args:
        rows: images [C, H, W] float in [0, 1] of equal size, with 1 or 3 channels.

    Returns:
        [height, width, 3] uint8.
    """
    lines = [_join([_as_rgb(image) for image in row], axis=1) for row in rows]
    return _join(lines, axis=0)


def save_png(path: Path, picture: Image) -> None:
    """Write [H, W, 3] uint8 as PNG atomically."""
    from PIL import Image as Pillow  # a dependency of scikit-image; training must not need imagecodecs

    with replaced_atomically(path) as temporary:
        Pillow.fromarray(picture).save(temporary, format="png")


def _as_rgb(image: Image) -> Image:
    pixels = to_8_bit(image).transpose(1, 2, 0)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _join(images: list[Image], axis: int) -> Image:
    gap = list(images[0].shape)
    gap[axis] = _GAP
    white = np.full(gap, 255, np.uint8)
    parts = [part for image in images for part in (white, image)][1:]
    return np.concatenate(parts, axis=axis)


def check_picture_path(text: str) -> Path:
    """Return the path of a picture to write.

    Raises:
        PictureError: if it does not end in .png, its folder is missing, or it exists: pictures never overwrite a file,
            which may be an image.
    """
    path = Path(text)
    if path.suffix.lower() != ".png" or path.exists():
        raise PictureError(f"{path} {'exists' if path.exists() else 'does not end in .png'}; give another name")
    if not path.parent.is_dir():
        raise PictureError(f"folder {path.parent} does not exist; create it first")
    return path
