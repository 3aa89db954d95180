"""Two worker processes against one, a thread each: how many times as fast.

    python scripts/worker_speed.py [--side 2048] [--model general-rgb]

Both run in turn, twice, on one machine. Prints a line of a table for docs/reliability.md.
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
from masked_denoiser.jobs.prepare import prepare_file_on
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.samples import sample_path


def seconds(cluster: Cluster, folder: Path, model: str) -> float:
    """A whole job on a cluster, from the first tile to the complete output."""
    options = Options(noise="sigma=15", tile=256)
    with open_image(folder / "in.zarr") as source:
        output = folder / "out.ome.zarr"
        prepared = prepare_file_on(
            cluster, source, output, model=model, options=options, device="cpu", overwrite=output.exists()
        )
        began = time.monotonic()
        for _ in prepared.pipeline.run():
            pass
        return time.monotonic() - began


def main() -> None:
    """Measures in the order 1, 2, 2, 1, so that a drift of the machine weighs on both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--model", default="general-rgb")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Cluster.local(1, threads=1) as one, Cluster.local(2, threads=1) as two:
        folder = Path(name)
        tissue = imread(sample_path("slide"))
        times = -(-asked.side // len(tissue))
        image = np.tile(tissue, (times, times, 1))[: asked.side, : asked.side]
        array = zarr.create_array(
            folder / "in.zarr", shape=image.shape, chunks=(512, 512, 3), dtype="uint8", dimension_names=["y", "x", "s"]
        )
        array[:] = image
        first, second = (seconds(cluster, folder, asked.model) for cluster in (one, two))
        fourth, third = (seconds(cluster, folder, asked.model) for cluster in (two, one))
    alone, both = first + third, second + fourth
    print(f"| {asked.model}, {asked.side} x {asked.side} | {alone / 2:.1f} s | {both / 2:.1f} s | {alone / both:.2f} |")


if __name__ == "__main__":
    main()
