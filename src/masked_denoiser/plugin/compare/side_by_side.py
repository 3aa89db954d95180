"""Two layers next to each other in the grid of a viewer, with linked cameras."""

from __future__ import annotations

from typing import Any

from masked_denoiser.plugin.layers.view_region import grid_of


class SideBySide:
    """Two layers in the grid; all other layers are hidden meanwhile.

    Args:
        viewer: the viewer.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._pair: tuple[Any, ...] = ()
        self._hidden: list[Any] = []
        self._named: list[Any] = []  # layers whose names were not shown before
        self._grid: dict[str, Any] = {}

    @property
    def is_intact(self) -> bool:
        """Whether both layers are in the viewer and visible."""
        return all(layer in self._viewer.layers and layer.visible for layer in self._pair)

    def show(self, left: Any, right: Any) -> None:
        """Show two layers, of which the left one is the lower one in the list."""
        grid = grid_of(self._viewer)
        self._grid = {name: getattr(grid, name) for name in ("shape", "stride", "enabled")}
        self._pair = left, right
        self._hidden = [layer for layer in self._viewer.layers if layer.visible and layer not in self._pair]
        for layer in self._hidden:
            layer.visible = False
        overlays = [getattr(layer, "name_overlay", None) for layer in self._pair]  # since napari 0.7
        self._named = [overlay for overlay in overlays if overlay is not None and not overlay.visible]
        for overlay in self._named:
            overlay.visible = True
        for layer in self._pair:
            layer.visible = True
        grid.shape, grid.stride, grid.enabled = (1, 2), 1, True

    def leave(self) -> None:
        """Show the viewer as it was before."""
        grid = grid_of(self._viewer)
        for name, value in self._grid.items():
            setattr(grid, name, value)
        for layer in self._hidden:
            layer.visible = True
        for overlay in self._named:
            overlay.visible = False
        self._pair, self._hidden, self._named, self._grid = (), [], [], {}
