"""Full float32 on CUDA, where torch rounds convolutions to TF32, and matrix products where a program asks for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class _Switch:
    """TF32 off for as long as anybody needs it so: the settings are of the whole process, and jobs run in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = (True, "highest")

    def off(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
                torch.backends.cudnn.allow_tf32 = False
                torch.set_float32_matmul_precision("highest")

    def back(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                torch.backends.cudnn.allow_tf32 = self._before[0]
                torch.set_float32_matmul_precision(self._before[1])


_SWITCH = _Switch()


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute float32 convolutions and matrix products in float32, whatever else runs in this process."""
    _SWITCH.off()
    try:
        yield
    finally:
        _SWITCH.back()
