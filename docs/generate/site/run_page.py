"""Run the shell and Python blocks of a page in their order, as a reader would who types them one after the other.

    python docs/generate/site/run_page.py docs/tutorials/whole-slide.md folder/

The tests of the tutorials and the scripts that make their pictures use this.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: Blocks that are run, and those that show what the block before them prints.
_BLOCK = re.compile(r"```(sh|python|text)\n(.*?)```", flags=re.DOTALL)

_MARK = "<<< end of block >>>"


@dataclass(frozen=True)
class Step:
    """A block of a page that is run.

    Attributes:
        language: "sh" or "python".
        code: text of the block.
        shown: lines that the page shows as its output; an empty tuple if it shows none.
    """

    language: str
    code: str
    shown: tuple[str, ...] = ()


def read_steps(page: Path) -> list[Step]:
    """Return the blocks of a page, each with the output that the page shows for it."""
    steps: list[Step] = []
    for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "text":
            steps[-1] = Step(steps[-1].language, steps[-1].code, tuple(text.splitlines()))
        else:
            steps.append(Step(language, text))
    return steps


def run_steps(steps: list[Step], folder: Path, replaced: Mapping[str, str] | None = None) -> list[str]:
    """Run blocks in one shell, and return what each printed.

    Args:
        steps: blocks.
        folder: current folder of the shell.
        replaced: parts of the text to replace, such as a long training by a short one.

    Raises:
        RuntimeError: if a command fails, with all that was printed.
    """
    # Jobs that a page starts in the background end with the shell.
    script = "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + "".join(
        f"{_as_shell(step)}\necho '{_MARK}'\n" for step in steps
    )
    for old, new in (replaced or {}).items():
        if old not in script:
            raise RuntimeError(f"the page does not contain {old!r}, which was to be replaced by {new!r}")
        script = script.replace(old, new)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    process = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    if process.returncode:
        raise RuntimeError(f"a command failed with exit code {process.returncode}:\n{process.stdout}")
    return process.stdout.split(f"{_MARK}\n")[: len(steps)]


def _as_shell(step: Step) -> str:
    return step.code if step.language == "sh" else f"python - <<'END_OF_PYTHON'\n{step.code}END_OF_PYTHON"


def missing_lines(step: Step, output: str, tolerance: float = 0.05) -> list[str]:
    """Return the lines that the page shows and the block did not print.

    Numbers may differ by `tolerance`, as processors round differently; times and sizes should not be shown.
    """
    printed = [_words_and_numbers(line) for line in re.split(r"[\r\n]+", output)]
    shown = [line for line in step.shown if line.strip() not in ("", "...")]
    return [line for line in shown if not any(_alike(_words_and_numbers(line), each, tolerance) for each in printed)]


def _words_and_numbers(line: str) -> tuple[list[str], list[float]]:
    number = r"-?\d+(?:\.\d+)?"
    return re.sub(number, "#", line).split(), [float(text) for text in re.findall(number, line)]


def _alike(a: tuple[list[str], list[float]], b: tuple[list[str], list[float]], tolerance: float) -> bool:
    pairs = zip(a[1], b[1], strict=False)
    return a[0] == b[0] and all(abs(x - y) <= tolerance * max(abs(x), abs(y)) for x, y in pairs)


def main() -> None:
    """Run a page and show what its blocks print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("folder", type=Path, help="folder for the files, is created")
    parser.add_argument("--replace", nargs=2, action="append", default=[], metavar=("OLD", "NEW"))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    steps = read_steps(arguments.page)
    for step, output in zip(steps, run_steps(steps, arguments.folder, dict(arguments.replace)), strict=True):
        print(step.code, *(line for line in re.split(r"[\r\n]+", output) if line), sep="\n")
        print("not printed:", missing_lines(step, output), "\n")


if __name__ == "__main__":
    main()
