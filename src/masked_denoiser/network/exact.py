"""Full float32 precision on CUDA, where torch uses TF32 in convolutions, and on request in matrix products."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class _Tf32Switch:
    """Counter of users that need TF32 disabled, as the setting is global and jobs run in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._previous = (True, "highest")

    def disable(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._previous = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
                torch.backends.cudnn.allow_tf32 = False
                torch.set_float32_matmul_precision("highest")

    def restore(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                torch.backends.cudnn.allow_tf32 = self._previous[0]
                torch.set_float32_matmul_precision(self._previous[1])


_TF32_SWITCH = _Tf32Switch()


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute float32 convolutions and matrix products without TF32, whatever else runs in this process."""
    _TF32_SWITCH.disable()
    try:
        yield
    finally:
        _TF32_SWITCH.restore()
