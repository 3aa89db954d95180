"""Speed of two worker processes relative to one, with one thread each.

    python -m benchmarks.worker_speed [--side 2048] [--model general-rgb]

Runs each twice on one machine. Prints a line of a table for docs/reliability.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr
from tifffile import imread

from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.cluster.cluster import Cluster
from masked_denoiser.jobs.prepare import prepare_file
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.samples import sample_path


def seconds(cluster: Cluster, folder: Path, model: str) -> float:
    """Return the seconds of a job on a cluster, from the first tile to the complete output."""
    options = Options(noise="sigma=15", tile=256)
    with open_image(folder / "in.zarr") as source:
        output = folder / "out.ome.zarr"
        prepared = prepare_file(
            source,
            output,
            model=model,
            options=options,
            device="cpu",
            executor=cluster,
            overwrite=output.exists(),
        )
        started = time.monotonic()
        for _ in prepared.pipeline.run():
            pass
        return time.monotonic() - started


def main() -> None:
    """Measure in the order 1, 2, 2, 1 workers, so that a drift of the machine's speed affects both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--model", default="general-rgb")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Cluster.local(1, threads=1) as one, Cluster.local(2, threads=1) as two:
        folder = Path(name)
        tissue = imread(sample_path("slide"))
        repeats = -(-arguments.side // len(tissue))
        image = np.tile(tissue, (repeats, repeats, 1))[: arguments.side, : arguments.side]
        array = zarr.create_array(
            folder / "in.zarr", shape=image.shape, chunks=(512, 512, 3), dtype="uint8", dimension_names=["y", "x", "s"]
        )
        array[:] = image
        first, second = (seconds(cluster, folder, arguments.model) for cluster in (one, two))
        fourth, third = (seconds(cluster, folder, arguments.model) for cluster in (two, one))
    single, double = first + third, second + fourth
    job = f"{arguments.model}, {arguments.side} x {arguments.side}"
    print(f"| {job} | {single / 2:.1f} s | {double / 2:.1f} s | {single / double:.2f} |")


if __name__ == "__main__":
    main()
