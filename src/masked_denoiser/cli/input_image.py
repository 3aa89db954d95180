"""Opening of an input with the reading options of the command line."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from masked_denoiser.images.selection import open_part
from masked_denoiser.images.source import Source


def open_input(arguments: Namespace, path: str | Path | None = None) -> Source:
    """Open an input with the requested reader, axes, pyramid level and selection.

    Args:
        arguments: command line that includes the options of `add_reading`.
        path: one of several inputs; `arguments.input` by default.

    Raises:
        ImageError: if the image cannot be opened with these options.
    """
    return open_part(
        path or arguments.input,
        axes=arguments.axes,
        level=arguments.level,
        selection=arguments.select or "",
        reader=arguments.reader,
    )
