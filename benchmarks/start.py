"""Startup time of the command and of the package."""

from __future__ import annotations

import subprocess
import sys
import time

#: Number of runs, of which the fastest counts.
_RUNS = 3
_HELP = [sys.executable, "-m", "masked_denoiser.cli", "--help"]
_IMPORT = [sys.executable, "-c", "import masked_denoiser, sys; assert 'torch' not in sys.modules"]
_PYTHON_ONLY = [sys.executable, "-c", ""]


def measure_startup() -> dict[str, float]:
    """Return the seconds of `--help` and of the import in a new process, minus those of Python itself."""
    python_alone = _best(_PYTHON_ONLY)
    return {"help": _best(_HELP) - python_alone, "import": _best(_IMPORT) - python_alone}


def _best(command: list[str]) -> float:
    times = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return min(times)
