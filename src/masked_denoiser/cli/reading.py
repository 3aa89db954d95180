"""Opens an input as the command line asks for it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from masked_denoiser.images.open import open_image
from masked_denoiser.images.selection import parse_selection, select
from masked_denoiser.images.source import ImageError, Source


def open_input(arguments: Namespace, path: str | Path | None = None) -> Source:
    """The input, with its axes, its level and the part of it that was asked for.

    Args:
        arguments: with those of `_add_reading`.
        path: one of several inputs; `arguments.input` if left out.

    Raises:
        ImageError: if it cannot be opened like that.
    """
    selection = parse_selection(arguments.select)
    source = open_image(path or arguments.input, axes=arguments.axes, level=arguments.level)
    try:
        return select(source, selection)
    except ImageError:
        source.close()
        raise
