"""The command line that does a job: what the dock's "Copy command" gives."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.catalogue import AUTO


def denoise_command(
    input: Path,
    output: Path,
    *,
    model: str = AUTO,
    device: str = "auto",
    options: Options | None = None,
    axes: str = "",
    select: str = "",
    scheduler: str = "",
) -> str:
    """One line for a POSIX shell, with the options that differ from what the command does without them.

    Args:
        input: the image.
        output: `.ome.zarr` or `.ome.tif`.
        model: its name or its path.
        device: as in `prepare_file`.
        options: how to denoise.
        axes: those of the input, where its file does not name them.
        select: the part of it, as `images.selection` writes it.
        scheduler: of a cluster, whose workers do it.
    """
    words = ["masked-denoiser", "denoise", _no_option(input), _no_option(output)]
    words += _said("--model", model, AUTO) + _said("--axes", axes, "") + _said("--select", select, "")
    words += _said("--device", device, "auto") + _said("--scheduler", scheduler, "")
    return shlex.join([*words, *_of_options(options or Options())])


def _of_options(options: Options) -> Iterator[str]:
    for field in fields(Options):
        value = getattr(options, field.name)
        if value != field.default:
            yield from _WORDS.get(field.name, _plain)(f"--{field.name.replace('_', '-')}", value)


def _plain(name: str, value: Any) -> list[str]:
    return [name] if value is True else _said(name, str(value), "")


def _range(_name: str, value: tuple[float, float]) -> list[str]:
    # argparse takes "-1e-05" for an option, and "-0.00001" for a number.
    return ["--range", *(np.format_float_positional(end, trim="0") for end in value)]


#: Options that are not simply a name and a value.
_WORDS: dict[str, Callable[[str, Any], list[str]]] = {
    "intensity": _range,
    "compiled": lambda _name, _value: ["--compile"],
}


def _said(name: str, value: str, default: str) -> list[str]:
    """An option; in one word where its value would be taken for another option."""
    if value == default:
        return []
    return [f"{name}={value}"] if value.startswith("-") else [name, value]


def _no_option(path: Path) -> str:
    return f"./{path}" if str(path).startswith("-") else str(path)
