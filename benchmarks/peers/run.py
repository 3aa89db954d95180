"""One process for a program and an image, with limits and measured resources. Linux and macOS only."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks.peers.environments import Environment
from benchmarks.peers.table import Peer

#: Folder of the adapters.
ADAPTERS = Path(__file__).parent / "adapters"

#: Wall time for each CPU second of the limit, as the machine may be shared.
_WALL_FACTOR = 6.0


@dataclass(frozen=True)
class Outcome:
    """What a process did.

    Attributes:
        error: reason of the failure; empty if it succeeded.
        start: CPU seconds, user and system, before the work: interpreter, imports, reading.
        cpu: CPU seconds of the work.
        memory: peak of the resident memory in bytes, of the process or its largest child.
        details: other figures of the worker: data type, versions, path of the result.
    """

    error: str
    start: float = 0.0
    cpu: float = 0.0
    memory: int = 0
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """Limits of a process.

    Attributes:
        cpu: CPU seconds; the wall time may be six times as long.
        threads: threads of OpenMP, BLAS and numba.
    """

    cpu: float
    threads: int = 1


def run_worker(
    peer: Peer, environment: Environment, what: str, source: Path, target: Path, limits: Limits, *options: str
) -> Outcome:
    """Run the adapter of a program on an array or a file, as described in adapters/worker.py."""
    command = [environment.python, ADAPTERS / "worker.py", peer.adapter, what, source, target, *options]
    return run_measured([str(part) for part in command], limits)


def run_measured(command: list[str], limits: Limits) -> Outcome:
    """Run a command that prints a line of JSON with `start`, `cpu` and `memory`, as adapters/worker.py does.

    The number of threads of each library is set by an environment variable, and GPUs are hidden: CPUs are compared.
    """
    threads = {f"{name}_NUM_THREADS": str(limits.threads) for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    variables |= threads | {"CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=variables,
            start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (int(limits.cpu) + 1, int(limits.cpu) + 1)),
        )
        status, usage, late = _wait(process.pid, limits.cpu * _WALL_FACTOR)
        process.returncode = os.waitstatus_to_exitcode(status)
        printed, complaints = _read(output), _read(errors)
    if process.returncode < 0:
        spent = usage.ru_utime + usage.ru_stime
        if late or spent >= limits.cpu:
            reason = f"not finished within {limits.cpu:.0f} CPU seconds, or {_WALL_FACTOR:.0f} times as long"
        else:
            reason = f"ended by {signal.Signals(-process.returncode).name} after {spent:.0f} CPU seconds"
        return Outcome(reason)
    if process.returncode:
        return Outcome(_last_line(complaints)[:300] or f"exit status {process.returncode}")
    reports = [line for line in printed.splitlines() if line.startswith('{"start"')]
    if not reports:
        return Outcome("the process ended by itself, without a result and without an error")
    figures = json.loads(reports[-1])
    return Outcome("", figures.pop("start"), figures.pop("cpu"), figures.pop("memory"), figures)


def _wait(pid: int, seconds: float) -> tuple[int, resource.struct_rusage, bool]:
    """Wait for a process; return its status, its resources, and whether it took too long and its group was ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return status, usage, False
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    return status, usage, True


def _read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")


def _last_line(text: str) -> str:
    """Return the last line that is not blank."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
