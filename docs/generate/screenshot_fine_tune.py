r"""Screenshot of the Fine-tune dock for docs/napari.md: a short training on the sample slide in a napari viewer.

Needs a display; without one:

    xvfb-run -a -s "-screen 0 1600x1300x24 +extension GLX" \
        python docs/generate/screenshot_fine_tune.py docs/images/tune.png
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Width and height of the window in pixels.
_SIZE = (1280, 1150)


def main() -> None:
    """Open napari, train and save a model, and save the window."""
    parser = argparse.ArgumentParser(description="Take a picture of the Fine-tune dock.")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--noise", default="correlated(sigma=60)")
    parser.add_argument("--minutes", type=float, default=15, help="give up after this time")
    arguments = parser.parse_args()
    os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp()  # keeps the user's models unchanged
    take(arguments.picture, arguments)


def take(picture: Path, arguments: argparse.Namespace) -> None:
    """Save the picture.

    Raises:
        SystemExit: if the dock reports an error or takes too long.
    """
    import napari
    from PIL import Image

    from masked_denoiser.samples import sample_path

    viewer: Any = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.window._qt_window.resize(*_SIZE)
    viewer.open(sample_path("slide-clean"), plugin="napari-masked-denoiser", name="slide")
    _, dock = viewer.window.add_plugin_dock_widget("napari-masked-denoiser", "Fine-tune")
    deadline = time.monotonic() + 60 * arguments.minutes

    def wait(condition: Callable[[], bool]) -> None:
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit("the dock did not finish in time; give more --minutes")
            _pump(1)
        if "Error" in dock.messages.toPlainText():
            raise SystemExit(dock.messages.toPlainText())

    viewer.reset_view()
    wait(lambda: not dock.presenter.busy)
    dock.noise.recipe.setText(arguments.noise)
    dock.noise.recipe.textEdited.emit(arguments.noise)
    dock.expert.steps.setValue(arguments.steps)
    _pump(30)
    wait(lambda: not dock.presenter.busy)
    dock.start_button.click()
    wait(lambda: not dock.presenter.busy)
    dock.save_button.click()
    _pump(30)
    Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)).quantize(256).save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")
    print(dock.messages.toPlainText())
    viewer.close()


def _pump(times: int) -> None:
    from qtpy.QtWidgets import QApplication

    for _ in range(times):
        QApplication.processEvents()
        time.sleep(0.02)


if __name__ == "__main__":
    main()
