"""Axes, from the caller, the metadata or a guess by shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.source import AXES

#: Stands for a dimension whose meaning the metadata do not declare.
UNKNOWN = "?"

_AXIS_NAMES = {
    "T": ("t", "time", "frame"),
    "C": ("c", "ch", "channel", "channels"),
    "Z": ("z", "depth", "plane", "slice"),
    "Y": ("y", "height", "row"),
    "X": ("x", "width", "col", "column"),
    "S": ("s", "sample", "samples", "rgb", "rgba"),
}
_LETTER_BY_NAME = {word: letter for letter, words in _AXIS_NAMES.items() for word in words}


def letter_of(name: object) -> str:
    """Return the axis letter for a dimension name such as "time" or "y"; `UNKNOWN` for other names."""
    return _LETTER_BY_NAME.get(str(name).lower(), UNKNOWN)


def orientation_of(affine: Sequence[Sequence[float]]) -> str:
    """Return the directions in the patient in which X, Y and Z grow, such as "LPS"; "" without an affine.

    Each is the nearest of right, left, anterior, posterior, superior (towards the head) and inferior.

    Args:
        affine: as in `ImageMetadata`.
    """
    columns = np.array(affine)[:3, :3].T if affine else ()
    return "".join(("RL", "AP", "SI")[int(np.abs(c).argmax())][int(c[np.abs(c).argmax()] < 0)] for c in columns)


def resolve_axes(
    shape: tuple[int, ...], dtype: np.dtype[Any], *, asked: str | None, found: str, name: str
) -> tuple[str, tuple[str, ...]]:
    """Return the axes of an image: those requested by the caller, else from metadata, else guessed.

    Args:
        shape: of the image.
        dtype: colour samples are guessed for 8- and 16-bit images only.
        asked: axes requested by the caller, such as "ZYX", or None.
        found: axes from metadata, with `UNKNOWN` (or any letter outside `AXES`) for undeclared dimensions; or "".
        name: of the image, for error messages.

    Returns:
        One letter of `AXES` per dimension, and a note for the user if the axes were guessed, or are not those stated.

    Raises:
        ImageError: if `asked` does not fit the shape, or the axes cannot be guessed.
    """
    if asked is not None and not isinstance(asked, str):
        raise ImageError(f"{name}: axes are {asked!r}; give one letter of {AXES} for each dimension, such as 'ZYX'")
    if asked is not None:
        axes = _check_axes(asked.upper(), shape, name)
        differs = axes != found and not _problem(found, shape)
        return axes, ((f"{name} states the axes {found}; {axes} is used instead, as requested",) if differs else ())
    if not _problem(found, shape):
        return found, ()
    axes = _guess_axes(found, shape, dtype, name)
    if len(axes) == 2:
        return axes, ()
    return axes, (f"axes guessed as {axes} from shape {shape}; set --axes to correct this",)


def _check_axes(axes: str, shape: tuple[int, ...], name: str) -> str:
    problem = _problem(axes, shape)
    if problem:
        raise ImageError(
            f"{name}: axes {axes!r} do not fit shape {shape}: {problem}; "
            f"give {len(shape)} different letters of {AXES}, Y and X among them"
        )
    return axes


def _problem(axes: str, shape: tuple[int, ...]) -> str:
    """Return why axes do not fit a shape, or ""."""
    invalid = sorted(set(axes) - set(AXES))
    if len(axes) != len(shape):
        return f"{len(axes)} letters for {len(shape)} dimensions"
    if invalid:
        return f"{invalid[0]!r} is not an axis"
    if len(set(axes)) != len(axes):
        return "a letter occurs twice"
    return "" if {"Y", "X"} <= set(axes) else "Y or X is missing"


def _guess_axes(found: str, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> str:
    if len(shape) < 2:
        raise ImageError(f"{name}: shape {shape} is not an image; give an array with at least the axes YX")
    letters = _consistent_letters(found, len(shape))
    if "S" not in letters and UNKNOWN in letters and _ends_in_samples(shape, dtype):
        letters = [*(a if a not in "YX" else UNKNOWN for a in letters[:-3]), "Y", "X", "S"]
    if "Y" not in letters:
        letters[-2:] = ["Y", "X"]
    return _assign_unknown(letters, shape, name)


def _consistent_letters(found: str, ndim: int) -> list[str]:
    """Return the declared letters, or all `UNKNOWN` if they are inconsistent."""
    letters = [a if a in AXES else UNKNOWN for a in found]
    known = [a for a in letters if a != UNKNOWN]
    consistent = len(letters) == ndim and len(set(known)) == len(known) and {"Y", "X"} <= set(known)
    return letters if consistent else [UNKNOWN] * ndim


def _ends_in_samples(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    colour_dtype = dtype in (np.dtype(np.uint8), np.dtype(np.uint16))
    return colour_dtype and len(shape) > 2 and shape[-1] in (3, 4) and min(shape[-3:-1]) > shape[-1]


def _assign_unknown(letters: list[str], shape: tuple[int, ...], name: str) -> str:
    """Assign C to an unknown dimension of 2 to 4 positions; else Z, T and C from the last dimension to the first."""
    free = [a for a in "ZTC" if a not in letters]
    unknown = [i for i, a in enumerate(letters) if a == UNKNOWN]
    channel_dim = next((i for i in unknown if 2 <= shape[i] <= 4), None)
    if "C" in free and channel_dim is not None:
        letters[channel_dim] = "C"
        free.remove("C")
        unknown.remove(channel_dim)
    if len(unknown) > len(free):
        raise ImageError(f"{name}: axes cannot be guessed for shape {shape}; set --axes, or reduce it to {AXES}")
    for i, letter in zip(unknown, sorted(free[: len(unknown)], key=AXES.index), strict=True):
        letters[i] = letter
    return "".join(letters)
