"""A source cut to a part of itself. Nothing is read or copied for it."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.indexing import full_index
from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import AXES, Lazy, Source

_PART = re.compile(r"([A-Za-z])\s*=\s*(?:(\d+)|(\d*)\s*:\s*(\d*))")


@dataclass(frozen=True)
class Selection:
    """What to take of an image, in pixels of its full resolution.

    Attributes:
        spans: (letter, start, stop) in the order of `AXES`, half open; a stop of None is the end of the axis.
    """

    spans: tuple[tuple[str, int, int | None], ...] = ()

    @property
    def starts(self) -> dict[str, int]:
        """Where it begins, by axis letter; 0 for letters left out."""
        return {letter: start for letter, start, _ in self.spans}

    def __str__(self) -> str:
        """The text that `parse_selection` reads."""
        return ",".join(f"{letter}={_written(start, stop)}" for letter, start, stop in self.spans)


def parse_selection(text: str) -> Selection:
    """Reads a selection such as "Z=3,T=0:5,Y=100:2000".

    Ranges are half open and may leave an end out, as in NumPy; a single number keeps its axis, with length 1.

    Raises:
        ImageError: if the text is no selection, a range is empty or negative, or an axis occurs twice.
    """
    spans = [_parse_part(part.strip(), text) for part in text.split(",")] if text.strip() else []
    letters = [letter for letter, _, _ in spans]
    twice = next((letter for letter in letters if letters.count(letter) > 1), None)
    if twice:
        raise ImageError(f"selection {text!r} names {twice} twice; give each axis one range")
    return Selection(tuple(sorted(spans, key=lambda span: AXES.index(span[0]))))


def crop(source: Source, selection: Selection) -> Source:
    """A part of an image as a source of its own, which reads only that part.

    It has one level: the pixels of a lower one need not end where the part ends.

    Args:
        source: the image; closing either of them closes both.
        selection: what to take.

    Returns:
        A source whose `origin` says where it lies and whose `selection` is what was cut, in pixels of the file; the
        source itself if nothing is cut.

    Raises:
        ImageError: if an axis is not there, or a range reaches out of the image.
    """
    spans = {letter: _within(source, letter, start, stop) for letter, start, stop in selection.spans}
    cut = {letter: span for letter, span in spans.items() if span != (0, source.sizes[letter])}
    if not cut:
        return source
    data = Cut(source.data, tuple(cut.get(a, (0, side)) for a, side in source.sizes.items()))
    names = slice(*cut["C"]) if "C" in cut else slice(None)
    colour = "S" if "S" in source.axes else "C"
    wider = Selection(tuple(span for span in selection.spans if span[0] not in "YX"))
    return replace(
        source,
        data=data,
        context=crop(source.context or source, wider) if {"Y", "X"} & set(cut) else None,
        levels=(data,),
        rgb=source.rgb and colour not in cut,
        channel_names=source.channel_names[names],
        channel_colours=source.channel_colours[names],
        windows=source.windows[names],
        origin=_origin(source, cut),
        selection=str(_in_file(source, cut)),
    )


def open_part(where: str | os.PathLike[str], *, axes: str | None = None, level: int = 0, selection: str = "") -> Source:
    """Opens an image, and takes a part of it: `open_image` and `crop`.

    Raises:
        ImageError: as either of them.
    """
    wanted = parse_selection(selection)
    source = open_image(where, axes=axes, level=level)
    try:
        return crop(source, wanted)
    except ImageError:
        source.close()
        raise


class Cut:
    """A rectangle of a lazy array, seen as an array.

    Attributes:
        shape: sides of the rectangle.
        dtype: of the array.
    """

    def __init__(self, array: Lazy, spans: tuple[tuple[int, int], ...]) -> None:
        """Takes the start and the stop along each dimension, within the array."""
        self._array, self._starts = array, tuple(start for start, _ in spans)
        self.shape = tuple(stop - start for start, stop in spans)
        self.dtype = np.dtype(array.dtype)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __getitem__(self, key: Any, /) -> Any:
        """Pixels at integers and slices of positive step.

        Raises:
            IndexError: for any other index, and outside the rectangle.
        """
        return self._array[tuple(map(_moved, full_index(key, self.ndim), self._starts, self.shape))]


def _moved(key: Any, start: int, side: int) -> int | slice:
    """An index of the rectangle as one of the array."""
    if isinstance(key, slice):
        first, last, step = key.indices(side)
        if step < 1:
            raise IndexError(f"slice {key} steps backwards; read forwards and turn the result")
        return slice(start + first, start + max(first, last), step)
    at = operator.index(key)
    if not -side <= at < side:
        raise IndexError(f"index {at} is outside of {side} pixels")
    return start + at % side


def _parse_part(part: str, text: str) -> tuple[str, int, int | None]:
    match = _PART.fullmatch(part)
    if match is None or match[1].upper() not in AXES:
        raise ImageError(
            f"selection {text!r}: {part!r} is no range of an axis; write a letter of {AXES} and numbers from 0 on, "
            "such as Z=3 or Y=100:2000"
        )
    letter, single, first, last = match[1].upper(), match[2], match[3], match[4]
    if single:
        return letter, int(single), int(single) + 1
    start, stop = int(first or 0), int(last) if last else None
    if stop is not None and stop <= start:
        raise ImageError(f"selection {text!r}: {part!r} is empty; give a stop behind the start")
    return letter, start, stop


def _written(start: int, stop: int | None) -> str:
    return str(start) if stop == start + 1 else f"{start}:{'' if stop is None else stop}"


def _within(source: Source, letter: str, start: int, stop: int | None) -> tuple[int, int]:
    side = source.sizes.get(letter)
    asked = f"{letter}={_written(start, stop)}"
    if side is None:
        raise ImageError(f"{source.name}: {asked} cannot be selected, its axes are {source.axes}; leave {letter} out")
    if start >= side or (stop or 0) > side:
        raise ImageError(f"{source.name}: {asked} reaches out of the image; {letter} has positions 0 to {side - 1}")
    return start, side if stop is None else stop


def _origin(source: Source, cut: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    steps = {
        letter: start * source.pixel_size.get(letter, 1.0) for letter, (start, _) in cut.items() if letter in "TZYX"
    }
    moved = {letter: source.origin.get(letter, 0.0) + step for letter, step in steps.items()}
    return {letter: place for letter, place in {**source.origin, **moved}.items() if place}


def _in_file(source: Source, cut: Mapping[str, tuple[int, int]]) -> Selection:
    """What is cut of the file, where the source is a part of it already."""
    before = {letter: (start, stop) for letter, start, stop in parse_selection(source.selection).spans}
    now = {a: (s + before.get(a, (0, 0))[0], e + before.get(a, (0, 0))[0]) for a, (s, e) in cut.items()}
    both = {**before, **now}
    return Selection(tuple((letter, *both[letter]) for letter in AXES if letter in both))
