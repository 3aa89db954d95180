"""Axes: found in metadata, told by the caller, or guessed from a shape; and the names of units."""

from __future__ import annotations

from typing import Any

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.source import AXES

#: Stands for a dimension whose meaning the metadata do not tell.
UNKNOWN = "?"

_WORDS = {
    "T": ("t", "time", "frame"),
    "C": ("c", "ch", "channel", "channels"),
    "Z": ("z", "depth", "plane", "slice"),
    "Y": ("y", "height", "row"),
    "X": ("x", "width", "col", "column"),
    "S": ("s", "sample", "samples", "rgb", "rgba"),
}
_LETTERS = {word: letter for letter, words in _WORDS.items() for word in words}

_UNITS = {
    "micrometer": ("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometre", "micrometers", "micrometres"),
    "nanometer": ("nm", "nanometre", "nanometers"),
    "millimeter": ("mm", "millimetre", "millimeters"),
    "centimeter": ("cm", "centimetre", "centimeters"),
    "meter": ("m", "metre", "meters"),
    "angstrom": ("å", "Å", "ångström", "angstroms"),
    "inch": ("in", "inches", '"'),
    "second": ("s", "sec", "seconds"),
    "millisecond": ("ms", "msec", "milliseconds"),
    "minute": ("min", "minutes"),
    "hour": ("h", "hr", "hours"),
    "": ("pixel", "pixels", "pix", "px", "frame", "frames", "none", "unknown", "reference frame"),
}
_UNIT_NAMES = {word.lower(): name for name, words in _UNITS.items() for word in words}


def letter_of(name: object) -> str:
    """The axis letter for a dimension's name such as "time" or "y"; `UNKNOWN` for any other."""
    return _LETTERS.get(str(name).lower(), UNKNOWN)


def unit_name(unit: object) -> str:
    """A unit as OME-Zarr spells it ("micrometer"); "" for pixels, and what is not known stays as it is."""
    text = str(unit or "").strip()
    return _UNIT_NAMES.get(text.lower(), text)


def resolve_axes(
    shape: tuple[int, ...], dtype: np.dtype[Any], *, asked: str | None, found: str, name: str
) -> tuple[str, tuple[str, ...]]:
    """Settles the axes of an image: the caller's word first, then metadata, then a guess.

    Args:
        shape: sides of the image.
        dtype: only 8- and 16-bit images are guessed to hold colour samples.
        asked: the caller's axes, such as "ZYX"; None for none.
        found: what metadata say, `UNKNOWN` (or any letter outside `AXES`) for what they do not; "" for nothing.
        name: of the image, for errors.

    Returns:
        One letter of `AXES` a dimension, and a sentence about the guess where there was one.

    Raises:
        ImageError: if `asked` does not fit, or nothing can be guessed.
    """
    if asked is not None:
        return _checked(asked.upper(), shape, name), ()
    if not _fault(found, shape):
        return found, ()
    axes = _guessed(found, shape, dtype, name)
    if len(axes) == 2:
        return axes, ()
    return axes, (f"axes guessed as {axes} from shape {shape}; say --axes to correct",)


def _checked(axes: str, shape: tuple[int, ...], name: str) -> str:
    fault = _fault(axes, shape)
    if fault:
        raise ImageError(
            f"{name}: axes {axes!r} do not fit shape {shape}: {fault}; "
            f"give {len(shape)} different letters of {AXES}, Y and X among them"
        )
    return axes


def _fault(axes: str, shape: tuple[int, ...]) -> str:
    """What is wrong with axes for a shape, or ""."""
    strange = sorted(set(axes) - set(AXES))
    if len(axes) != len(shape):
        return f"{len(axes)} letters for {len(shape)} dimensions"
    if strange:
        return f"{strange[0]!r} is no axis"
    if len(set(axes)) != len(axes):
        return "a letter occurs twice"
    return "" if {"Y", "X"} <= set(axes) else "Y or X is missing"


def _guessed(found: str, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> str:
    if len(shape) < 2:
        raise ImageError(f"{name}: shape {shape} is no image; give an array with at least the axes YX")
    letters = _trusted(found, len(shape))
    if "S" not in letters and UNKNOWN in letters and _ends_in_samples(shape, dtype):
        letters = [*(a if a not in "YX" else UNKNOWN for a in letters[:-3]), "Y", "X", "S"]
    if "Y" not in letters:
        letters[-2:] = ["Y", "X"]
    return _filled(letters, shape, name)


def _trusted(found: str, ndim: int) -> list[str]:
    """Letters that can be built upon: none of them where they contradict themselves."""
    letters = [a if a in AXES else UNKNOWN for a in found]
    known = [a for a in letters if a != UNKNOWN]
    sound = len(letters) == ndim and len(set(known)) == len(known) and {"Y", "X"} <= set(known)
    return letters if sound else [UNKNOWN] * ndim


def _ends_in_samples(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    small = dtype in (np.dtype(np.uint8), np.dtype(np.uint16))
    return small and len(shape) > 2 and shape[-1] in (3, 4) and min(shape[-3:-1]) > shape[-1]


def _filled(letters: list[str], shape: tuple[int, ...], name: str) -> str:
    """Names the unknown dimensions: 2 to 4 positions are channels; else Z, then T, then C from the inside out."""
    free = [a for a in "ZTC" if a not in letters]
    unknown = [i for i, a in enumerate(letters) if a == UNKNOWN]
    few = next((i for i in unknown if 2 <= shape[i] <= 4), None)
    if "C" in free and few is not None:
        letters[few] = "C"
        free.remove("C")
        unknown.remove(few)
    if len(unknown) > len(free):
        raise ImageError(f"{name}: no axes can be guessed for shape {shape}; say --axes, or cut it to {AXES}")
    for i, letter in zip(unknown, sorted(free[: len(unknown)], key=AXES.index), strict=True):
        letters[i] = letter
    return "".join(letters)
