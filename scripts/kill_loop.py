"""Kills jobs at random moments, goes on with them, and compares: every byte must be as if nothing had happened.

    python scripts/kill_loop.py                 30 jobs of one process, killed
    python scripts/kill_loop.py --workers 2     30 jobs of two workers, of which one is killed each time
    python scripts/kill_loop.py --driver        30 jobs of two workers, whose driver is killed

Prints a line of a table for docs/reliability.md, and fails if one job did not end as it should.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
import zarr
from ome_zarr_models import open_ome_zarr

from masked_denoiser.cli.main import main as command
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.jobs.cluster.cluster import Cluster

SIDE, TILE = 256, 32

#: Moments are up to so many times as late as an undisturbed process ends.
LATEST = 1.2
SUFFIXES = (".ome.zarr", ".ome.tif")


def make_input(folder: Path) -> None:
    """An RGB zarr of noise, and a model that computes as ours do, in a hundredth of the time."""
    array = zarr.create_array(
        folder / "in.zarr", shape=(SIDE, SIDE, 3), chunks=(64, 64, 3), dtype="uint8", dimension_names=["y", "x", "s"]
    )
    array[:] = np.random.default_rng(0).integers(0, 256, array.shape).astype(np.uint8)
    tiny_model().save(folder / "tiny.safetensors")


def fingerprint(output: Path) -> str:
    """Of all files of an output, names and bytes."""
    files = [output] if output.is_file() else sorted(path for path in output.rglob("*") if path.is_file())
    sha = hashlib.sha256()
    for file in files:
        sha.update(str(file.relative_to(output)).encode() + b"\0" + file.read_bytes())
    return sha.hexdigest()


def check_readable(output: Path) -> None:
    """That others open it."""
    if output.suffix == ".zarr":
        open_ome_zarr(zarr.open_group(output, mode="r"))
    else:
        assert tifffile.imread(output).shape == (SIDE, SIDE, 3)


def arguments(folder: Path, output: Path, *more: str) -> list[str]:
    """Of the command."""
    settings = ["--model", str(folder / "tiny.safetensors"), "--noise", "none", "--tile", str(TILE), "--halo", "8"]
    where = [str(folder / "in.zarr"), str(output), "--device", "cpu", "--threads", "1", "--quiet"]
    return ["denoise", *where, *settings, *more]


def begin(words: list[str]) -> int:
    """The command in a process of its own, a fork of this one, which has torch loaded; its number."""
    child = os.fork()
    if child:
        return child
    with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        code = command(words)
    os._exit(code)


def finish(words: list[str]) -> int:
    """The command, to its end; its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(begin(words), 0)[1])


def kill_after(seconds: float, child: int) -> None:
    """Ends a process in the middle of what it does."""
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


Attempt = Callable[[Path, float], None]


def processes(folder: Path) -> Attempt:
    """One process a job, which is killed and begun again."""

    def attempt(output: Path, moment: float) -> None:
        kill_after(moment, begin(arguments(folder, output)))
        code = finish(arguments(folder, output, "--resume"))
        assert code == 0 or not list(output.parent.glob(f"{output.name}.journal")), f"resuming gave {code}"

    return attempt


def workers(folder: Path, cluster: Cluster, rng: np.random.Generator) -> Attempt:
    """A job on workers, of which one is killed while the others go on."""
    from masked_denoiser.images.open import open_image
    from masked_denoiser.jobs.prepare import prepare_file_on
    from masked_denoiser.jobs.spec.options import Options

    def attempt(output: Path, moment: float) -> None:
        victim = int(rng.choice(_alive(cluster)))
        options = Options(noise="none", tile=TILE, halo=8)
        with open_image(folder / "in.zarr") as source:
            prepared = prepare_file_on(
                cluster, source, output, model=folder / "tiny.safetensors", options=options, device="cpu"
            )
            timer = threading.Timer(moment, os.kill, (victim, signal.SIGKILL))
            timer.start()
            for _ in prepared.pipeline.run():
                pass
            timer.join()

    return attempt


def _alive(cluster: Cluster) -> list[int]:
    """Processes of the workers, once all of them are there: a nanny begins one anew that was killed."""
    while True:
        pids = cluster.client.run(os.getpid, on_error="ignore").values()
        alive = sorted(pid for pid in pids if isinstance(pid, int) and Path(f"/proc/{pid}").exists())
        if len(alive) == 2:
            return alive
        time.sleep(0.2)


def drivers(folder: Path, address: str) -> Attempt:
    """A job whose driver is killed; another driver goes on with the same workers."""

    def attempt(output: Path, moment: float) -> None:
        kill_after(moment, begin(arguments(folder, output, "--scheduler", address)))
        code = finish(arguments(folder, output, "--scheduler", address, "--resume"))
        assert code == 0 or not list(output.parent.glob(f"{output.name}.journal")), f"resuming gave {code}"

    return attempt


def reference(folder: Path, suffix: str) -> tuple[str, float]:
    """What an undisturbed job writes, and how long it takes."""
    began = time.monotonic()
    assert finish(arguments(folder, folder / f"whole{suffix}")) == 0
    return fingerprint(folder / f"whole{suffix}"), time.monotonic() - began


def loop(
    folder: Path, attempt: Attempt, wanted: dict[str, tuple[str, float]], count: int, rng: np.random.Generator
) -> str:
    """Kills `count` jobs at random moments; what came of it, in words."""
    same = 0
    for number in range(count):
        suffix = SUFFIXES[number % len(SUFFIXES)]
        output = folder / f"killed-{number}{suffix}"
        sha, seconds = wanted[suffix]
        attempt(output, float(rng.uniform(0, LATEST * seconds)))
        left = sorted(path.name for path in output.parent.glob(f"{output.name}.*"))
        good = fingerprint(output) == sha and not left
        check_readable(output)
        same += good
        print(f"{number + 1}: {'same bytes' if good else f'DIFFERS, {left}'}", file=sys.stderr)
    return f"{same} of {count}"


def main() -> None:
    """Reads the command line and runs one of the loops."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--driver", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(asked.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_input(folder)
        wanted = {suffix: reference(folder, suffix) for suffix in SUFFIXES}  # before this process has threads
        if asked.driver:
            what = "the driver of 2 workers"
            with _scheduler(folder) as address:
                result = loop(folder, drivers(folder, address), wanted, asked.count, rng)
        elif asked.workers:
            what = f"1 of {asked.workers} workers"
            with Cluster.local(asked.workers, threads=1) as cluster:
                result = loop(folder, workers(folder, cluster, rng), wanted, asked.count, rng)
        else:
            what = "the only process"
            result = loop(folder, processes(folder), wanted, asked.count, rng)
    print(f"| {what} | {asked.count} | {result} |")
    sys.exit(result != f"{asked.count} of {asked.count}")


@contextmanager
def _scheduler(folder: Path) -> Iterator[str]:
    """Address of a scheduler with two workers, each a process of its own, as on a real cluster."""
    file = folder / "scheduler.json"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    python = [sys.executable, "-m"]
    scheduler = [*python, "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file"]
    worker = [*python, "distributed.cli.dask_worker", "--nthreads", "1", "--no-dashboard", "--scheduler-file"]
    begun = [subprocess.Popen([*words, str(file)], **quiet) for words in (scheduler, worker, worker)]
    try:
        while not file.exists():
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"]
    finally:
        for process in reversed(begun):
            process.terminate()
        for process in begun:
            process.wait(30)


if __name__ == "__main__":
    main()
