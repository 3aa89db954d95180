"""Waiting for a window in the scripts that take pictures."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds after which a window is given up.
_LONGEST = 300


def wait(condition: Callable[[], bool], seconds: float = 0.6) -> None:
    """Process events for at least this time, and until a condition holds.

    Raises:
        SystemExit: if it does not hold in time.
    """
    from qtpy.QtWidgets import QApplication

    started = time.monotonic()
    while time.monotonic() - started < seconds or not condition():
        QApplication.processEvents()
        time.sleep(0.01)
        if time.monotonic() - started > _LONGEST:
            raise SystemExit("a dock did not finish in time")
