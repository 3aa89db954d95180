"""Write docs/reference/commands.md: every command with its arguments, made from the parser.

python docs/generate/site/commands_page.py
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from masked_denoiser.cli.parser import build_parser

PAGE = Path(__file__).parents[2] / "reference" / "commands.md"

_HEAD = """# Commands

Written by `python docs/generate/site/commands_page.py`. `masked-denoiser COMMAND --help` prints the same. How the
commands are used together is described in [command line](../command-line.md); the options of a job are also listed
with their names in Python and in the dock: [options](../options.md).
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the text of the page."""
    return _HEAD + "".join(_section(name, parser) for name, parser in _commands(build_parser(), ""))


def _commands(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the names and parsers of all commands that do something; groups of commands only contain others."""
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not nested:
        yield name, parser
    for action in nested:
        for word, child in action.choices.items():
            yield from _commands(child, f"{name} {word}".strip())


def _section(name: str, parser: argparse.ArgumentParser) -> str:
    lines = [f"\n## {name}\n", f"{parser.description or ''}\n"]
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    positional = [action for action in actions if not action.option_strings]
    flags = [action for action in actions if action.option_strings]
    usage = " ".join([_value(action) + ("..." if action.nargs == "+" else "") for action in positional])
    lines += [f"`masked-denoiser {name} {usage}`".replace(" `", "`"), "", "| argument | description |", "| --- | --- |"]
    lines += [_row(action) for action in [*positional, *flags]]
    return "\n".join(lines) + "\n"


def _row(action: argparse.Action) -> str:
    name = f"`{action.option_strings[-1]}`" if action.option_strings else f"`{_value(action)}`"
    if action.option_strings and action.nargs != 0:
        name += f" `{_value(action)}`"
    words = ", ".join(f"`{word}`" for word in action.choices or ())
    choices = f"; one of {words}" if words else ""
    return f"| {name} | {_plain(action.help or '')}{choices} |"


def _value(action: argparse.Action) -> str:
    """Return the name of the value of an argument, as in the help of a command."""
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    return action.metavar or (action.dest.upper() if action.option_strings or action.choices is None else action.dest)


def _plain(text: str) -> str:
    """Return a help text for a cell of a table."""
    return text.replace("%%", "%").replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    main()
