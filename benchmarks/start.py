"""How long the program takes to answer at all."""

from __future__ import annotations

import subprocess
import sys
import time

_RUNS = 3
_HELP = [sys.executable, "-m", "masked_denoiser.cli", "--help"]
_IMPORT = [sys.executable, "-c", "import masked_denoiser, sys; assert 'torch' not in sys.modules"]
_NOTHING = [sys.executable, "-c", ""]


def start_figures() -> dict[str, float]:
    """Seconds of `--help` and of `import masked_denoiser`, each in a process of its own, less those of Python alone."""
    python = _best(_NOTHING)
    return {"help": _best(_HELP) - python, "import": _best(_IMPORT) - python}


def _best(command: list[str]) -> float:
    times = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return min(times)
