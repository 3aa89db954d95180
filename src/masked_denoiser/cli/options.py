"""Groups of options that several commands share, and the parsing of their values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

from masked_denoiser.jobs.spec.limits import LIMITS
from masked_denoiser.jobs.spec.options import OPTIONS, Option, Options, flag_of


def add_cluster(p: argparse.ArgumentParser) -> None:
    """Add the options that distribute a job."""
    cluster = p.add_argument_group("cluster", "several processes or machines, by dask.distributed")
    cluster.add_argument("--scheduler", metavar="ADDRESS", help="use the workers of this scheduler: tcp://host:8786")
    cluster.add_argument("--workers", type=int, metavar="N", help="use N worker processes on this machine")


def add_messages(p: argparse.ArgumentParser) -> None:
    """Add the options for what is printed."""
    p.add_argument("--quiet", action="store_true", help="print no progress bar and no notes")
    p.add_argument("--json", action="store_true", help="print a summary as JSON at the end")


def add_job(p: argparse.ArgumentParser) -> None:
    """Add the options that define a job, except for its input."""
    p.add_argument("--model", help="name or file of a model (see `models list`; default: chosen by image)")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    expert = p.add_argument_group("expert settings")
    for option in OPTIONS.values():
        if option.group != "channels":
            add_option(expert if option.group == "expert" else p, option)
    expert.add_argument("--threads", type=int, help="number of CPU threads (default: all cores)")


def add_option(group: argparse._ActionsContainer, option: Option) -> None:
    """Add the flag of an option according to its description."""
    details: dict[str, Any] = {"dest": option.name, "default": option.default, "help": option.help}
    if option.default is False:
        details |= {"action": "store_true"}
    else:
        default = "" if option.default is None else f" (default: {option.default})"
        details |= {"type": _parser_of(option), "metavar": option.metavar, "help": option.help + default}
        details |= {"nargs": len(option.metavar)} if isinstance(option.metavar, tuple) else {}
        details |= {"choices": tuple(option.choices)} if _only_words(option) else {}
    group.add_argument(flag_of(option), **details)


def options_of(arguments: argparse.Namespace) -> Options:
    """Return the options requested on a command line."""
    values: dict[str, Any] = {name: getattr(arguments, name) for name in OPTIONS}
    return Options(**values | {name: tuple(value) for name, value in values.items() if isinstance(value, list)})


def add_last_resort(group: argparse._ActionsContainer) -> None:
    """Add the option to continue on the CPU where a GPU has too little memory."""
    add_option(group, OPTIONS["cpu_as_last_resort"])


def _only_words(option: Option) -> bool:
    """Return whether an option takes some words and no numbers."""
    return bool(option.choices) and not option.numbers


def _parser_of(option: Option) -> Callable[[str], Any]:
    """Return the function that converts command line text to a value of an option."""
    if _only_words(option) or isinstance(option.metavar, tuple):
        return float if isinstance(option.metavar, tuple) else str
    if option.choices:
        return partial(_number_or_word, words=tuple(option.choices))
    return type(option.default)


def _number_or_word(text: str, words: tuple[str, ...]) -> int | str:
    """Return a number, or one of `words`."""
    if text in words:
        return text
    try:
        return int(text)
    except ValueError:
        alternatives = " nor ".join(map(repr, words))
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor {alternatives}") from None


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the options for reading an input."""
    add_reader(parser)
    parser.add_argument("--axes", help="axes of the input, such as ZYX, instead of those that the file states")
    parser.add_argument("--level", type=int, default=0, help="pyramid level; 0 is full resolution (default: 0)")
    parser.add_argument(
        "--select",
        default="",
        metavar="PART",
        help="read only this part, in pixels of the level, from 0, end excluded: Z=3,T=0:5,Y=100:2000,X=:4096; "
        "negative positions are counted from the end: Z=-1,T=-3:",
    )
    add_option(parser, OPTIONS["channels"])


def add_reader(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the reader of an input."""
    parser.add_argument(
        "--reader",
        default="",
        metavar="PLUGIN",
        help="read the input with an installed napari plugin or bioio reader, such as bioio-czi "
        "(default: this program, and for files that it does not know the only plugin that does)",
    )


def positive(text: str) -> int:
    """Return a positive number of pixels.

    Raises:
        argparse.ArgumentTypeError: if the text is not a positive integer.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels; give 1 or more")
    return int(text)


def seed_number(text: str) -> int:
    """Return the seed in a text.

    Raises:
        argparse.ArgumentTypeError: if it is no seed, naming the limits.
    """
    lowest, highest = LIMITS["seed"]
    if not text.isascii() or not text.isdecimal() or not lowest <= int(text) <= highest:
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed; give {lowest} to {highest}")
    return int(text)
