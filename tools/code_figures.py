"""Print measures of readability: sizes of folders, files and functions, and counts of words to avoid.

    python tools/code_figures.py

Lengths of functions are lines of their bodies without docstrings and comments. Exits with 1 if a limit is exceeded.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "masked_denoiser"
MAX_FILES, MAX_LINES, MAX_BODY, MAX_MEDIAN_BODY, MAX_P90_BODY = 13, 300, 45, 5, 15
AVOIDED_WORDS = ("said", "told", "beside", "passed through", "goes on", "whoever", "held")


def main() -> None:
    """Print all measures and mark those over their limit."""
    files = sorted(SOURCE.rglob("*.py"))
    lines = {path: len(path.read_text().splitlines()) for path in files}
    bodies = sorted(body for path in files for body in function_lengths(path))
    lengths = [length for length, _ in bodies]
    folders = {folder: len(list(folder.glob("*.py"))) for folder in {path.parent for path in files}}
    checks = [
        check("files in a folder", max((n, package_path(f)) for f, n in folders.items()), MAX_FILES),
        check("lines in a file", max((n, package_path(f)) for f, n in lines.items()), MAX_LINES),
        check("lines of a function, median", (lengths[len(lengths) // 2], ""), MAX_MEDIAN_BODY),
        check("lines of a function, 90th percentile", (lengths[len(lengths) * 9 // 10], ""), MAX_P90_BODY),
        check("lines of a function, longest", bodies[-1], MAX_BODY),
    ]
    print(f"{len(files)} files, {sum(lines.values())} lines, {len(bodies)} functions")
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for word in AVOIDED_WORDS:
        source, prose = (count_lines(word, paths) for paths in (files, pages))
        print(f"{word!r}: {source} lines of the source, {prose} of the documents")
    sys.exit(not all(checks))


def check(measure: str, largest: tuple[int, str], limit: int) -> bool:
    """Print a value with its location and return whether it is within its limit."""
    value, location = largest
    place = f" ({location})" if location else ""
    print(f"{measure}: {value}{place}, at most {limit}{'' if value <= limit else ' <-- over'}")
    return value <= limit


def package_path(path: Path) -> str:
    """Return a path relative to the folder of the package."""
    return str(path.relative_to(SOURCE.parent))


def function_lengths(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of code in the body of each function, and the location of the function."""
    text = path.read_text()
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = range(body[0].lineno, (body[-1].end_lineno or 0) + 1) if body else range(0)
            yield len(code.intersection(lines)), f"{package_path(path)}:{node.lineno} {node.name}"


def count_lines(word: str, paths: list[Path]) -> int:
    """Count the lines of some files that contain a word."""
    pattern = re.compile(rf"\b{word}\b", re.IGNORECASE)
    return sum(bool(pattern.search(line)) for path in paths for line in path.read_text().splitlines())


if __name__ == "__main__":
    main()
