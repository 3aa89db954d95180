"""Markdown of commands and their output, for pages that show them."""

from __future__ import annotations

import shlex
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from masked_denoiser.cli.main import main as run_command

DOCS = Path(__file__).parents[1]


def run_for_page(arguments: list[str], shown: list[str] | None = None) -> str:
    """Run `masked-denoiser ARGUMENTS` and return the command and its output in Markdown.

    Args:
        arguments: arguments of the command.
        shown: arguments to show on the page instead; None for the same.

    Raises:
        SystemExit: if the command fails.
    """
    output = StringIO()
    with redirect_stdout(output):
        code = run_command(arguments)
    if code:
        raise SystemExit(f"masked-denoiser {shlex.join(arguments)} failed with exit code {code}")
    return f"`masked-denoiser {shlex.join(shown or arguments)}`\n\n{output.getvalue()}"
