"""Shell command that runs a job, for "Copy command" of the dock."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.jobs.spec.options import OPTIONS, Options, flag_of
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
    """Return a command line for a POSIX shell, with the options that differ from their defaults.

    Args:
        input: path of the image.
        output: `.ome.zarr` or `.ome.tif`.
        model: name or path of the model.
        device: as in `prepare_file`.
        options: how to denoise.
        axes: axes of the input, if its file does not name them.
        select: part of the input, in the notation of `images.selection`.
        scheduler: address of the scheduler of a cluster that runs the job.
    """
    words = ["masked-denoiser", "denoise", _path_word(input), _path_word(output)]
    words += _flag_words("--model", model, AUTO) + _flag_words("--axes", axes, "") + _flag_words("--select", select, "")
    words += _flag_words("--device", device, "auto") + _flag_words("--scheduler", scheduler, "")
    return shlex.join([*words, *_option_words(options or Options())])


def _option_words(options: Options) -> Iterator[str]:
    for option in OPTIONS.values():
        value = getattr(options, option.name)
        if value != option.default:
            yield from _option_flag(flag_of(option), value)


def _option_flag(flag: str, value: Any) -> list[str]:
    if value is True:
        return [flag]
    if isinstance(value, tuple):
        # argparse parses "-1e-05" as an option, but "-0.00001" as a number
        return [flag, *(np.format_float_positional(limit, trim="0") for limit in value)]
    return _flag_words(flag, str(value), "")


def _flag_words(name: str, value: str, default: str) -> list[str]:
    """Return a flag and its value, as one word if the value could be parsed as another flag."""
    if value == default:
        return []
    return [f"{name}={value}"] if value.startswith("-") else [name, value]


def _path_word(path: Path) -> str:
    return f"./{path}" if str(path).startswith("-") else str(path)
