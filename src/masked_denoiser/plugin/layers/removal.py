"""Removal of layers from a viewer."""

from __future__ import annotations

from typing import Any


def remove_layer(viewer: Any, layer: Any) -> None:
    """Remove a layer from a viewer, if it is there.

    Software OpenGL (Mesa llvmpipe, as on remote desktops) crashes at the next drawing if the layer was hidden and not
    drawn since, also without this plugin (napari 0.9.2, vispy 0.17). A hidden layer is drawn before, transparent.
    """
    if layer not in viewer.layers:
        return
    if not layer.visible and hasattr(viewer, "screenshot"):  # a viewer with a window
        layer.opacity, layer.visible = 0.0, True
        viewer.screenshot(flash=False)
    viewer.layers.remove(layer)
