"""Opens an input as the command line asks for it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from masked_denoiser.images.selection import open_part
from masked_denoiser.images.source import Source


def open_input(arguments: Namespace, path: str | Path | None = None) -> Source:
    """The input, with its axes, its level and the part of it that was asked for.

    Args:
        arguments: with those of `_add_reading`.
        path: one of several inputs; `arguments.input` if left out.

    Raises:
        ImageError: if it cannot be opened like that.
    """
    return open_part(
        path or arguments.input, axes=arguments.axes, level=arguments.level, selection=arguments.select or ""
    )
