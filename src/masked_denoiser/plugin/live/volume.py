"""The input of a live view in its place while the viewer shows three dimensions; without Qt."""

from __future__ import annotations

from typing import Any


class VolumeStandIn:
    """Input layer that is shown instead of its live view, of which a volume would show a coarse level only.

    Args:
        viewer: the viewer.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._live: Any = None  # layer that is hidden meanwhile

    def update(self, source: Any, live: Any) -> None:
        """Show the input in three dimensions, and the live view again in two, if the user has not changed that.

        Args:
            source: the input layer.
            live: the layer of the live view; None if there is none.
        """
        is_volume = self._viewer.dims.ndisplay == 3
        if is_volume and live is not None and live.visible:
            self._live, source.visible, live.visible = live, True, False
        elif not is_volume and self._live is not None:
            if self._live is live and source.visible:
                source.visible, live.visible = False, True
            self._live = None

    def is_shown_for(self, live: Any) -> bool:
        """Return whether the input is shown instead of this live view."""
        return live is not None and self._live is live
