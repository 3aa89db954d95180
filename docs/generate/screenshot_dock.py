"""Screenshot of the Denoise dock for the README: the sample slide, previewed and denoised in a napari viewer.

Needs a display; without one:

    xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python docs/generate/screenshot_dock.py docs/images/dock.png
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Width and height of the window in pixels.
_SIZE = (1280, 620)

#: The same with the expert settings expanded.
_EXPERT_SIZE = (1280, 900)


def main() -> None:
    """Open napari, click Preview and Denoise, and save the window."""
    parser = argparse.ArgumentParser(description="Take a picture of the Denoise dock.")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    parser.add_argument("--model", help="name of a model, or 'random' for a tiny one with random weights")
    parser.add_argument(
        "--expert", action="store_true", help="show the fluorescence stack, with the expert settings expanded"
    )
    parser.add_argument("--minutes", type=float, default=15, help="give up after this time")
    arguments = parser.parse_args()
    if arguments.model == "random":
        _use_random_model()
    take(arguments.picture, arguments.model, 60 * arguments.minutes, expert=arguments.expert)


def take(picture: Path, model: str | None, seconds: float, *, expert: bool = False) -> None:
    """Save a picture of the denoised slide or, with `expert`, of a stack with the settings for a slice and a region.

    Raises:
        SystemExit: if the dock reports an error or takes too long.
    """
    import napari
    from PIL import Image

    viewer: Any = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.window._qt_window.resize(*(_EXPERT_SIZE if expert else _SIZE))
    viewer.open_sample("napari-masked-denoiser", "fluorescence" if expert else "slide")
    _, dock = viewer.window.add_plugin_dock_widget("napari-masked-denoiser", "Denoise")
    viewer.window._qt_window.resizeDocks([dock.parent()], [400], _horizontal())
    wait = _Waiter(dock, seconds)
    wait(lambda: not dock.presenter.busy)
    if model:
        dock.model.setCurrentText(model)
    viewer.reset_view()
    if expert:
        _select_region_and_slice(viewer, dock)
    for button in (dock.preview_button, dock.denoise_button)[expert:]:
        button.click()
        wait(lambda: not dock.presenter.busy)
    if not expert:
        _show_noisy_next_to_denoised(viewer)
    viewer.reset_view()
    wait.pump()
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)).quantize(256).save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")
    print(dock.messages.toPlainText())
    viewer.close()


class _Waiter:
    """Waiter that processes Qt events until a condition holds."""

    def __init__(self, dock: Any, seconds: float) -> None:
        self._dock, self._deadline = dock, time.monotonic() + seconds

    def __call__(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if time.monotonic() > self._deadline:
                raise SystemExit("the dock did not finish in time; give more --minutes or a smaller model")
            self.pump(1)
        if "Error" in self._dock.messages.toPlainText():
            raise SystemExit(self._dock.messages.toPlainText())

    def pump(self, times: int = 30) -> None:
        from qtpy.QtWidgets import QApplication

        for _ in range(times):
            QApplication.processEvents()
            time.sleep(0.02)


def _show_noisy_next_to_denoised(viewer: Any) -> None:
    """Show both layers in napari's grid, without the preview, which would cover one of them."""
    slide, preview, _ = viewer.layers
    preview.visible, slide.visible = False, True
    viewer.layers.move(viewer.layers.index(preview), 0)
    grid = viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid
    grid.enabled, grid.shape = True, (1, 2)
    viewer.layers.selection.active = slide


def _select_region_and_slice(viewer: Any, dock: Any) -> None:
    """Choose a rectangle in the middle of the layer and the displayed slice."""
    layer = viewer.layers[-1]
    low, high = layer.extent.data[:, -2:]
    quarter = (high - low) / 4
    (top, left), (bottom, right) = low + quarter, high - quarter
    corners = [[top, left], [top, right], [bottom, right], [bottom, left]]
    style = {"face_color": "transparent", "edge_color": "yellow", "edge_width": 1}
    transform = {"scale": layer.scale[-2:], "translate": layer.translate[-2:], "units": layer.units[-2:]}
    viewer.add_shapes([corners], shape_type="rectangle", name="region", **style, **transform)
    viewer.layers.selection.active = layer
    dock.expert.expand(animate=False)
    dock.region.setCurrentText("shapes layer region")
    dock.expert.slices.current_button.click()


def _horizontal() -> Any:
    from qtpy.QtCore import Qt

    return Qt.Orientation.Horizontal


def _use_random_model() -> None:
    """Replace the user's models by a tiny random one, to check the window quickly."""
    from tempfile import mkdtemp

    import torch

    from masked_denoiser.models import catalogue
    from masked_denoiser.models.card import Card
    from masked_denoiser.models.file import Model
    from masked_denoiser.network.config import SwinConfig
    from masked_denoiser.network.swin import MaskedSwin

    folder = Path(mkdtemp())
    config = SwinConfig(embed=12, depths=(2,), heads=(2,), global_skip=True)
    torch.manual_seed(0)
    card = Card("random", config, description="A tiny network with random weights, which does not denoise.")
    Model(card, MaskedSwin(config).state_dict()).save(folder / "random.safetensors")
    catalogue.user_folder = lambda: folder


if __name__ == "__main__":
    main()
