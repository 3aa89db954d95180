"""A slide of 100 000 x 100 000 pixels: how long its plan takes, and that memory stays flat and the journal small.

    python scripts/huge_slide.py [--side 100000]

The slide is a zarr of white paper with a patch of tissue here and there; the network is a stub, so that all but the
network is measured. The job is cancelled half-way and resumed. Prints a table for docs/reliability.md.
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
from masked_denoiser.inference.runner import Batch, Denoised
from masked_denoiser.jobs.executor import LocalExecutor
from masked_denoiser.jobs.pipeline.events import Finished, TileDone
from masked_denoiser.jobs.prepare import prepare_file, resolve_job
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.storage.journal import Journal
from masked_denoiser.samples import sample_path

#: Brightness of the paper, and how many patches a slide of 100 000 pixels has.
PAPER, PATCHES = 240, 40
OPTIONS = Options(noise="none", skip_background=True, intensity=(0, 255))


def make_slide(path: Path, side: int) -> None:
    """White paper, which takes no room, and patches of tissue, of which one lies in the very last corner."""
    tissue = imread(sample_path("slide"))
    array = zarr.create_array(
        path,
        shape=(side, side, 3),
        chunks=(1024, 1024, 3),
        dtype="uint8",
        fill_value=PAPER,
        dimension_names=["y", "x", "s"],
    )
    # Not the seed of jobs, whose sample would look at these very places.
    places = np.random.default_rng(2026).integers(0, side - len(tissue), (PATCHES * side // 100_000, 2)).tolist()
    for y, x in [*places, [side - len(tissue)] * 2]:
        array[y : y + len(tissue), x : x + len(tissue)] = tissue


@dataclass
class Watch:
    """Resident memory of this process while something runs, in bytes."""

    seen: list[int] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)

    def run(self, work: Callable[[], None]) -> None:
        """Looks ten times a second."""
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            work()
        finally:
            self._end.set()
            thread.join()

    def _look(self) -> None:
        process = psutil.Process()
        while not self._end.wait(0.1):
            self.seen.append(process.memory_info().rss)


def stub(tiles: Batch, origins: tuple[tuple[int, int], ...], noise: Batch | None = None) -> Denoised:
    """A network that gives back what it got."""
    del origins, noise
    return Denoised(tiles, None)


def run(source: Source, output: Path, stop_at: float | None) -> int:
    """Runs the job, or a part of it; the largest size of its journal in bytes."""
    model = tiny_model()
    prepared = prepare_file(source, output, model=model, options=OPTIONS, device="cpu", resume=stop_at is None)
    pipeline, journal = prepared.pipeline, Journal.beside(output)
    pipeline.denoiser = stub
    largest = 0
    for event in pipeline.run():
        if isinstance(event, TileDone):
            largest = journal.stat().st_size
            if stop_at is not None and event.progress.done >= stop_at * event.progress.total:
                pipeline.cancel.set()
        if isinstance(event, Finished):
            print(f"| tiles passed through as background in the second half | {event.skipped} |")
    return largest


def main() -> None:
    """Makes the slide, plans the job, and runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=100_000)
    side = parser.parse_args().side
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_slide(folder / "slide.zarr", side)
        with open_image(folder / "slide.zarr") as source:
            print(f"| a slide of {side} x {side} RGB | |\n| --- | --- |")
            _plan(source)
            watch = Watch()
            sizes: list[int] = []
            watch.run(lambda: sizes.extend(run(source, folder / "out.ome.zarr", stop) for stop in (0.5, None)))
        early, late = (max(part) for part in np.array_split(watch.seen, 2))
        print(f"| peak memory in the first and in the second half | {early / 2**20:.0f} and {late / 2**20:.0f} MiB |")
        print(f"| journal at its longest | {max(sizes) / 1e6:.2f} MB |")
        with open_image(folder / "out.ome.zarr") as out, open_image(folder / "slide.zarr") as source:
            corner = out.data[:, -512:, -512:], np.moveaxis(source.data[-512:, -512:], -1, 0)
            same = abs(corner[0].astype(int) - corner[1]).max() <= 1
            print(f"| its last corner is as the stub left it | {'yes' if same else 'NO'} |")


def _plan(source: Source) -> None:
    """Times the plan of the whole job."""
    process = psutil.Process()
    before, began = process.memory_info().rss, time.monotonic()
    job = resolve_job(LocalExecutor(), source, "out.ome.zarr", model=tiny_model(), options=OPTIONS, device="cpu").job
    tiles = sum(len(group.tiles) for group in job.groups)
    seconds, grown = time.monotonic() - began, process.memory_info().rss - before
    print(f"| its plan, all {tiles} tiles visited | {seconds:.2f} s, {grown / 2**20:.0f} MiB |")


if __name__ == "__main__":
    main()
