"""Images at URLs, from a local server: read as from disk, with one-line errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.create import create_sink
from tests.reliability.round_trips import write

PIXELS = np.random.default_rng(3).integers(1, 200, (2, 150, 130)).astype("uint16")


class Files(SimpleHTTPRequestHandler):
    """Plain file server without listing; range requests only if `ranges`, and failures on demand."""

    ranges = True
    broken = False

    def log_message(self, *_: object) -> None:
        pass

    def list_directory(self, path: Any) -> None:
        self.send_error(403)

    def do_GET(self) -> None:
        if self.broken and "/c/" in self.path:
            self.connection.close()
            return
        wanted = self.headers.get("Range") if self.ranges else None
        path = Path(self.translate_path(self.path))
        if not wanted or not path.is_file():
            super().do_GET()
            return
        content = path.read_bytes()
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start = int(first) if first else len(content) - int(last)
        part = content[start : int(last) + 1 if first and last else None]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str, type[Files]]]:
    """Return a folder, its URL, and the handler whose class attributes configure the server."""
    handler = type("Here", (Files,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()
    thread.join()


def make(path: Path, **how: Any) -> Path:
    steps = {"Y": 0.5, "X": 0.25}
    source = Source(PIXELS, "CYX", pixel_size=steps, units=dict.fromkeys("YX", "micrometer"), channel_names=("a", "b"))
    write(source, path, **how)
    return path


def read(source: Source) -> np.ndarray[Any, Any]:
    height, width = source.size_yx
    planes = list_planes(source.axes, source.sizes, source.rgb)
    return np.concatenate([source.read(plane, slice(0, height), slice(0, width)) for plane in planes])


@pytest.mark.parametrize("how", [{"ome_zarr": "0.4"}, {}, {"shard": 128}], ids=str)
def test_remote_image_matches_local_image(served: tuple[Path, str, Any], how: dict[str, Any]) -> None:
    folder, address, _ = served
    path = make(folder / "x.ome.zarr", **how)
    with open_image(path) as here, open_image(f"{address}/x.ome.zarr") as there:
        np.testing.assert_array_equal(read(there), PIXELS)
        facts = ("axes", "shape", "dtype", "pixel_size", "units", "channel_names", "channel_colours", "windows", "name")
        assert [getattr(there, fact) for fact in facts] == [getattr(here, fact) for fact in facts]
        assert (there.path, there.inputs, there.where) == (None, (), f"{address}/x.ome.zarr")
        create_sink(folder / "out.zarr", there, chunk=64).close()


def test_containers_open_without_directory_listing(served: tuple[Path, str, Any]) -> None:
    folder, address, _ = served
    root = zarr.create_group(folder / "x.zarr", attributes={"ome": {"version": "0.5", "bioformats2raw.layout": 3}})
    root.create_group("OME", attributes={"ome": {"version": "0.5", "series": ["0", "1"]}})
    for name in "01":
        make(folder / f"{name}.zarr").rename(folder / "x.zarr" / name)
    with open_image(f"{address}/x.zarr") as source:
        assert source.notes == ("x.zarr is a group; '0' in it was opened, the first of 2",)
        np.testing.assert_array_equal(read(source), PIXELS)


def test_network_failure_names_the_region(served: tuple[Path, str, Any]) -> None:
    folder, address, handler = served
    make(folder / "x.zarr")
    with open_image(f"{address}/x.zarr") as source:
        plane = next(list_planes(source.axes, source.sizes, source.rgb))
        source.read(plane, slice(0, 64), slice(0, 64))
        handler.broken = True
        with pytest.raises(
            ImageError, match=r"x\.zarr: cannot be reached at rows 64 to 128, columns 0 to 64, C 0 .*--resume"
        ):
            source.read(plane, slice(64, 128), slice(0, 64))
        handler.broken = False
        np.testing.assert_array_equal(source.read(plane, slice(64, 128), slice(0, 64))[0], PIXELS[0, 64:128, :64])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_vanished_image_is_not_read_as_empty(served: tuple[Path, str, Any], version: str) -> None:
    """Zarr reads a missing chunk as empty, also after a share was unmounted or a bucket deleted."""
    folder, address, _ = served
    path = make(folder / "x.zarr", ome_zarr=version)
    missing = next(path.glob("0/**/2/2"))
    missing.unlink()
    opened = [open_image(path), open_image(zarr.open_group(path, mode="r")["0"]), open_image(f"{address}/x.zarr")]
    for source in opened:
        plane = next(list_planes(source.axes, source.sizes, source.rgb))
        assert source.read(plane, slice(128, 150), slice(128, 130)).max() == 0  # a single missing chunk is empty
    path.rename(folder / "unmounted")
    for source in opened:
        plane = next(list_planes(source.axes, source.sizes, source.rgb))
        with pytest.raises((ImageError, OSError), match="the whole zarr has disappeared"):
            source.read(plane, slice(0, 64), slice(0, 64))


def test_server_without_range_requests_gives_no_wrong_pixels(served: tuple[Path, str, Any]) -> None:
    folder, address, handler = served
    make(folder / "x.zarr", shard=128)
    handler.ranges = False
    with open_image(f"{address}/x.zarr") as source, pytest.raises(ImageError, match="does the server support ranges"):
        read(source)


def test_open_errors_are_one_line(served: tuple[Path, str, Any]) -> None:
    folder, address, _ = served
    tifffile.imwrite(folder / "a.tif", PIXELS)
    zarr.create_group(folder / "empty.zarr")
    for url, words in {
        f"{address}/a.tif": "no zarr was found; check the address, and download other formats, such as TIFF",
        f"{address}/no.zarr": "no zarr was found; check the address",
        f"{address}/empty.zarr": "empty.zarr",
        "http://127.0.0.1:1/x.zarr": "check the address and the connection",
        "ftp://host/x.zarr": "unknown kind; give one of http://, https://, s3://, or a file path",
        "file:///etc/x.zarr": "unknown kind",
        "https://me:secret@host/x.zarr": "https://host: an address with a password",
        "https://host/x.zarr?token=secret": "https://host: an address with a password",
    }.items():
        with pytest.raises(ImageError) as caught:
            open_image(url)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)


def test_missing_package_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "masked_denoiser.images.readers.zarr.remote.find_spec", lambda name: None if name == "s3fs" else find_spec(name)
    )
    with pytest.raises(ImageError, match=r"needs the package s3fs: pip install 'napari-masked-denoiser\[remote\]'"):
        open_image("s3://bucket/x.zarr")
