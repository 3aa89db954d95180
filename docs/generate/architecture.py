"""Generator of docs/images/architecture.svg: the layers of the package, and the path of a pixel from file to file.

    python docs/generate/architecture.py

The layers are those of the import contract in pyproject.toml.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from html import escape
from pathlib import Path

_ROOT = Path(__file__).parents[2]
DRAWING = _ROOT / "docs" / "images" / "architecture.svg"

_WIDTH, _HEIGHT, _LEFT, _MIDDLE, _RIGHT = 1170, 730, 30, 500, 900

#: Width of a character in pixels, an upper estimate for sans-serif and monospaced fonts of this size.
_FONT_SIZE, _CHARACTER_WIDTH = 13, 7.2

_PURPOSES = {
    "plugin": "docks, reader, writer",
    "cli": "commands",
    "training": "data, recipe, trainer, validation",
    "evaluation": "metrics, comparisons, safety report",
    "jobs": "options to job; pipeline, journal, cluster",
    "denoising": "noise treatment around the network",
    "inference": "model on a device: runner, memory",
    "models": "model files, cards, catalogue",
    "network": "torch modules",
    "noise": "estimation",
    "images": "files, axes",
    "tiling": "tile plan",
}

_COLOURS = {
    "plugin": "#e7e0f5",
    "cli": "#e7e0f5",
    "training": "#fbe3d6",
    "evaluation": "#fbe3d6",
    "jobs": "#d6e8fb",
    "denoising": "#d9f0dc",
    "inference": "#fdf1c7",
    "models": "#fdf1c7",
    "network": "#fdf1c7",
    "noise": "#d9f0dc",
    "images": "#f6d9e6",
    "tiling": "#d6e8fb",
}

#: (package, title, explanation) of each step from the input to the output.
_STEPS = (
    ("images", "images.open_image", "reader finds axes, levels, metadata"),
    ("images", "Source", "lazily read image; Source.read(plane, ys, xs)"),
    ("jobs", "TileStages.read", "tile with halo, in units of its intensity range"),
    ("denoising", "TileDenoiser.submit", "impulses, stabilization, exposures, strides"),
    ("denoising", "limit_correction", "no more is removed than the measured noise"),
    ("jobs", "TileStages.to_image_units", "core of the tile, in the dtype of the result"),
    ("images", "Sink.write", "a group of tiles, in any order"),
)

#: (package, title, explanation, number of the step next to it, arrow) of what the steps use.
_PARTS = (
    ("jobs", "jobs.resolve_job", "options, model, device, noise", 0, ""),
    ("jobs", "Job", "all that decides the result", 1, ""),
    ("tiling", "tiling.Plan", "tiles and groups", 2, "to"),
    ("inference", "ModelRunner", "network, device, batch", 3, "both"),
    ("jobs", "Journal", "finished groups, on disk", 6, "from"),
)


def main() -> None:
    """Write the drawing."""
    DRAWING.write_text(draw(), encoding="utf-8")


def draw() -> str:
    """Return the drawing as SVG."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
            f'height="{_HEIGHT}" font-family="Helvetica, Arial, sans-serif" font-size="{_FONT_SIZE}" fill="#1a1a1a">',
            "<title>Architecture of masked_denoiser</title>",
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
            *_text(_LEFT, 40, "Layers: imports point downwards only", bold=True),
            *_layers(),
            *_text(_MIDDLE, 40, "Path of a pixel, from file to file", bold=True),
            *_path(),
            "</svg>\n",
        ]
    )


def _layers() -> list[str]:
    """Return the layers of the import contract, each with its packages side by side."""
    contracts = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(contract["layers"] for contract in contracts["contracts"] if contract["type"] == "layers")
    packages = [[name.strip(" ()") for name in layer.split("|")] for layer in layers]
    modules = sorted(name for layer in packages for name in layer if name not in {*_PURPOSES, "__main__"})
    rows = [layer for layer in packages if layer[0] in _PURPOSES]
    parts, top, width = [], 60, 430
    for row in rows:
        side = (width - 8 * (len(row) - 1)) / len(row)
        for number, name in enumerate(row):
            parts += _box(_LEFT + number * (side + 8), top, side, 62, name, _PURPOSES[name], _COLOURS[name])
        top += 74
    return parts + _box(_LEFT, top, width, 62, "single modules", ", ".join(modules), "#eeeeee")


def _path() -> list[str]:
    """Return the steps between input and output, and what they use."""
    parts, width, height, pitch = [], 350, 52, 80
    parts += _file(_MIDDLE, 56, width, "input: TIFF, SVS, zarr, PNG, JPEG or array")
    for number, (package, title, explanation) in enumerate(_STEPS):
        top = 114 + number * pitch
        parts += _arrow(_MIDDLE + width / 2, top - 28, _MIDDLE + width / 2, top)
        parts += _box(_MIDDLE, top, width, height, title, explanation, _COLOURS[package])
    end = 114 + len(_STEPS) * pitch
    parts += _arrow(_MIDDLE + width / 2, end - 28, _MIDDLE + width / 2, end)
    parts += _file(_MIDDLE, end, width, "output: OME-Zarr, OME-TIFF or array")
    for package, title, explanation, number, arrow in _PARTS:
        top = 114 + number * pitch
        parts += _box(_RIGHT, top, 240, height, title, explanation, _COLOURS[package])
        start, stop = (_MIDDLE + width, _RIGHT) if arrow == "from" else (_RIGHT, _MIDDLE + width)
        if arrow:
            parts += _arrow(start, top + height / 2, stop, top + height / 2, both=arrow == "both")
    for top in (114, 114 + pitch):
        parts += _arrow(_RIGHT + 120, top + height, _RIGHT + 120, top + pitch)
    return parts


def _box(x: float, y: float, width: float, height: float, title: str, explanation: str, colour: str) -> list[str]:
    """Return a rectangle with a title and an explanation below it."""
    box = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{colour}" stroke="#555"/>'
    middle, centre = x + width / 2, y + height / 2
    _check_width((title, explanation), width)
    return [
        box,
        *_text(middle, centre - 5, title, bold=True, anchor="middle"),
        *_text(middle, centre + 15, explanation, anchor="middle"),
    ]


def _file(x: float, y: float, width: float, label: str) -> list[str]:
    """Return a dashed rectangle with a label, for a file."""
    _check_width((label,), width)
    return [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="30" fill="none" stroke="#555" stroke-dasharray="5 3"/>',
        *_text(x + width / 2, y + 20, label, anchor="middle"),
    ]


def _arrow(x: float, y: float, to_x: float, to_y: float, *, both: bool = False) -> list[str]:
    """Return a horizontal or vertical arrow, with heads at both ends if asked."""
    line = f'<line x1="{x:g}" y1="{y:g}" x2="{to_x:g}" y2="{to_y:g}" stroke="#333" stroke-width="1.5"/>'
    return [line, _head(x, y, to_x, to_y), *([_head(to_x, to_y, x, y)] if both else [])]


def _head(x: float, y: float, to_x: float, to_y: float) -> str:
    length = max(abs(to_x - x), abs(to_y - y))
    dx, dy = 8 * (to_x - x) / length, 8 * (to_y - y) / length
    points = ((to_x, to_y), (to_x - dx - dy / 2, to_y - dy - dx / 2), (to_x - dx + dy / 2, to_y - dy + dx / 2))
    return f'<polygon points="{" ".join(f"{a:g},{b:g}" for a, b in points)}" fill="#333"/>'


def _text(x: float, y: float, text: str, *, bold: bool = False, anchor: str = "start") -> list[str]:
    weight = ' font-weight="bold"' if bold else ""
    return [f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{weight}>{escape(text)}</text>']


def _check_width(texts: Sequence[str], width: float) -> None:
    for text in texts:
        if len(text) * _CHARACTER_WIDTH > width:
            raise ValueError(f"{text!r} may not fit into {width:.0f} pixels; shorten it")


if __name__ == "__main__":
    main()
