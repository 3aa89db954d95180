"""Removal of layers from a viewer."""

from __future__ import annotations

from typing import Any


def remove_layer(viewer: Any, layer: Any) -> None:
    """Remove a layer from a viewer, if it is there.

    Software OpenGL (Mesa llvmpipe, as on remote desktops) crashes at the next drawing if the layer was not drawn since
    it was hidden or shown, also without this plugin (napari 0.9.2, vispy 0.17). So it is drawn before, a hidden one
    transparent.
    """
    if layer not in viewer.layers:
        return
    if not layer.visible:
        layer.opacity, layer.visible = 0.0, True
    if hasattr(viewer, "screenshot"):  # a viewer with a window
        viewer.screenshot(flash=False)
    viewer.layers.remove(layer)
