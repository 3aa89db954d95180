"""Time and memory of a whole job: a slide from zarr to OME-Zarr with a pyramid."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from tifffile import imread

from masked_denoiser.samples import sample_path

_COMMAND = (sys.executable, "-m", "masked_denoiser")
_TINY = "from masked_denoiser.evaluation.tile_error import tiny_model; tiny_model(3).save(__import__('sys').argv[1])"


def measure_pipeline(side: int, device: str, threads: int) -> dict[str, Any]:
    """Run `denoise` on a synthetic slide, with the default model and with a tiny one.

    Args:
        side: side of the slide in pixels.
        device: device, as for `denoise`.
        threads: number of CPU threads.

    Returns:
        Seconds, shares and bytes by name.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_slide(folder / "slide.zarr", side)
        device_options = ["--device", device, "--threads", str(threads)]
        whole, memory = _denoise(folder, "general-rgb", device_options)
        busy = _network_seconds(whole) / whole["seconds"]
        subprocess.run([sys.executable, "-c", _TINY, str(folder / "tiny.safetensors")], check=True)
        tiny, _ = _denoise(folder, str(folder / "tiny.safetensors"), device_options)
        other_seconds = tiny["seconds"] - _network_seconds(tiny)
        return {
            "side": side,
            "seconds": whole["seconds"],
            "network_share": busy,
            "peak_memory": memory,
            "planned_memory": _planned_memory(folder),
            "tiny_seconds": tiny["seconds"],
            "beside_the_network": other_seconds / whole["seconds"],
        }


def _network_seconds(summary: dict[str, Any]) -> float:
    """Return the seconds that the job spent in the network or waiting for the GPU."""
    return float(summary["waits"]["computing"] + summary["waits"]["device"])


def _write_slide(path: Path, side: int) -> None:
    """Write a slide of repetitions of the noisy sample slide."""
    tissue = imread(sample_path("slide"))
    array = zarr.create_array(
        path, shape=(side, side, 3), chunks=(512, 512, 3), dtype="uint8", dimension_names=list("yxs")
    )
    strip = np.tile(tissue, (1, -(-side // tissue.shape[1]), 1))[:, :side]
    for top in range(0, side, len(strip)):
        rows = strip[: side - top]
        array[top : top + len(rows)] = np.roll(rows, top // 7, axis=1)


def _denoise(folder: Path, model: str, device_options: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command in a new process; return its summary and its peak resident memory in bytes."""
    command = [*_COMMAND, *_arguments(folder, model), *device_options, "--overwrite", "--json", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    monitor = _MemoryMonitor(process.pid)
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}")
    summary: dict[str, Any] = json.loads(output)
    return summary, monitor.peak()


def _arguments(folder: Path, model: str) -> list[str]:
    return ["denoise", str(folder / "slide.zarr"), str(folder / "out.ome.zarr"), "--model", model, "--axes", "YXS"]


def _planned_memory(folder: Path) -> int:
    """Return the memory in bytes that `info --plan` estimates for the job."""
    command = [*_COMMAND, "info", str(folder / "slide.zarr"), "--axes", "YXS", "--plan", "--json"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(json.loads(output)["plan"]["memory"])


class _MemoryMonitor:
    """Monitor of the peak resident memory of a process, on Linux."""

    def __init__(self, pid: int) -> None:
        self._path, self._peak = Path(f"/proc/{pid}/status"), 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                lines = self._path.read_text().splitlines()
            except OSError:
                return
            peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
            if not peaks:  # the process has ended
                return
            self._peak = max(self._peak, *peaks)
            time.sleep(0.05)

    def peak(self) -> int:
        """Return the peak in bytes, once the process has ended."""
        self._thread.join()
        return self._peak
