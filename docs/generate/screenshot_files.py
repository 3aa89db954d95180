r"""Screenshot of the Files tab for docs/napari.md: a list in progress, with a broken file, in a napari viewer.

Needs a display; without one:

    xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" \
        python docs/generate/screenshot_files.py docs/images/files.png
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Width and height of the window in pixels.
_SIZE = (1280, 760)


def main() -> None:
    """Open napari, add a folder, click Start, open a result, and save the window."""
    parser = argparse.ArgumentParser(description="Take a picture of the Files tab.")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    parser.add_argument("--minutes", type=float, default=15, help="give up after this time")
    arguments = parser.parse_args()
    folder = Path(tempfile.gettempdir(), "slides")  # shown in the picture
    take(arguments.picture, make_images(folder), 60 * arguments.minutes)
    shutil.rmtree(folder)


def make_images(folder: Path) -> Path:
    """Write the quarters of the sample slide, one of them truncated, and the slide; return the folder.

    Raises:
        FileExistsError: if the folder exists; it is left unchanged.
    """
    import tifffile

    from masked_denoiser.images.open import open_image
    from masked_denoiser.samples import sample_path

    folder.mkdir()
    with open_image(sample_path("slide")) as slide:
        for number, (y, x) in enumerate(((0, 0), (0, 256), (256, 0), (256, 256)), 1):
            quarter = slide.data[y : y + 256, x : x + 256]
            tifffile.imwrite(folder / f"core {number}.tif", quarter, photometric="rgb", tile=(64, 64))
    truncated = folder / "core 3.tif"
    truncated.write_bytes(truncated.read_bytes()[:60_000])
    shutil.copy(sample_path("slide"), folder / "slide.ome.tif")
    return folder


def take(picture: Path, images: Path, seconds: float) -> None:
    """Save the picture.

    Raises:
        SystemExit: if it takes too long.
    """
    import napari
    from PIL import Image

    viewer: Any = napari.Viewer(show=True, show_welcome_screen=False)
    viewer.window._qt_window.resize(*_SIZE)
    _, dock = viewer.window.add_plugin_dock_widget("napari-masked-denoiser", "Denoise")
    viewer.window._qt_window.resizeDocks([dock.parent()], [440], _horizontal())
    deadline = time.monotonic() + seconds

    def wait(condition: Callable[[], bool]) -> None:
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(
                    f"the dock did not finish in time; give more --minutes: {dock.files.messages.toPlainText()}"
                )
            _pump(1)

    wait(lambda: not dock.presenter.busy)
    files = dock.files
    dock.tabs.setCurrentWidget(files)
    dock.expert.fields["tile"].value = 128
    files.presenter.add([str(images)])
    files.start_button.click()
    last = files.table.rowCount() - 1
    wait(lambda: files.table.item(last - 1, 1).text().startswith("done"))
    files.presenter.open(0)
    wait(lambda: files.table.item(last, 1).text()[:2].strip().isdecimal() and files.progress_bar.value() > 850)
    _pump(20)
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)).quantize(256).save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")
    wait(lambda: not files.presenter.busy)
    print(files.messages.toPlainText())
    viewer.close()


def _pump(times: int) -> None:
    from qtpy.QtWidgets import QApplication

    for _ in range(times):
        QApplication.processEvents()
        time.sleep(0.02)


def _horizontal() -> Any:
    from qtpy.QtCore import Qt

    return Qt.Orientation.Horizontal


if __name__ == "__main__":
    main()
