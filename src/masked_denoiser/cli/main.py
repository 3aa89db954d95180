"""Entry point of the command `masked-denoiser`: dispatch to a handler, and errors in one line."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from masked_denoiser.cli.parser import build_parser
from masked_denoiser.errors import MaskedDenoiserError, one_line

Handler = Callable[[argparse.Namespace], int]

_FAILED, _CANCELLED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 done, 1 failed, 130 cancelled. Incorrect usage exits with 2.
    """
    _escape_missing_characters()
    options = build_parser().parse_args(arguments)
    if not options.debug:  # our errors already report damaged files and failed connections in one line
        for library in ("tifffile", "asyncio", "pydicom", "nibabel"):
            logging.getLogger(library).setLevel(logging.CRITICAL)
    try:
        return _import_handler(options.handler)(options)
    except KeyboardInterrupt:
        print("cancelled", file=sys.stderr)
        return _CANCELLED
    except BrokenPipeError:  # the reader of our output, such as `head`, has exited; avoid a second error at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except (MaskedDenoiserError, OSError, MemoryError) as error:
        if options.debug:
            raise
        print(f"masked-denoiser: {one_line(error)}", file=sys.stderr)
        return _FAILED


def _escape_missing_characters() -> None:
    """Let streams show the code of a character that their encoding lacks; an error would end a finished job."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _import_handler(name: str) -> Handler:
    """Return the function `module:function` of a command; this loads torch, which can take seconds."""
    module, _, function = name.partition(":")
    if module == "train":  # before torch is loaded: OpenMP threads that spin while idle slow each other down
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    handler: Handler = getattr(import_module(f"masked_denoiser.cli.commands.{module}"), function)
    return handler


if __name__ == "__main__":
    sys.exit(main())
