"""Measures speed, and prints it as a table or as JSON.

python -m benchmarks                     # network, training step, whole pipeline (about ten minutes on two cores)
python -m benchmarks network --sides 256
python -m benchmarks --json --write docs/speed.md
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import machine, matrix_peak, peak_memory
from benchmarks.network import Row, network_rows, training_rows
from benchmarks.pipeline import pipeline_figures
from benchmarks.start import start_figures
from masked_denoiser.inference.device import choose_device

_PARTS = ("network", "training", "pipeline", "start")

_STARTS = {"help": "masked-denoiser --help", "import": "import masked_denoiser"}


def main() -> None:
    """Measures what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(_PARTS)} (default: all)")
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 1024], help="of the images, multiples of 64")
    parser.add_argument("--slide", type=int, default=4096, help="side of the pipeline's slide (default: 4096)")
    parser.add_argument("--device", default="auto", help="as of `denoise`")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the marks of this page")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(_PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(_PARTS)}")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    found = measure(asked)
    table = as_table(found)
    if asked.write:
        _put(asked.write, table)
    print(json.dumps(found, indent=1) if asked.json else table)


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """All figures, as plain JSON values."""
    device, _ = choose_device(asked.device)
    parts = asked.parts or _PARTS
    found: dict[str, Any] = {"machine": machine(device)}
    found["matrix_peak"] = {k: matrix_peak(device, getattr(torch, k)) for k in ("float32", "bfloat16")}
    rows: list[Row] = []
    if "network" in parts:
        rows += network_rows(tuple(asked.sides), device, ("float32", "bfloat16"))
    if "training" in parts:
        rows += training_rows(device)
    found["rows"] = [row.to_dict() for row in rows]
    found["peak_memory"] = peak_memory(device)
    if "start" in parts:
        found["start"] = start_figures()
    if "pipeline" in parts:
        found["pipeline"] = pipeline_figures(asked.slide, asked.device, torch.get_num_threads())
    return found


def as_table(found: dict[str, Any]) -> str:
    """Markdown."""
    peaks = ", ".join(f"{value / 1e9:.0f} GFLOP/s in {kind}" for kind, value in found["matrix_peak"].items())
    lines = [f"{found['machine']}; matrix product {peaks}.", ""]
    if found["rows"]:
        lines += [
            "| what | before, s | ours, s | times faster | megapixels/s | largest difference | dB lost | of the peak |"
        ]
        lines += ["| --- | --- | --- | --- | --- | --- | --- | --- |"]
        lines += map(_line, found["rows"])
    if "pipeline" in found:
        lines += ["", *_pipeline(found["pipeline"])]
    if "start" in found:
        lines += ["", "| start, without Python's own | |", "| --- | --- |"]
        lines += [f"| `{what}` | {found['start'][key]:.2f} s |" for key, what in _STARTS.items()]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    share = "" if row["peak_share"] is None else f"{row['peak_share']:.0%}"
    apart = "" if row["difference"] != row["difference"] else f"{row['difference']:.1e}"
    lost = "" if row["lost"] is None else f"{row['lost']:.3f}"
    return (
        f"| {row['what']} | {row['plain']:.3g} | {row['ours']:.3g} | {row['times']:.1f} | "
        f"{row['megapixels_a_second']:.3g} | {apart} | {lost} | {share} |"
    )


def _pipeline(figures: dict[str, Any]) -> list[str]:
    lines = [
        f"| a job: {figures['side']} x {figures['side']} RGB, zarr to OME-Zarr with a pyramid | |",
        "| --- | --- |",
        f"| with general-rgb | {figures['seconds']:.1f} s |",
        f"| the network is busy | {figures['network_share']:.1%} of it |",
    ]
    if "beside_the_network" in figures:
        lines.append(f"| all but the network, with a tiny network | {figures['beside_the_network']:.1%} of it |")
    peak, planned = figures["peak_memory"], figures["planned_memory"]
    said = f"`info --plan` said {planned / 2**20:.0f} MiB ({planned / peak - 1:+.0%})"
    lines.append(f"| peak memory | {peak / 2**20:.0f} MiB; {said} |")
    return lines


def _put(page: Path, table: str) -> None:
    """Replaces what stands between the marks."""
    begin, end = "<!-- benchmarks -->\n", "<!-- end of benchmarks -->"
    text = page.read_text()
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit(f"{page} lacks the lines {begin.strip()} and {end}")
    page.write_text(text[: text.index(begin) + len(begin)] + "\n" + table + "\n" + text[text.index(end) :])


if __name__ == "__main__":
    main()
