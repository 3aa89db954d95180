"""Animation for the README: the live view of the sample slide while it is moved, and the split.

Needs a display; without one:

    xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python docs/generate/animation.py docs/images/live.webp
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from waiting import wait

#: Width and height of the window and of the animation in pixels.
_WINDOW, _SIZE = (1180, 640), (880, 477)

#: Milliseconds that a frame is shown.
_FRAME_MS = 120


def main() -> None:
    """Record the window and write the frames."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("picture", type=Path, help="WebP or GIF file to write")
    picture = parser.parse_args().picture
    frames = record()
    picture.parent.mkdir(parents=True, exist_ok=True)
    options = {"quality": 60, "method": 6} if picture.suffix == ".webp" else {"optimize": True}
    frames[0].save(picture, save_all=True, append_images=frames[1:], duration=_FRAME_MS, loop=0, **options)
    print(f"{picture}: {len(frames)} frames, {picture.stat().st_size / 1000:.0f} kB")


def record() -> list[Any]:
    """Return the frames."""
    import napari

    viewer: Any = napari.Viewer(show=True, show_welcome_screen=False)
    window = viewer.window._qt_window
    window.resize(*_WINDOW)
    viewer.open_sample("napari-masked-denoiser", "slide")
    _, dock = viewer.window.add_plugin_dock_widget("napari-masked-denoiser", "Denoise")
    wait(lambda: not dock.presenter.busy)
    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera
    camera.zoom *= 2.2
    frames: list[Any] = []

    def capture(count: int = 1) -> None:
        for _ in range(count):
            wait(lambda: True, 0.03)
            frames.append(_frame(viewer))

    capture(6)
    dock.live.switch.setChecked(True)
    wait(lambda: dock.live.status.text().startswith("denois"), 0.0)
    _capture_until(lambda: dock.live.status.text() == "denoised", capture)
    capture(6)
    _, y, x = camera.center
    for step in range(1, 9):
        camera.center = (0, y + 14 * step, x + 18 * step)
        capture()
    _capture_until(lambda: dock.live.status.text() == "denoised", capture)
    capture(4)
    dock.compare.choose("split")
    capture(3)
    split = dock.compare.comparison.split
    start = list(split.centre())
    half = 0.3 * dock.live.canvas_size()[1] / camera.zoom
    for share in np.sin(np.linspace(0, 2 * np.pi, 28)):
        split.move_to([*start[:-1], start[-1] + half * share])
        capture()
    viewer.close()
    return frames


def _capture_until(condition: Callable[[], bool], capture: Callable[[], None]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        capture()
        if time.monotonic() > deadline:
            raise SystemExit("the live view did not finish in time")


def _frame(viewer: Any) -> Any:
    from PIL import Image

    return Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)[..., :3]).resize(
        _SIZE, Image.Resampling.LANCZOS
    )


if __name__ == "__main__":
    main()
