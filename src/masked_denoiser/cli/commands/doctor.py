"""Handler of `masked-denoiser doctor`, which describes the installation and tests it."""

from __future__ import annotations

import json
import os
import platform
from argparse import Namespace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from masked_denoiser.evaluation.tile_error import measure_halo_errors, self_test
from masked_denoiser.images.open import open_image
from masked_denoiser.inference.cpu.kernels import unavailable_reason
from masked_denoiser.inference.device import choose_device, describe
from masked_denoiser.inference.halo import resolve_halo
from masked_denoiser.inference.tune_precision import is_bfloat16_fast
from masked_denoiser.models.catalogue import DEFAULT, list_models, load_model
from masked_denoiser.network.reach import exact_halo
from masked_denoiser.samples import sample_path

_PACKAGES = (
    "napari-masked-denoiser",
    "torch",
    "numpy",
    "zarr",
    "tifffile",
    "imagecodecs",
    "dask",
    "napari",
    "magicgui",
)

#: Largest difference between tiles and the whole image, as a share of full scale, that float32 rounding explains.
_MAX_ROUNDING_ERROR = 1e-5


def doctor(arguments: Namespace) -> int:
    """Print what a bug report needs; return 1 if the self-test fails."""
    if arguments.halo:
        return _measure_halo(arguments.model or DEFAULT)
    facts, passed = _examine()
    if arguments.json:
        print(json.dumps(facts))
    else:
        for key, value in facts.items():
            print(f"{key:24} {value}")
    return 0 if passed else 1


def _examine() -> tuple[dict[str, Any], bool]:
    """Return versions, devices and memory by name, and whether the self-test passed."""
    device, device_message = choose_device("auto")
    error = self_test(device.type)
    passed = error.largest <= _MAX_ROUNDING_ERROR
    verdict = "passed" if passed else "FAILED"
    facts: dict[str, Any] = {"python": f"{platform.python_version()} on {platform.platform()}"}
    facts |= {name: _version(name) for name in _PACKAGES}
    facts |= {
        "device": device_message,
        "cuda": describe(torch.device("cuda")) if torch.cuda.is_available() else "no",
        "mps": "yes" if torch.backends.mps.is_available() else "no",
        "attention": _describe_attention(device.type),
        "kernels": _describe_kernels(device),
        "precision auto": "bfloat16, where it loses little" if is_bfloat16_fast(device) else "float32",
        "cores": os.cpu_count(),
        "memory": _memory(),
        "models": ", ".join(entry.name for entry in list_models()) or "none",
        "self-test": f"{verdict}: tiles and whole image differ by {error.largest:.1e} of full scale",
    }
    return facts, passed


def _describe_attention(device: str) -> str:
    """Return how window attention is computed on a type of device."""
    if device == "cuda":
        return "one fused kernel for all windows (scaled_dot_product_attention)"
    return "a few windows at a time; with most tokens masked, over the visible ones and one key for all masked ones"


def _describe_kernels(device: torch.device) -> str:
    """Return which kernels compute convolutions and linear layers."""
    if device.type != "cpu":
        return "torch's layers"
    reason = unavailable_reason(torch.float32)
    return f"torch's layers: {reason}" if reason else "oneDNN, with prepacked weights and fused pointwise operations"


def _measure_halo(name: str) -> int:
    """Print the error of halos on the sample slide in tiles of 128 pixels; return 1 if the exact halo is not exact."""
    model = load_model(name)
    grid, exact = model.card.architecture.grid, exact_halo(model.card.architecture)
    default = resolve_halo("default", model)
    halos = sorted({0, default // 2 // grid * grid, default, min(2 * default, exact), exact})
    device, device_message = choose_device("auto")
    with open_image(sample_path("slide")) as source:
        image = np.asarray(source.data[:], dtype=np.float32) / 255
    print(f"{name} on the sample slide, {image.shape[0]} x {image.shape[1]} pixels in tiles of 128, {device_message}")
    print("halo   largest difference   rms difference   (grey levels of 255, tiles against the whole image)")
    for error in measure_halo_errors(image, model, 128, halos, device.type):
        mark = {default: "default", exact: "exact"}.get(error.halo, "")
        print(f"{error.halo:4}   {error.largest * 255:18.6f}   {error.rms * 255:14.6f}   {mark}", flush=True)
    return 0 if error.largest <= _MAX_ROUNDING_ERROR else 1


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _memory() -> str:
    """Return the physical memory, if the system reports it."""
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (AttributeError, ValueError, OSError):
        return "unknown"
