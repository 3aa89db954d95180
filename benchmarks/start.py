"""Startup time of the command and of the package, and the time to the first result."""

from __future__ import annotations

import json
import subprocess
import sys
import time

#: Number of runs, of which the fastest counts.
_RUNS = 3
_HELP = [sys.executable, "-m", "masked_denoiser", "--help"]
_IMPORT = [sys.executable, "-c", "import masked_denoiser, sys; assert 'torch' not in sys.modules"]
_PYTHON_ONLY = [sys.executable, "-c", ""]


#: Program that denoises the sample slide in a new process, and prints the seconds of its parts.
_FIRST_RESULT = """
import json, time
begin = time.perf_counter()
import torch
torch_imported = time.perf_counter()
from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.samples import sample_path
imported = time.perf_counter()
with open_image(sample_path("slide")) as image:
    prepared = prepare_array(image, device="cpu")
    prepared_at = time.perf_counter()
    for event in prepared.pipeline.run():
        pass
end = time.perf_counter()
print(json.dumps({"torch": torch_imported - begin, "package": imported - torch_imported,
    "noise": prepared_at - imported, "network": end - prepared_at}))
"""


def measure_first_result() -> dict[str, float]:
    """Return the seconds until the sample slide of 512 x 512 pixels is denoised in a new process, by part."""
    runs = []
    for _ in range(_RUNS):
        output = subprocess.run([sys.executable, "-c", _FIRST_RESULT], check=True, stdout=subprocess.PIPE).stdout
        runs.append(json.loads(output))
    return min(runs, key=lambda parts: sum(parts.values()))


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
