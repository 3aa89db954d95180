"""Measure speed and memory, and print them as a table or as JSON.

python -m benchmarks                     # network, training step, whole pipeline (about ten minutes on two cores)
python -m benchmarks network --sides 256
python -m benchmarks --json --write docs/speed.md
python -m benchmarks peers --help         # comparison with other programs
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import describe_machine, measure_matrix_peak, peak_memory
from benchmarks.network import Row, measure_network, measure_training
from benchmarks.pages import replace_between
from benchmarks.peers import command as peers
from benchmarks.pipeline import measure_pipeline
from benchmarks.precision import measure_precision, precision_table
from benchmarks.profile import measure_profile, profile_table
from benchmarks.start import measure_first_result, measure_startup
from masked_denoiser.inference.device import choose_device

#: Parts of the benchmark.
_PARTS = ("network", "training", "pipeline", "start", "precision", "profile")

#: Rows of the startup table, by key of its figures.
_STARTUP_ROWS = {"help": "masked-denoiser --help", "import": "import masked_denoiser"}

#: Parts of the time to the first result, by key of its figures.
_FIRST_RESULT_PARTS = {
    "torch": "import of torch",
    "package": "other imports",
    "noise": "model, measurement of the noise and trial of treatments",
    "network": "network",
}


def main() -> None:
    """Measure the chosen parts, or compare with other programs."""
    if sys.argv[1:2] == ["peers"]:
        peers.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(_PARTS)} (default: all)")
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 1024], help="sides of images, multiples of 64")
    parser.add_argument("--slide", type=int, default=4096, help="side of the pipeline's slide (default: 4096)")
    parser.add_argument("--device", default="auto", help="device, as for `denoise`")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the table of this page")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(_PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}; choose from {', '.join(_PARTS)}")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    figures = measure(arguments)
    table = as_table(figures)
    if arguments.write:
        replace_between(arguments.write, "benchmarks", table)
    print(json.dumps(figures, indent=1) if arguments.json else table)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all figures as JSON values."""
    device, _ = choose_device(arguments.device)
    parts = arguments.parts or _PARTS
    figures: dict[str, Any] = {"machine": describe_machine(device)}
    figures["matrix_peak"] = {k: measure_matrix_peak(device, getattr(torch, k)) for k in ("float32", "bfloat16")}
    rows: list[Row] = []
    if "network" in parts:
        rows += measure_network(tuple(arguments.sides), device, ("float32", "bfloat16"))
    if "training" in parts:
        rows += measure_training(device)
    figures["rows"] = [row.to_dict() for row in rows]
    figures["peak_memory"] = peak_memory(device)
    if "profile" in parts:
        figures["profile"] = measure_profile()
    if "precision" in parts:
        figures["precision"] = measure_precision()
    if "start" in parts:
        figures["start"] = measure_startup()
        figures["first_result"] = measure_first_result()
    if "pipeline" in parts:
        figures["pipeline"] = measure_pipeline(arguments.slide, arguments.device, torch.get_num_threads())
    return figures


def as_table(figures: dict[str, Any]) -> str:
    """Return the figures as Markdown tables."""
    peaks = ", ".join(f"{value / 1e9:.0f} GFLOP/s in {kind}" for kind, value in figures["matrix_peak"].items())
    lines = [f"{figures['machine']}; matrix product {peaks}.", ""]
    if figures["rows"]:
        lines += [
            "| what | before, s | ours, s | times faster | megapixels/s | largest difference | dB lost | of the peak |"
        ]
        lines += ["| --- | --- | --- | --- | --- | --- | --- | --- |"]
        lines += map(_network_row, figures["rows"])
    if "pipeline" in figures:
        lines += ["", *_pipeline_table(figures["pipeline"])]
    if "start" in figures:
        lines += ["", "| start, without Python's own | |", "| --- | --- |"]
        lines += [f"| `{what}` | {figures['start'][key]:.2f} s |" for key, what in _STARTUP_ROWS.items()]
        parts = figures["first_result"]
        named = ", ".join(f"{what} {parts[key]:.2f} s" for key, what in _FIRST_RESULT_PARTS.items())
        lines.append(f"| first result, sample slide of 512 x 512 | {sum(parts.values()):.2f} s: {named} |")
    if "profile" in figures:
        lines += ["", *profile_table(figures["profile"])]
    if "precision" in figures:
        lines += ["", *precision_table(figures["precision"])]
    return "\n".join(lines) + "\n"


def _network_row(row: dict[str, Any]) -> str:
    share = "" if row["peak_share"] is None else f"{row['peak_share']:.0%}"
    difference = "" if row["difference"] != row["difference"] else f"{row['difference']:.1e}"
    lost = "" if row["lost"] is None else f"{row['lost']:.3f}"
    return (
        f"| {row['what']} | {row['plain']:.3g} | {row['ours']:.3g} | {row['times']:.1f} | "
        f"{row['megapixels_a_second']:.3g} | {difference} | {lost} | {share} |"
    )


def _pipeline_table(figures: dict[str, Any]) -> list[str]:
    lines = [
        f"| a job: {figures['side']} x {figures['side']} RGB, zarr to OME-Zarr with a pyramid | |",
        "| --- | --- |",
        f"| with general-rgb | {figures['seconds']:.1f} s |",
        f"| its main thread (preparation, network) is busy | {figures['network_share']:.1%} of it |",
    ]
    if "beside_the_network" in figures:
        lines.append(
            f"| left of it with a tiny network, without the main thread | {figures['beside_the_network']:.1%} of it |"
        )
    peak, planned = figures["peak_memory"], figures["planned_memory"]
    estimate = f"`info --plan` estimated {planned / 2**20:.0f} MiB ({planned / peak - 1:+.0%})"
    lines.append(f"| peak memory | {peak / 2**20:.0f} MiB; {estimate} |")
    return lines


if __name__ == "__main__":
    main()
