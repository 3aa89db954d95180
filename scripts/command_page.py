"""For pages whose figures a command prints: the command, and what it printed."""

from __future__ import annotations

import shlex
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from masked_denoiser.cli.main import main as command

DOCS = Path(__file__).parents[1] / "docs"


def printed(arguments: list[str], shown: list[str] | None = None) -> str:
    """Runs `masked-denoiser ARGUMENTS`.

    Args:
        arguments: of the command.
        shown: the same as the page shows them; as they are by default.

    Returns:
        The command in Markdown, and what it printed.

    Raises:
        SystemExit: if the command fails.
    """
    said = StringIO()
    with redirect_stdout(said):
        code = command(arguments)
    if code:
        raise SystemExit(f"masked-denoiser {shlex.join(arguments)} ended with {code}")
    return f"`masked-denoiser {shlex.join(shown or arguments)}`\n\n{said.getvalue()}"
