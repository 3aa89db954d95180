"""Tables between marks of a page of the documentation."""

from __future__ import annotations

from pathlib import Path


def replace_between(page: Path, mark: str, text: str) -> None:
    """Replace what stands between the lines `<!-- MARK -->` and `<!-- end of MARK -->`.

    Raises:
        SystemExit: if the page does not have each mark once.
    """
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
    old = page.read_text()
    if old.count(begin) != 1 or old.count(end) != 1:
        raise SystemExit(f"{page} lacks the lines {begin.strip()} and {end}")
    page.write_text(old[: old.index(begin) + len(begin)] + "\n" + text + "\n" + old[old.index(end) :])
