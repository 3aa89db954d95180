"""Devices on which a network computes: choice, description and free memory."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import torch

from masked_denoiser.errors import JobError

#: Major compute capability of the first GPUs of Nvidia with instructions for bfloat16.
_FIRST_WITH_BFLOAT16 = 8


def choose_device(name: str = "auto") -> tuple[torch.device, str]:
    """Return the device, and a message that names it.

    Args:
        name: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        JobError: if the device is named and not available; there is no silent fallback.
    """
    if name == "auto":
        return _best()
    if not isinstance(name, str):
        raise JobError(f"device is {name!r}; choose auto, cpu, cuda, cuda:N or mps")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps"):
        raise JobError(f"unknown device {name!r}; choose auto, cpu, cuda, cuda:N or mps")
    if number and not (kind == "cuda" and number.isdecimal()):
        raise JobError(f"unknown device {name!r}; a number can only follow cuda, as in cuda:1")
    if (reason := _unusable(name)) is not None:
        raise JobError(f"device {name!r} cannot be used by torch {torch.__version__} ({reason}); choose auto or cpu")
    device = _with_number(torch.device(name))
    return device, f"computing on {describe(device)}"


def available_devices() -> tuple[str, ...]:
    """Return the names that `choose_device` accepts on this machine, "auto" first."""
    return ("auto", "cpu", *(kind for kind in ("cuda", "mps") if _unusable(kind) is None))


def describe(device: torch.device) -> str:
    """Return a description of a device, with name and memory of a GPU, or the number of CPU threads."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"
    if device.type == "mps":
        return "the Apple GPU (mps)"
    threads = torch.get_num_threads()
    return f"the CPU ({threads} thread{'s' if threads > 1 else ''})"


def identify(device: torch.device) -> str:
    """Return what must be the same for a cached measurement to be valid: the device and the version of torch."""
    cpu = f", {platform.machine()} with {torch.backends.cpu.get_cpu_capability()}" if device.type == "cpu" else ""
    return f"{describe(device)}{cpu}, torch {torch.__version__}"


def free_memory(device: torch.device) -> int:
    """Return the bytes that this process can still take; a CPU and an Apple GPU share the memory of the machine."""
    if device.type != "cuda":
        import psutil  # not needed for training on a GPU

        return int(psutil.virtual_memory().available)
    reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # cached by torch
    return int(torch.cuda.mem_get_info(device)[0]) + reusable


def _best() -> tuple[torch.device, str]:
    for kind in ("cuda", "mps"):
        if _unusable(kind) is None:
            device = _with_number(torch.device(kind))
            return device, f"computing on {describe(device)}"
    device = torch.device("cpu")
    return device, f"no GPU that torch can use: computing on {describe(device)}"


def _with_number(device: torch.device) -> torch.device:
    """Return a device with its number: that of "cuda" alone may differ between the threads of a job."""
    return torch.device("cuda", torch.cuda.current_device()) if device == torch.device("cuda") else device


def _unusable(name: str) -> str | None:
    """Return why a device cannot be used; None if it can. One operation is run, as torch may lack code for a GPU."""
    kind, _, number = name.partition(":")
    if kind == "cpu":
        return None
    available = torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available()
    if not available or (number and int(number) >= torch.cuda.device_count()):
        return "it is not available"
    try:
        torch.ones(1, device=name).add_(1).cpu()
    except RuntimeError as error:
        return next(iter(str(error).splitlines()), "it fails")
    return None


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16 products, which are about twice as fast."""
    if device.type == "cuda":
        # `torch.cuda.is_bf16_supported` would answer for the current device.
        return torch.version.hip is not None or torch.cuda.get_device_capability(device)[0] >= _FIRST_WITH_BFLOAT16
    get_capabilities: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)  # since torch 2.10
    capabilities = get_capabilities()
    return device.type == "cpu" and any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
