"""HTML of a report: one file without references to others."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.evaluation.report.figures import Bias, PlacePictures, Values

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; color: #1b1f24; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #d0d7de; }
h3 { font-size: 1em; }
table { border-collapse: collapse; } td, th { padding: .2em .8em .2em 0; text-align: left; vertical-align: top; }
th { font-weight: 600; white-space: nowrap; } .number td { text-align: right; }
figure { margin: 1em 0; } figcaption { color: #57606a; } figure img { width: 31%; image-rendering: pixelated; }
.warning { background: #fff8c5; padding: .5em 1em; } code { overflow-wrap: anywhere; }
"""

#: Width and height of a plot, and its margin, in pixels.
_PLOT_SIZE, _PLOT_MARGIN = (560, 220), 45


def render(title: str, sections: Sequence[tuple[str, str]]) -> str:
    """Return a page of sections, each a heading and its HTML."""
    body = "".join(f"<h2>{escape(heading)}</h2>{content}" for heading, content in sections)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )


def table(rows: Mapping[str, object]) -> str:
    """Return a table of names and values."""
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
    return f"<table>{lines}</table>"


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph, of a class if `kind` is given."""
    return f"<p{f' class={kind}' if kind else ''}>{escape(text)}</p>"


def heading(text: str) -> str:
    """Return the heading of a part of a section; nothing without a text."""
    return f"<h3>{escape(text)}</h3>" if text else ""


def places(pictures: Sequence[PlacePictures]) -> str:
    """Return the pictures of places: before, after, removed."""
    return "".join(
        f"<figure>{''.join(map(_image, (place.before, place.after, place.removed)))}"
        f"<figcaption>{escape(place.rule)}: before, after, removed (rows {place.row} on, columns {place.column} on of "
        "the part shown)</figcaption></figure>"
        for place in pictures
    )


def spectrum_plot(frequencies: Values, power: Values) -> str:
    """Return a plot of the spectrum of what was removed; 1 is that of white noise."""
    top = max(2.0, float(power.max()) * 1.1)
    return _plot(frequencies, power, (0.0, 0.5), (0.0, top), "cycles per pixel", "power / mean", reference=1.0)


def bias_table(rows: Sequence[Bias]) -> str:
    """Return a table of the mean of what was removed by intensity."""
    lines = "".join(
        f"<tr><td>{row.intensity:.4g}</td><td>{row.removed:+.3g}</td><td>{row.error:.2g}</td></tr>" for row in rows
    )
    head = "<tr><th>intensity</th><th>mean removed</th><th>standard error</th></tr>"
    return f'<table class="number">{head}{lines}</table>'


def _plot(
    xs: Values,
    ys: Values,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    x_label: str,
    y_label: str,
    reference: float,
) -> str:
    """Return a line plot as SVG, with a dashed line at a reference value."""
    (width, height), margin = _PLOT_SIZE, _PLOT_MARGIN

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_range[0]) / (x_range[1] - x_range[0])
        up = (y - y_range[0]) / (y_range[1] - y_range[0])
        return margin + across * (width - 2 * margin), height - margin - up * (height - 2 * margin)

    points = " ".join(f"{px:.1f},{py:.1f}" for px, py in (place(x, y) for x, y in zip(xs, ys, strict=True)))
    left, right = place(x_range[0], reference), place(x_range[1], reference)
    corner, end = place(x_range[0], y_range[0]), place(x_range[1], y_range[1])
    return (
        f'<svg width="{width}" height="{height}" font-size="12" font-family="sans-serif">'
        f'<polyline points="{corner[0]},{end[1]} {corner[0]},{corner[1]} {end[0]},{corner[1]}" '
        'fill="none" stroke="#888"/>'
        f'<line x1="{left[0]}" y1="{left[1]}" x2="{right[0]}" y2="{right[1]}" stroke="#888" stroke-dasharray="4"/>'
        f'<polyline points="{points}" fill="none" stroke="#0072b2" stroke-width="2"/>'
        f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">{escape(x_label)}</text>'
        f'<text x="12" y="{height / 2}" text-anchor="middle" transform="rotate(-90 12 {height / 2})">'
        f"{escape(y_label)}</text>"
        f'<text x="{corner[0] - 5}" y="{end[1] + 5}" text-anchor="end">{y_range[1]:.3g}</text>'
        f'<text x="{corner[0] - 5}" y="{corner[1]}" text-anchor="end">{y_range[0]:.3g}</text>'
        f'<text x="{end[0]}" y="{corner[1] + 15}" text-anchor="end">{x_range[1]:.3g}</text></svg>'
    )


def _image(picture: NDArray[np.uint8]) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="png")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"> '
