"""Pictures of every screen of both docks, at several sizes and in both themes, to look at before a release.

    xvfb-run -a -s "-screen 0 2600x1700x24 +extension GLX" python docs/generate/screens.py screens/

Each window is drawn by a process of its own: 1280 x 800, 1920 x 1080, and 1280 x 800 at 200 %, dark and light.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from waiting import wait

#: Width, height and scale of the windows.
_WINDOWS = ((1280, 800, 1), (1920, 1080, 1), (1280, 800, 2))

_THEMES = ("dark", "light")


def main() -> None:
    """Draw all windows, or one of them in this process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of the pictures")
    parser.add_argument("--window", type=int, nargs=2, help="draw one window of this width and height")
    parser.add_argument("--theme", choices=_THEMES, default="dark")
    parser.add_argument("--name", default="", help="begin of the names of the pictures")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.window:
        width, height = arguments.window
        draw(arguments.folder, arguments.name, (width, height), arguments.theme)
        return
    for width, height, scale in _WINDOWS:
        for theme in _THEMES:
            name = f"{width}x{height}-{100 * scale}-{theme}"
            command = [sys.executable, __file__, str(arguments.folder), "--name", name, "--theme", theme]
            command += ["--window", str(width), str(height)]
            subprocess.run(command, check=True, env=os.environ | {"QT_SCALE_FACTOR": str(scale)})


def draw(folder: Path, name: str, size: tuple[int, int], theme: str) -> None:
    """Save a picture of each screen.

    Raises:
        SystemExit: if a dock needs more space than the window has.
    """
    import napari

    viewer: Any = napari.Viewer(show=False, show_welcome_screen=False)
    viewer.theme = theme
    window = viewer.window._qt_window
    viewer.open_sample("napari-masked-denoiser", "slide")
    _, dock = viewer.window.add_plugin_dock_widget("napari-masked-denoiser", "Denoise")
    window.resize(*size)
    window.show()

    def save(screen: str) -> None:
        wait(lambda: not dock.presenter.busy and not dock.noise.presenter.busy)
        wait(lambda: True)  # for the layout
        if (window.width(), window.height()) != size:
            raise SystemExit(f"{screen}: the window has grown to {window.width()} x {window.height()} pixels")
        window.grab().save(str(folder / f"{name}-{screen}.png"))

    save("start")
    dock.noise.expand(animate=False)
    save("noise")
    dock.noise.collapse(animate=False)
    dock.expert.expand(animate=False)
    save("expert")
    dock.expert.collapse(animate=False)
    dock.preview_button.click()
    save("preview")
    dock.compare.choose("split")
    save("split")
    dock.compare.choose("side by side")
    save("side-by-side")
    dock.compare.choose("result")
    dock.removed_button.click()
    save("removed")
    dock.messages.toggle.setChecked(True)
    save("messages")
    dock.tabs.setCurrentIndex(1)
    save("files")
    dock.tabs.setCurrentIndex(0)
    _, tune = viewer.window.add_plugin_dock_widget("napari-masked-denoiser", "Fine-tune")
    wait(lambda: not tune.presenter.busy)
    save("fine-tune")
    tune.expert.expand(animate=False)
    save("fine-tune-expert")
    dock.stop()
    tune.stop()
    viewer.close()
    print(f"{folder}/{name}-*.png")


if __name__ == "__main__":
    main()
