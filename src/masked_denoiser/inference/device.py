"""Which device computes, and saying so."""

from __future__ import annotations

import platform

import torch

from masked_denoiser.errors import JobError


def choose_device(wanted: str = "auto") -> tuple[torch.device, str]:
    """The device, and a sentence that names it.

    Args:
        wanted: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        JobError: if the device is asked for by name and is not there; nothing falls back silently.
    """
    if wanted == "auto":
        return _best()
    kind = wanted.partition(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise JobError(f"unknown device {wanted!r}; choose auto, cpu, cuda, cuda:N or mps")
    number = wanted.partition(":")[2]
    if number and not (kind == "cuda" and number.isdecimal()):
        raise JobError(f"unknown device {wanted!r}; a number can only follow cuda, as in cuda:1")
    if (reason := _missing(wanted)) is not None:
        raise JobError(f"device {wanted!r} cannot be used by torch {torch.__version__} ({reason}); choose auto or cpu")
    device = torch.device(wanted)
    return device, f"computing on {describe(device)}"


def available_devices() -> tuple[str, ...]:
    """What `choose_device` takes on this machine, "auto" first."""
    return ("auto", "cpu", *(kind for kind in ("cuda", "mps") if _missing(kind) is None))


def describe(device: torch.device) -> str:
    """A device in words, with the GPU's name and memory, or the number of CPU threads."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"
    if device.type == "mps":
        return "the Apple GPU (mps)"
    threads = torch.get_num_threads()
    return f"the CPU ({threads} thread{'s' if threads > 1 else ''})"


def identify(device: torch.device) -> str:
    """What must be the same for a measurement to hold: the device and its library."""
    cpu = f", {platform.machine()} with {torch.backends.cpu.get_cpu_capability()}" if device.type == "cpu" else ""
    return f"{describe(device)}{cpu}, torch {torch.__version__}"


def free_memory(device: torch.device) -> int:
    """Bytes that this process can still take on a device; a CPU and an Apple GPU share the machine's."""
    if device.type != "cuda":
        import psutil  # not where networks are only trained on a GPU

        return int(psutil.virtual_memory().available)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's own, for use again
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def _best() -> tuple[torch.device, str]:
    for kind in ("cuda", "mps"):
        if _missing(kind) is None:
            device = torch.device(kind)
            return device, f"computing on {describe(device)}"
    device = torch.device("cpu")
    return device, f"no GPU that torch can use: computing on {describe(device)}"


def _missing(name: str) -> str | None:
    """Why a device cannot be used; None if it can. One operation is tried: torch may lack code for a GPU."""
    kind, _, number = name.partition(":")
    if kind == "cpu":
        return None
    there = torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available()
    if not there or (number and int(number) >= torch.cuda.device_count()):
        return "it is not there"
    try:
        torch.ones(1, device=name).add_(1).cpu()
    except RuntimeError as error:
        return next(iter(str(error).splitlines()), "it fails")
    return None
