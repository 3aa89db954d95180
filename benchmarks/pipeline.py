"""What a whole job costs beside its network: a slide from zarr to OME-Zarr with a pyramid."""

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

_COMMAND = (sys.executable, "-m", "masked_denoiser.cli")
_TINY = "from masked_denoiser.evaluation.tile_error import tiny_model; tiny_model(3).save(__import__('sys').argv[1])"


def pipeline_figures(side: int, device: str, threads: int) -> dict[str, Any]:
    """Runs `denoise` on a synthetic slide, with the default model and with one that computes next to nothing.

    Args:
        side: of the slide, in pixels.
        device: as of `denoise`.
        threads: of the CPU.

    Returns:
        Seconds, shares and bytes by name.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _slide(folder / "slide.zarr", side)
        where = ["--device", device, "--threads", str(threads)]
        whole, memory = _denoise(folder, "general-rgb", where)
        busy = _network(whole) / whole["seconds"]
        subprocess.run([sys.executable, "-c", _TINY, str(folder / "tiny.safetensors")], check=True)
        little, _ = _denoise(folder, str(folder / "tiny.safetensors"), where)
        beside = little["seconds"] - _network(little)
        return {
            "side": side,
            "seconds": whole["seconds"],
            "network_share": busy,
            "peak_memory": memory,
            "planned_memory": _planned(folder, where),
            "tiny_seconds": little["seconds"],
            "beside_the_network": beside / whole["seconds"],
        }


def _network(summary: dict[str, Any]) -> float:
    """Seconds for which work was given to the network, or a GPU waited for."""
    return float(summary["waits"]["computing"] + summary["waits"]["device"])


def _slide(path: Path, side: int) -> None:
    """The sample slide, again and again, with noise."""
    tissue = imread(sample_path("slide"))
    array = zarr.create_array(
        path, shape=(side, side, 3), chunks=(512, 512, 3), dtype="uint8", dimension_names=list("yxs")
    )
    strip = np.tile(tissue, (1, -(-side // tissue.shape[1]), 1))[:, :side]
    for top in range(0, side, len(strip)):
        rows = strip[: side - top]
        array[top : top + len(rows)] = np.roll(rows, top // 7, axis=1)


def _denoise(folder: Path, model: str, where: list[str]) -> tuple[dict[str, Any], int]:
    """The summary of a run in a process of its own, and its peak of resident memory in bytes."""
    command = [
        sys.executable,
        "-m",
        "masked_denoiser.cli",
        *_arguments(folder, model),
        *where,
        "--overwrite",
        "--json",
        "--quiet",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = _Peak(process.pid)
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    summary: dict[str, Any] = json.loads(said)
    return summary, peak.end()


def _arguments(folder: Path, model: str) -> list[str]:
    return ["denoise", str(folder / "slide.zarr"), str(folder / "out.ome.zarr"), "--model", model, "--axes", "YXS"]


def _planned(folder: Path, where: list[str]) -> int:
    """What `info --plan` says the job would need, in bytes."""
    command = [
        sys.executable,
        "-m",
        "masked_denoiser.cli",
        "info",
        str(folder / "slide.zarr"),
        "--axes",
        "YXS",
        "--plan",
        "--json",
    ]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(json.loads(said)["plan"]["memory"])


class _Peak:
    """Watches the resident memory of a process, where the system shows it."""

    def __init__(self, pid: int) -> None:
        self._path, self._most = Path(f"/proc/{pid}/status"), 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while True:
            try:
                lines = self._path.read_text().splitlines()
            except OSError:
                return
            found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
            if not found:  # it has ended
                return
            self._most = max(self._most, *found)
            time.sleep(0.05)

    def end(self) -> int:
        self._thread.join()
        return self._most
