"""Full float32 precision of convolutions and matrix products, which torch may compute in TF32 or bfloat16.

CUDA convolutions use TF32 by default. Matrix products do so after `torch.set_float32_matmul_precision`, on CPUs with
bfloat16 instructions too: see https://docs.pytorch.org/docs/stable/notes/cuda.html#tf32-on-ampere.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch


def _operations() -> tuple[Any, ...]:
    """Return the settings of kinds of operations; none before torch 2.9, which has only global flags."""
    backends: Any = torch.backends
    cuda, cudnn, cpu = backends.cuda.matmul, backends.cudnn, backends.mkldnn
    return (cuda, cudnn.conv, cudnn.rnn, cpu.matmul, cpu.conv, cpu.rnn) if hasattr(cpu, "matmul") else ()


class _ReducedPrecisionSwitch:
    """Counter of users that need full precision, as the setting is global and jobs run in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._flags: tuple[bool, str] | None = None
        self._precisions: tuple[str, ...] = ()

    def disable(self) -> None:
        with self._lock:
            if self._users == 0:
                self._save()
                torch.backends.cudnn.allow_tf32 = False
                torch.set_float32_matmul_precision("highest")
                for operation in _operations():
                    operation.fp32_precision = "ieee"
            self._users += 1

    def restore(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                if self._flags is not None:
                    torch.backends.cudnn.allow_tf32 = self._flags[0]
                    torch.set_float32_matmul_precision(self._flags[1])
                for operation, precision in zip(_operations(), self._precisions, strict=True):
                    operation.fp32_precision = precision

    def _save(self) -> None:
        self._precisions = tuple(operation.fp32_precision for operation in _operations())
        self._flags = None
        # torch refuses to read the flags after a program has set single operations; then there are none to restore.
        with suppress(RuntimeError):
            self._flags = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()


_SWITCH = _ReducedPrecisionSwitch()


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute float32 convolutions and matrix products in float32, whatever else runs in this process."""
    _SWITCH.disable()
    try:
        yield
    finally:
        _SWITCH.restore()
