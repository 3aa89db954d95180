"""Shell command that runs a job, for "Copy command" of the dock."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from masked_denoiser.jobs.spec.options import OPTIONS, Options, flag_of
from masked_denoiser.models.catalogue import AUTO

#: Shell for which words are quoted.
Quoting = Literal["posix", "powershell", "cmd"]

#: Words that no shell changes.
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_./:\\-]+")


def denoise_command(
    input: Path,
    output: Path,
    *,
    model: str = AUTO,
    device: str = "auto",
    options: Options | None = None,
    axes: str = "",
    reader: str = "",
    select: str = "",
    scheduler: str = "",
    quoting: Quoting = "posix",
) -> str:
    """Return a command line with the options that differ from their defaults.

    Args:
        input: path of the image.
        output: `.ome.zarr` or `.ome.tif`.
        model: name or path of the model.
        device: as in `prepare_file`.
        options: how to denoise.
        axes: axes of the input, if its file does not name them.
        reader: plugin that opens the input; "" for the readers of this package.
        select: part of the input, in the notation of `images.selection`.
        scheduler: address of the scheduler of a cluster that runs the job.
        quoting: shell whose quoting rules apply.
    """
    words = ["masked-denoiser", "denoise", _path_word(input), _path_word(output)]
    words += _flag_words("--model", model, AUTO) + _flag_words("--reader", reader, "")
    words += _flag_words("--axes", axes, "") + _flag_words("--select", select, "")
    words += _flag_words("--device", device, "auto") + _flag_words("--scheduler", scheduler, "")
    return join_words([*words, *_option_words(options or Options())], quoting)


def system_quoting() -> Quoting:
    """Return the shell that a user of this system most likely has: PowerShell on Windows."""
    return "powershell" if os.name == "nt" else "posix"


def join_words(words: Sequence[str], quoting: Quoting) -> str:
    """Return words as one line, quoted where the shell would divide or change them."""
    if quoting == "posix":
        return shlex.join(words)
    quote = _quote_for_powershell if quoting == "powershell" else _quote_for_cmd
    return " ".join(map(quote, words))


def _quote_for_powershell(word: str) -> str:
    """Quote a word by single quotes, in which only these are special: they are doubled, also the typographic ones."""
    return word if _PLAIN_WORD.fullmatch(word) else "'" + re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", word) + "'"


def _quote_for_cmd(word: str) -> str:
    """Quote a word by the rules of Microsoft's C runtime, with quotes also around what cmd would interpret."""
    quoted = subprocess.list2cmdline([word])
    if _PLAIN_WORD.fullmatch(word) or quoted.startswith('"'):
        return quoted
    backslashes = len(quoted) - len(quoted.rstrip("\\"))
    return f'"{quoted}{backslashes * chr(92)}"'  # backslashes before a quote are doubled


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
