"""Write the table of formats that are read into docs/formats.md, from the table of suffixes.

python docs/generate/formats_table.py
"""

from __future__ import annotations

from pathlib import Path

from masked_denoiser.images.suffixes import FORMATS, FileFormat

PAGE = Path(__file__).parents[1] / "formats.md"

_BEGIN = "<!-- written by docs/generate/formats_table.py -->"
_END = "<!-- end of the table -->"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


def page() -> str:
    """Return the text of the page with the current table."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n\n{_table()}\n\n{_END}{after}"


def _table() -> str:
    head = "| format | suffixes | pyramid | pixel size from | extra |\n| --- | --- | --- | --- | --- |"
    return "\n".join([head, *map(_row, FORMATS)])


def _row(each: FileFormat) -> str:
    suffixes = " ".join(f"`{suffix}`" for suffix in each.suffixes)
    extra = f"`{each.extra}`" if each.extra else ""
    return f"| {each.name} | {suffixes} | {each.pyramid} | {each.pixel_size} | {extra} |"


if __name__ == "__main__":
    main()
