"""Selection of a part of a source, as a lazy view that reads and copies nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.lazy_arrays import CroppedArray
from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import AXES, Source

_PART = re.compile(r"([A-Za-z])\s*=\s*(?:(-?\d+)|(-?\d+)?\s*:\s*(-?\d+)?)")


@dataclass(frozen=True)
class Selection:
    """A part of an image, in full-resolution pixels.

    Attributes:
        spans: (letter, start, stop) in the order of `AXES`, half open; a stop of None is the end of the axis. Negative
            positions are counted from the end of the axis, until the selection is `resolved`.
    """

    spans: tuple[tuple[str, int, int | None], ...] = ()

    @property
    def starts(self) -> dict[str, int]:
        """Axis letter to first position; axes left out start at 0."""
        return {letter: start for letter, start, _ in self.spans}

    def resolved(self, source: Source) -> Selection:
        """Return the selection in positions of an image, counted from 0, without open ends.

        Raises:
            ImageError: if an axis is missing, a range is empty, or extends beyond the image.
        """
        return Selection(tuple((a, *_resolve_span(source, a, start, stop)) for a, start, stop in self.spans))

    def __str__(self) -> str:
        """Return the text that `parse_selection` reads."""
        return ",".join(f"{letter}={_format_span(start, stop)}" for letter, start, stop in self.spans)


def parse_selection(text: str) -> Selection:
    """Parse a selection such as "Z=3,T=0:5,Y=100:2000".

    As in NumPy, ranges are half open, either end may be left out, and negative positions are counted from the end of
    the axis. A single number keeps its axis, with length 1.

    Raises:
        ImageError: if the text is not a selection, a range is empty, or an axis occurs twice.
    """
    spans = [_parse_part(part.strip(), text) for part in text.split(",")] if text.strip() else []
    letters = [letter for letter, _, _ in spans]
    duplicate = next((letter for letter in letters if letters.count(letter) > 1), None)
    if duplicate:
        raise ImageError(f"selection {text!r} names {duplicate} twice; give each axis one range")
    return Selection(tuple(sorted(spans, key=lambda span: AXES.index(span[0]))))


def crop(source: Source, selection: Selection) -> Source:
    """Return a source that reads only a part of another one.

    It has one level, as the part need not be aligned with the pixels of lower levels.

    Args:
        source: the whole image; closing either source closes both.
        selection: the part to read.

    Returns:
        A source with the `origin` of the part and, as `selection`, the part in pixels of the file; the unchanged
        source if `selection` covers all of it.

    Raises:
        ImageError: if an axis is missing, a range is empty, or extends beyond the image.
    """
    spans = selection.resolved(source).spans
    cut = {a: (start, stop) for a, start, stop in spans if stop is not None and stop - start < source.sizes[a]}
    if not cut:
        return source
    data = CroppedArray(source.data, tuple(cut.get(a, (0, side)) for a, side in source.sizes.items()))
    channels = slice(*cut["C"]) if "C" in cut else slice(None)
    colour = "S" if "S" in source.axes else "C"
    outside_yx = Selection(tuple(span for span in spans if span[0] not in "YX"))
    return replace(
        source,
        data=data,
        context=crop(source.context or source, outside_yx) if {"Y", "X"} & set(cut) else None,
        levels=(data,),
        rgb=source.rgb and colour not in cut,
        channel_names=source.channel_names[channels],
        channel_colours=source.channel_colours[channels],
        windows=source.windows[channels],
        origin=_cropped_origin(source, cut),
        affine=_cropped_affine(source, cut),
        selection=str(_selection_in_file(source, cut)),
    )


def open_part(
    where: str | os.PathLike[str], *, axes: str | None = None, level: int = 0, selection: str = "", reader: str = ""
) -> Source:
    """Open an image and select a part of it, as `open_image` and `crop` do.

    Raises:
        ImageError: see `open_image`, `parse_selection` and `crop`.
    """
    part = parse_selection(selection)
    source = open_image(where, axes=axes, level=level, reader=reader)
    try:
        return crop(source, part)
    except ImageError:
        source.close()
        raise


def _parse_part(part: str, text: str) -> tuple[str, int, int | None]:
    match = _PART.fullmatch(part)
    if match is None or match[1].upper() not in AXES:
        raise ImageError(
            f"selection {text!r}: {part!r} is not a range of an axis; give a letter of {AXES} and whole numbers, "
            "such as Z=3, Y=100:2000 or, counted from the end, T=-1"
        )
    letter, single, first, last = match[1].upper(), match[2], match[3], match[4]
    if single:
        return letter, int(single), int(single) + 1 or None  # the last position ends at the end of the axis
    start, stop = int(first or 0), int(last) if last else None
    if stop is not None and stop <= start and (stop < 0) == (start < 0):
        raise ImageError(f"selection {text!r}: {part!r} is empty; give a stop after the start")
    return letter, start, stop


def _format_span(start: int, stop: int | None) -> str:
    return str(start) if stop == start + 1 else f"{start}:{'' if stop is None else stop}"


def _resolve_span(source: Source, letter: str, start: int, stop: int | None) -> tuple[int, int]:
    side = source.sizes.get(letter)
    span = f"{letter}={_format_span(start, stop)}"
    if side is None:
        raise ImageError(f"{source.name}: {span} cannot be selected, its axes are {source.axes}; leave {letter} out")
    first, last = (at + side if at < 0 else at for at in (start, side if stop is None else stop))
    if not 0 <= first < side or not 0 <= last <= side:
        raise ImageError(f"{source.name}: {span} extends beyond the image; {letter} has positions 0 to {side - 1}")
    if last <= first:
        raise ImageError(f"{source.name}: {span} is empty, it ends at {last}; give a stop after the start")
    return first, last


def _cropped_origin(source: Source, cut: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    offsets = {
        letter: start * source.pixel_size.get(letter, 1.0) for letter, (start, _) in cut.items() if letter in "TZYX"
    }
    shifted = {letter: source.origin.get(letter, 0.0) + offset for letter, offset in offsets.items()}
    return {letter: position for letter, position in {**source.origin, **shifted}.items() if position}


def _cropped_affine(source: Source, cut: Mapping[str, tuple[int, int]]) -> tuple[tuple[float, ...], ...]:
    """Return the affine of a part, whose first pixel is another one."""
    if not source.affine:
        return ()
    affine = np.array(source.affine)
    affine[:, 3] = affine @ [*(cut.get(letter, (0, 0))[0] for letter in "XYZ"), 1]
    return tuple(tuple(float(value) for value in row) for row in affine)


def _selection_in_file(source: Source, cut: Mapping[str, tuple[int, int]]) -> Selection:
    """Return the cropped part in pixels of the file; the source may be a part of the file itself."""
    earlier = {letter: (start, stop) for letter, start, stop in parse_selection(source.selection).spans}
    shifted = {a: (s + earlier.get(a, (0, 0))[0], e + earlier.get(a, (0, 0))[0]) for a, (s, e) in cut.items()}
    combined = {**earlier, **shifted}
    return Selection(tuple((letter, *combined[letter]) for letter in AXES if letter in combined))
