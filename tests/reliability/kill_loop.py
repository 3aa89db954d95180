"""Jobs that are killed at random moments and resumed: each output must equal that of an undisturbed job in all bytes.

    python -m tests.reliability.kill_loop                 30 jobs of one process, which is killed
    python -m tests.reliability.kill_loop --workers 2     30 jobs of two workers, of which one is killed each time
    python -m tests.reliability.kill_loop --driver        30 jobs of two workers, whose driver is killed

Prints a line of a table for docs/reliability.md, and fails if an output differs.
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

from masked_denoiser.cli.main import main as run_command
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.jobs.cluster.cluster import Cluster

#: Sides in pixels of the image and of a tile.
SIDE, TILE = 256, 32

#: Latest time of a kill, as a multiple of the duration of an undisturbed job.
LATEST_KILL = 1.2
SUFFIXES = (".ome.zarr", ".ome.tif")


def make_input(folder: Path) -> None:
    """Write an RGB zarr of random pixels and a small random model."""
    array = zarr.create_array(
        folder / "in.zarr", shape=(SIDE, SIDE, 3), chunks=(64, 64, 3), dtype="uint8", dimension_names=["y", "x", "s"]
    )
    array[:] = np.random.default_rng(0).integers(0, 256, array.shape).astype(np.uint8)
    tiny_model().save(folder / "tiny.safetensors")


def fingerprint(output: Path) -> str:
    """Return a hash of the names and bytes of all files of an output."""
    files = [output] if output.is_file() else sorted(path for path in output.rglob("*") if path.is_file())
    sha = hashlib.sha256()
    for file in files:
        sha.update(str(file.relative_to(output)).encode() + b"\0" + file.read_bytes())
    return sha.hexdigest()


def check_readable(output: Path) -> None:
    """Open an output with another library."""
    if output.suffix == ".zarr":
        open_ome_zarr(zarr.open_group(output, mode="r"))
    else:
        assert tifffile.imread(output).shape == (SIDE, SIDE, 3)


def arguments(folder: Path, output: Path, *more: str) -> list[str]:
    """Return the arguments of the command."""
    options = ["--model", str(folder / "tiny.safetensors"), "--noise", "none", "--tile", str(TILE), "--halo", "8"]
    paths = [str(folder / "in.zarr"), str(output), "--device", "cpu", "--threads", "1", "--quiet"]
    return ["denoise", *paths, *options, *more]


def start(command_line: list[str]) -> int:
    """Start the command in a fork of this process, which has torch loaded, and return its process id."""
    child = os.fork()
    if child:
        return child
    with Path(os.devnull).open("w") as null, redirect_stdout(null), redirect_stderr(null):
        code = run_command(command_line)
    os._exit(code)


def run_to_end(command_line: list[str]) -> int:
    """Run the command in a fork of this process and return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(start(command_line), 0)[1])


def kill_after(seconds: float, child: int) -> None:
    """Kill a process after some seconds."""
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


#: Function that runs a job to this output, with a kill after this many seconds.
Attempt = Callable[[Path, float], None]


def kill_process(folder: Path) -> Attempt:
    """Return an attempt whose only process is killed, and which is resumed by a new process."""

    def attempt(output: Path, delay: float) -> None:
        kill_after(delay, start(arguments(folder, output)))
        code = run_to_end(arguments(folder, output, "--resume"))
        assert code == 0 or not list(output.parent.glob(f"{output.name}.journal")), f"resuming gave {code}"

    return attempt


def kill_worker(folder: Path, cluster: Cluster, rng: np.random.Generator) -> Attempt:
    """Return an attempt with one worker killed while the others continue."""
    from masked_denoiser.images.open import open_image
    from masked_denoiser.jobs.prepare import prepare_file
    from masked_denoiser.jobs.spec.options import Options

    def attempt(output: Path, delay: float) -> None:
        victim = int(rng.choice(_live_workers(cluster)))
        options = Options(noise="none", tile=TILE, halo=8)
        with open_image(folder / "in.zarr") as source:
            prepared = prepare_file(
                source, output, model=folder / "tiny.safetensors", options=options, device="cpu", executor=cluster
            )
            timer = threading.Timer(delay, os.kill, (victim, signal.SIGKILL))
            timer.start()
            for _ in prepared.pipeline.run():
                pass
            timer.join()

    return attempt


def _live_workers(cluster: Cluster) -> list[int]:
    """Return the process ids of both workers, once the nanny has restarted one that was killed."""
    while True:
        pids = cluster.client.run(os.getpid, on_error="ignore").values()
        alive = sorted(pid for pid in pids if isinstance(pid, int) and Path(f"/proc/{pid}").exists())
        if len(alive) == 2:
            return alive
        time.sleep(0.2)


def kill_driver(folder: Path, address: str) -> Attempt:
    """Return an attempt whose driver is killed, and which another driver resumes on the same workers."""

    def attempt(output: Path, delay: float) -> None:
        kill_after(delay, start(arguments(folder, output, "--scheduler", address)))
        code = run_to_end(arguments(folder, output, "--scheduler", address, "--resume"))
        assert code == 0 or not list(output.parent.glob(f"{output.name}.journal")), f"resuming gave {code}"

    return attempt


def reference(folder: Path, suffix: str) -> tuple[str, float]:
    """Return the fingerprint of the output of an undisturbed job, and its duration in seconds."""
    started = time.monotonic()
    assert run_to_end(arguments(folder, folder / f"whole{suffix}")) == 0
    return fingerprint(folder / f"whole{suffix}"), time.monotonic() - started


def kill_jobs(
    folder: Path, attempt: Attempt, references: dict[str, tuple[str, float]], count: int, rng: np.random.Generator
) -> str:
    """Kill `count` jobs at random moments and return how many outputs were the same, in words."""
    same = 0
    for number in range(count):
        suffix = SUFFIXES[number % len(SUFFIXES)]
        output = folder / f"killed-{number}{suffix}"
        sha, seconds = references[suffix]
        attempt(output, float(rng.uniform(0, LATEST_KILL * seconds)))
        leftovers = sorted(path.name for path in output.parent.glob(f"{output.name}.*"))
        equal = fingerprint(output) == sha and not leftovers
        check_readable(output)
        same += equal
        print(f"{number + 1}: {'same bytes' if equal else f'DIFFERS, {leftovers}'}", file=sys.stderr)
    return f"{same} of {count}"


def main() -> None:
    """Read the command line and kill jobs in one of the three ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--driver", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_input(folder)
        # Before this process has threads, which a fork does not copy.
        references = {suffix: reference(folder, suffix) for suffix in SUFFIXES}
        if options.driver:
            killed = "the driver of 2 workers"
            with _scheduler(folder) as address:
                result = kill_jobs(folder, kill_driver(folder, address), references, options.count, rng)
        elif options.workers:
            killed = f"1 of {options.workers} workers"
            with Cluster.local(options.workers, threads=1) as cluster:
                result = kill_jobs(folder, kill_worker(folder, cluster, rng), references, options.count, rng)
        else:
            killed = "the only process"
            result = kill_jobs(folder, kill_process(folder), references, options.count, rng)
    print(f"| {killed} | {options.count} | {result} |")
    sys.exit(result != f"{options.count} of {options.count}")


@contextmanager
def _scheduler(folder: Path) -> Iterator[str]:
    """Start a scheduler and two workers in separate processes, as on a real cluster, and yield the address."""
    file = folder / "scheduler.json"
    popen_options: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    python = [sys.executable, "-m"]
    scheduler = [*python, "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file"]
    worker = [*python, "distributed.cli.dask_worker", "--nthreads", "1", "--no-dashboard", "--scheduler-file"]
    commands = (scheduler, worker, worker)
    processes = [subprocess.Popen([*command, str(file)], **popen_options) for command in commands]
    try:
        while not file.exists():
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"]
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(30)


if __name__ == "__main__":
    main()
