"""Measure the live view of the Denoise dock in a real window.

    xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" python -m benchmarks.live

A slide of 100 000 x 100 000 pixels, which repeats a pattern, is browsed at full resolution on a canvas of 1000 x 800
pixels. Printed are the times from a move of the camera to the first denoised pixels and to the complete view, the
longest time for which the event loop handled no timer, and the memory above that of the viewer without a live view.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import psutil

from benchmarks.measure import describe_machine
from masked_denoiser.images.indexing import Spans
from masked_denoiser.images.lazy_arrays import BlockView
from masked_denoiser.inference.device import choose_device

#: Side of the slide, number of its levels, and size of the canvas in pixels.
_SIDE, _LEVELS, _CANVAS = 100_000, 9, (800, 1000)

#: Moves of the camera that are measured, in canvas widths.
_MOVES = ((0.3, 0.3), (1.5, 0.0), (0.0, 2.5), (40.0, 30.0), (0.1, 0.1), (-3.0, 2.0))


#: Side in pixels of the pattern of which the slide consists.
_PATTERN = 1024


class HugeSlide(BlockView):
    """Level of a noisy slide that repeats a pattern, which takes no memory."""

    def __init__(self, level: int) -> None:
        self._level = level
        self.shape, self.dtype = (_SIDE >> level, _SIDE >> level, 3), np.dtype(np.uint8)
        y, x = (axis * 2.0**level for axis in np.mgrid[:_PATTERN, :_PATTERN])
        cells = np.sin(y * np.pi / 32) * np.cos(x * np.pi / 32) + 0.5 * np.sin((x + y) * np.pi / 16)
        colours = np.array([150.0, 110.0, 160.0]) + cells[..., None] * np.array([40.0, 50.0, 20.0])
        noise = np.random.default_rng(level).normal(0, 25 / 2**level, colours.shape)
        self._pattern = np.clip(np.rint(colours + noise), 0, 255).astype(np.uint8)

    def _read(self, spans: Spans) -> np.ndarray[Any, Any]:
        ys, xs = (np.arange(*span) % _PATTERN for span in spans[:2])
        return np.asarray(self._pattern[np.ix_(ys, xs)][..., slice(*spans[2])])


def main() -> None:
    """Measure and print."""
    import napari
    from qtpy.QtCore import QTimer

    viewer: Any = napari.Viewer(show=False, show_welcome_screen=False)
    viewer.add_image([HugeSlide(level) for level in range(_LEVELS)], rgb=True, name="slide")
    _, dock = viewer.window.add_plugin_dock_widget("napari-masked-denoiser", "Denoise")
    window = viewer.window._qt_window
    window.show()
    _wait(lambda: not dock.presenter.busy)
    _resize_canvas(window, dock)
    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera
    camera.zoom, camera.center = 1.0, (0, _SIDE / 2, _SIDE / 2)
    _wait(lambda: True)
    dock.model.setCurrentText("general-rgb")
    before = psutil.Process().memory_info().rss
    gaps = _Gaps(QTimer())
    started = time.monotonic()
    dock.live.switch.setChecked(True)
    _wait(lambda: dock.live.status.text() == "denoised")
    switched_on = time.monotonic() - started
    gaps.clear()
    times = [_move(camera, dock, move) for move in _MOVES]
    figures = {
        "machine": describe_machine(choose_device("auto")[0]),
        "canvas": dock.live.canvas_size(),
        "seconds from the switch to the first complete view, with the import of torch": round(switched_on, 2),
        "median seconds to the first denoised pixels": round(median(first for first, _ in times), 2),
        "longest": round(max(first for first, _ in times), 2),
        "median seconds to the complete view": round(median(done for _, done in times), 2),
        "longest to the complete view": round(max(done for _, done in times), 2),
        "longest gap of the event loop in milliseconds": round(1000 * gaps.longest),
        "memory of the live view in MB": round((psutil.Process().memory_info().rss - before) / 2**20),
        "of which cached pixels": round(dock.live.live.cached_bytes / 2**20),
    }
    print(json.dumps(figures, indent=1))
    dock.stop()
    viewer.close()


def _move(camera: Any, dock: Any, move: tuple[float, float]) -> tuple[float, float]:
    """Move the camera by canvas heights and widths; return the times to the first pixels and to the complete view."""
    height, width = dock.live.canvas_size()
    _, y, x = camera.center
    started, first = time.monotonic(), 0.0
    camera.center = (0, y + move[0] * height, x + move[1] * width)
    _wait(lambda: dock.live.status.text() != "denoised")
    at_start = dock.live.progress_bar.value()
    while dock.live.status.text() != "denoised":
        _wait(lambda: True, seconds=0.01)
        if not first and (dock.live.progress_bar.value() > at_start or dock.live.status.text() == "denoised"):
            first = time.monotonic() - started
    done = time.monotonic() - started
    return first or done, done


def _resize_canvas(window: Any, dock: Any) -> None:
    """Give the canvas its size, by changing that of the window."""
    for _ in range(3):
        height, width = dock.live.canvas_size()
        window.resize(window.width() + _CANVAS[1] - width, window.height() + _CANVAS[0] - height)
        _wait(lambda: True)


class _Gaps:
    """Longest time between two ticks of a timer that is due every 5 ms."""

    def __init__(self, timer: Any) -> None:
        self._timer, self._last = timer, time.monotonic()
        self.longest = 0.0
        timer.timeout.connect(self._tick)
        timer.start(5)

    def clear(self) -> None:
        self.longest, self._last = 0.0, time.monotonic()

    def _tick(self) -> None:
        now = time.monotonic()
        self.longest, self._last = max(self.longest, now - self._last), now


def _wait(condition: Callable[[], bool], seconds: float = 0.3) -> None:
    """Process events for at least this time, and until a condition holds."""
    from qtpy.QtWidgets import QApplication

    started = time.monotonic()
    while time.monotonic() - started < seconds or not condition():
        QApplication.processEvents()
        time.sleep(0.002)
        if time.monotonic() - started > 120:
            raise SystemExit("the live view did not finish within two minutes")


if __name__ == "__main__":
    main()
