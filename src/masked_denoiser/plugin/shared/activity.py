"""Progress in napari's activity dock, and notifications."""

from __future__ import annotations

import time
from typing import Any

#: Steps of a progress bar.
_STEPS = 100

#: Seconds between two updates: napari processes all pending events of the window at each of them.
_MIN_PAUSE = 0.5


class ActivityProgress:
    """Progress of a task in napari's activity dock, from its first update to its end."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._next = 0.0

    def show(self, share: float | None, title: str) -> None:
        """Show progress from 0 to 1, at most twice a second; None shows an indeterminate bar."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _MIN_PAUSE
        if self._bar is None:
            from napari.utils import progress

            self._bar = progress(total=_STEPS, desc=title)
        self._bar.update(round(_STEPS * (share or 0.0)) - self._bar.n)

    def close(self) -> None:
        """Remove the progress, because the task has ended."""
        bar, self._bar, self._next = self._bar, None, 0.0
        if bar is not None:
            bar.close()


def notify(text: str) -> None:
    """Show a notification in the window."""
    from napari.utils.notifications import show_info

    show_info(text)
