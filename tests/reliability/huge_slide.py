"""Job on a slide of 100 000 x 100 000 pixels: time of its plan, memory, and size of its journal.

    python -m tests.reliability.huge_slide [--side 100000]

The slide is a zarr of white background with scattered patches of tissue; a stub replaces the network, so that
everything else is measured. The job is cancelled half-way and resumed. Prints a table for docs/reliability.md.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import zarr
from tifffile import imread

from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Source
from masked_denoiser.jobs.pipeline.events import Finished, TileDone
from masked_denoiser.jobs.prepare import prepare_file
from masked_denoiser.jobs.resolve_job import resolve_job
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.samples import sample_path
from tests.stand_in import StandIn

#: Intensity of the background.
BACKGROUND = 240

#: Number of patches of tissue on a slide of 100 000 pixels.
PATCHES = 40
OPTIONS = Options(noise="none", skip_background=True, intensity=(0, 255))


def make_slide(path: Path, side: int) -> None:
    """Write a slide of background, which takes no space on disk, and patches of tissue, one in the last corner."""
    tissue = imread(sample_path("slide"))
    array = zarr.create_array(
        path,
        shape=(side, side, 3),
        chunks=(1024, 1024, 3),
        dtype="uint8",
        fill_value=BACKGROUND,
        dimension_names=["y", "x", "s"],
    )
    # Not the seed of jobs, which would sample exactly these positions.
    positions = np.random.default_rng(2026).integers(0, side - len(tissue), (PATCHES * side // 100_000, 2)).tolist()
    for y, x in [*positions, [side - len(tissue)] * 2]:
        array[y : y + len(tissue), x : x + len(tissue)] = tissue


@dataclass
class MemoryMonitor:
    """Monitor of the resident memory of this process, in bytes."""

    samples: list[int] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)

    def run(self, work: Callable[[], None]) -> None:
        """Run a function and sample the memory ten times a second meanwhile."""
        thread = threading.Thread(target=self._sample)
        thread.start()
        try:
            work()
        finally:
            self._end.set()
            thread.join()

    def _sample(self) -> None:
        process = psutil.Process()
        while not self._end.wait(0.1):
            self.samples.append(process.memory_info().rss)


def run(source: Source, output: Path, stop_at: float | None) -> int:
    """Run the job, up to a share of its tiles if given, and return the largest size of its journal in bytes."""
    model = tiny_model()
    prepared = prepare_file(source, output, model=model, options=OPTIONS, device="cpu", resume=stop_at is None)
    pipeline, journal = prepared.pipeline, Journal.path_for(output)
    pipeline.runner = StandIn(lambda tiles, *_: tiles)  # returns the tiles unchanged
    largest = 0
    for event in pipeline.run():
        if isinstance(event, TileDone):
            largest = journal.stat().st_size
            if stop_at is not None and event.progress.done >= stop_at * event.progress.total:
                pipeline.cancel.set()
        if isinstance(event, Finished):
            print(f"| background tiles copied unchanged in the second half | {event.skipped} |")
    return largest


def main() -> None:
    """Make the slide, plan the job and run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=100_000)
    side = parser.parse_args().side
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_slide(folder / "slide.zarr", side)
        with open_image(folder / "slide.zarr") as source:
            print(f"| a slide of {side} x {side} RGB | |\n| --- | --- |")
            _time_plan(source)
            monitor = MemoryMonitor()
            sizes: list[int] = []
            monitor.run(lambda: sizes.extend(run(source, folder / "out.ome.zarr", stop) for stop in (0.5, None)))
        early, late = (max(part) for part in np.array_split(monitor.samples, 2))
        print(f"| peak memory in the first and in the second half | {early / 2**20:.0f} and {late / 2**20:.0f} MiB |")
        print(f"| journal at its longest | {max(sizes) / 1e6:.2f} MB |")
        with open_image(folder / "out.ome.zarr") as out, open_image(folder / "slide.zarr") as source:
            result, expected = out.data[:, -512:, -512:], np.moveaxis(source.data[-512:, -512:], -1, 0)
            same = abs(result.astype(int) - expected).max() <= 1
            print(f"| last corner of the result as the network returned it | {'yes' if same else 'NO'} |")


def _time_plan(source: Source) -> None:
    """Print the time and the memory that the plan of the whole job takes."""
    process = psutil.Process()
    before, started = process.memory_info().rss, time.monotonic()
    job = resolve_job(source, "out.ome.zarr", model=tiny_model(), options=OPTIONS, device="cpu").job
    tiles = sum(len(group.tiles) for group in job.groups)
    seconds, growth = time.monotonic() - started, process.memory_info().rss - before
    print(f"| its plan, all {tiles} tiles visited | {seconds:.2f} s, {growth / 2**20:.0f} MiB |")


if __name__ == "__main__":
    main()
