"""Position in its file of the first pixel of a source, which may be a part of the file."""

from __future__ import annotations

from masked_denoiser.images.source import Source


def first_pixel(source: Source) -> dict[str, int]:
    """Return axis letter to position, from 0, for the axes along which the source is a part of its file.

    A source's `selection` has neither open ends nor positions that are counted from the end: "Z=3,Y=100:2000".
    """
    spans = [span.split("=") for span in source.selection.split(",") if span]
    return {letter: int(span.partition(":")[0]) for letter, span in spans}
