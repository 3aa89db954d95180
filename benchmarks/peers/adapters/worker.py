"""Run one program on one image, inside the environment of that program.

    python worker.py MODULE:FUNCTION array IMAGE.npy RESULT.npy --axes YX [--modality mri]
    python worker.py MODULE file IMAGE.tif FOLDER

MODULE is a file beside this one. FUNCTION takes an image, its axes and its modality, and returns the denoised image in
the intensities of the input. `denoise_file` of MODULE takes the path of an image and a folder for the result, and
returns the path of the result. The last line of the output is JSON: CPU seconds (user and system, with those of ended
child processes) before and during the work, the peak of the resident memory in bytes, of this process or its largest
child, and the data type of the result. Programs may print what they like before it, and some do after it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Do the work and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter")
    parser.add_argument("what", choices=("array", "file"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--axes", default="YX")
    parser.add_argument("--modality", default="")
    arguments = parser.parse_args()
    name, _, function = arguments.adapter.partition(":")
    adapter = import_module(name)
    work = _file_work(adapter, arguments) if arguments.what == "file" else _array_work(adapter, function, arguments)
    before = _cpu_seconds()
    result = work()
    figures: dict[str, Any] = {"start": before, "cpu": _cpu_seconds() - before, "memory": _peak_memory()}
    if isinstance(result, Path):
        figures["result"] = str(result)
    else:
        np.save(arguments.target, result)
        figures["dtype"] = str(result.dtype)
    print("\n" + json.dumps(figures))  # on a line of its own, whatever the program printed


def _array_work(adapter: Any, function: str, arguments: argparse.Namespace) -> Callable[[], Any]:
    image = np.load(arguments.source)
    denoise = getattr(adapter, function)
    return lambda: np.asarray(denoise(image, arguments.axes, arguments.modality))


def _file_work(adapter: Any, arguments: argparse.Namespace) -> Callable[[], Any]:
    return lambda: Path(adapter.denoise_file(arguments.source, arguments.target))


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its ended children since their start."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_memory() -> int:
    """Return the peak of the resident memory in bytes.

    On Linux, that of getrusage is not below the memory of the process that started this one, so that /proc is read.
    """
    factor = 1 if sys.platform == "darwin" else 1024
    own, children = (
        resource.getrusage(who).ru_maxrss * factor for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    own = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), own)
    return max(own, children)


if __name__ == "__main__":
    main()
