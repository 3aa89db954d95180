"""The contract of every sink: pixels and metadata in any order, after any interruption, byte for byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models.v04
import ome_zarr_models.v05
import pytest
import tifffile
import zarr

from masked_denoiser.atomic_file import temporary_path
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.base import Sink
from masked_denoiser.images.writers.create import create_sink
from masked_denoiser.images.writers.memory import MemorySink

CHUNK = 32

# No side is a multiple of the chunk, and no two sides agree.
KINDS: dict[str, tuple[str, tuple[int, ...], bool]] = {
    "grey": ("YX", (83, 70), False),
    "rgb": ("YXS", (83, 70, 3), True),
    "rgba": ("YXS", (83, 70, 4), True),
    "rgb-first": ("CYX", (3, 83, 70), True),
    "channels": ("CYX", (3, 83, 70), False),
    "depth": ("ZCYX", (2, 3, 83, 70), False),
    "all": ("TCZYX", (2, 3, 4, 43, 35), False),
}
FORMATS = ["memory", ".ome.zarr", ".ome.tif"]
#: File formats and their options.
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "zarr": (".ome.zarr", {}),
    "zarr-0.4": (".ome.zarr", {"ome_zarr": "0.4"}),
    "zarr-sharded": (".ome.zarr", {"shard": 2 * CHUNK}),
    "tiff": (".ome.tif", {}),
    "tiff-sharded": (".ome.tif", {"shard": 2 * CHUNK}),
}

Piece = tuple[Plane, slice, slice]


def make_source(kind: str = "grey", dtype: str = "uint8", **details: Any) -> Source:
    axes, shape, rgb = KINDS[kind]
    data = (np.random.default_rng(0).random(shape) * 250).astype(dtype)
    return Source(data, axes, rgb=rgb, **details)


def pieces(source: Source, side: int = CHUNK) -> Iterator[Piece]:
    for plane in list_planes(source.axes, source.sizes, source.rgb):
        corners = product(*(range(0, n, side) for n in source.size_yx))
        yield from ((plane, slice(y, y + side), slice(x, x + side)) for y, x in corners)


def fill(sink: Sink, source: Source, seed: int = 0, side: int = CHUNK, keep: Callable[[int], bool] = bool) -> None:
    """Write the pieces in random order; `keep` selects some by their number, from 1."""
    work = list(enumerate(pieces(source, side), start=1))
    np.random.default_rng(seed).shuffle(work)
    for plane, ys, xs in (piece for number, piece in work if keep(number)):
        sink.write(plane, ys.start, xs.start, source.read(plane, ys, xs))


def write(path: Path, source: Source, *, side: int = CHUNK, **how: Any) -> Path:
    sink = create_sink(path, source, chunk=CHUNK, **how)
    fill(sink, source, side=side)
    sink.finish()
    sink.close()
    return path


def digest(path: Path) -> dict[str, str]:
    """Return the hash of every file at or under a path."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(f.relative_to(path)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def read_back(path: Path, source: Source) -> np.ndarray[Any, Any]:
    """Return the written pixels in the source's axes, read with a third-party library."""
    if path.suffix == ".zarr":
        group: Any = zarr.open_group(path, mode="r")
        pixels, axes = np.asarray(group["0"][:]), "".join(a["name"] for a in ome_of_group(group)["axes"]).upper()
        letters = source.axes if "S" not in source.axes else source.axes.replace("S", "C")
    else:
        with tifffile.TiffFile(path) as file:
            pixels, axes = file.asarray(), file.series[0].axes
        letters = source.axes if "S" not in axes else source.axes.replace("C", "S")
    return pixels.transpose([axes.index(letter) for letter in letters])


def ome_of_group(group: Any) -> Any:
    attributes = group.attrs.asdict()
    return attributes.get("ome", attributes)["multiscales"][0]


@pytest.mark.parametrize("suffix", FORMATS)
class TestEverySink:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
    def test_pixels_round_trip_in_any_write_order(self, tmp_path: Path, suffix: str, kind: str, dtype: str) -> None:
        source = make_source(kind, dtype)
        if suffix == "memory":
            sink = MemorySink(source)
            fill(sink, source)
            found = sink.array
        else:
            found = read_back(write(tmp_path / f"out{suffix}", source), source)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, source.data[:])

    def test_accepts_only_the_requested_dtype(self, tmp_path: Path, suffix: str) -> None:
        source, path = make_source(dtype="uint8"), tmp_path / f"out{suffix}"
        memory = suffix == "memory"
        sink = MemorySink(source, "float32") if memory else create_sink(path, source, chunk=CHUNK, dtype="float32")
        with pytest.raises(ValueError, match="pixels of uint8 for an output of float32"):
            fill(sink, source)
        halves = Source(np.asarray(source.data[:], dtype="float32") / 2, "YX")
        fill(sink, halves)
        sink.finish()
        found = sink.array if isinstance(sink, MemorySink) else read_back(path, source)
        np.testing.assert_array_equal(found, halves.data[:])


@pytest.mark.parametrize(("suffix", "how"), FORMS.values(), ids=FORMS)
class TestEveryFile:
    @pytest.mark.parametrize("kind", ["rgba", "depth"])
    def test_same_content_gives_the_same_bytes(
        self, tmp_path: Path, suffix: str, how: dict[str, Any], kind: str
    ) -> None:
        source = make_source(kind, "uint16")
        first = write(tmp_path / f"first{suffix}", source, **how)
        sink = create_sink(tmp_path / f"second{suffix}", source, chunk=CHUNK, **how)
        fill(sink, source, seed=1, side=2 * CHUNK)
        fill(sink, source, seed=2, keep=lambda n: n % 3 == 0)
        sink.finish()
        assert digest(tmp_path / f"second{suffix}") == digest(first)

    def test_resumed_job_gives_the_same_bytes(self, tmp_path: Path, suffix: str, how: dict[str, Any]) -> None:
        source = make_source("rgb", "uint16")
        whole = write(tmp_path / f"whole{suffix}", source, **how)
        path = tmp_path / f"parts{suffix}"
        sink = create_sink(path, source, chunk=CHUNK, resume=True, **how)  # no output yet: starts a new one
        fill(sink, source, keep=lambda n: n % 2 == 0)
        folder = next(tmp_path.glob("parts*"))
        (folder / "0" / "0.0123456789abcdef0123456789abcdef.partial").write_bytes(b"killed while writing")
        sink.close()
        sink = create_sink(path, source, chunk=CHUNK, resume=True, **how)
        fill(sink, source, keep=lambda n: n % 2 == 1)
        sink.finish()
        assert digest(path) == digest(whole)
        assert {p.name for p in tmp_path.iterdir()} == {whole.name, path.name}

    def test_interrupted_finish_can_be_repeated(self, tmp_path: Path, suffix: str, how: dict[str, Any]) -> None:
        source = Source(np.random.default_rng(0).integers(0, 255, (2, 300, 70)).astype("uint16"), "ZYX")
        path, shares = tmp_path / f"out{suffix}", list[float]()
        whole = digest(write(tmp_path / f"whole{suffix}", source, **how))
        sink = create_sink(path, source, chunk=CHUNK, **how)
        fill(sink, source)

        def stopping(steps: int) -> Callable[[float], None]:
            left = iter(range(steps))

            def follow(_: float) -> None:
                if next(left, None) is None:
                    raise InterruptedError

            return follow

        for steps in (0, 3, 7):
            with pytest.raises(InterruptedError):
                sink.finish(stopping(steps))
            sink = create_sink(path, source, chunk=CHUNK, resume=True, **how)
        sink.finish(shares.append)
        assert shares == sorted(shares)
        assert (0 < shares[0] < 0.2, shares[-1]) == (True, 1)
        assert digest(path) == whole
        assert {p.name for p in tmp_path.iterdir()} == {f"whole{suffix}", path.name}

    def test_kill_during_folder_creation_is_harmless(
        self, tmp_path: Path, suffix: str, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, path = make_source(), tmp_path / f"out{suffix}"

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", killed)
            with pytest.raises(KeyboardInterrupt):
                create_sink(path, source, chunk=CHUNK, **how)
        assert not path.exists()
        write(path, source, resume=True, **how)
        np.testing.assert_array_equal(read_back(path, source), source.data[:])
        assert [p.name for p in tmp_path.iterdir()] == [path.name]

    def test_pyramid_holds_rounded_means(self, tmp_path: Path, suffix: str, how: dict[str, Any]) -> None:
        data = np.random.default_rng(0).integers(0, 65536, (3, 261, 522), dtype="uint16")
        source = Source(data, "CYX")
        path = write(tmp_path / f"out{suffix}", source, side=4 * CHUNK, **how)
        expected = [data]
        for _ in range(2):
            expected.append(mean_2x2(expected[-1]))
        if suffix == ".ome.zarr":
            group: Any = zarr.open_group(path, mode="r")
            found = [group[name][:] for name in sorted(group.array_keys())]
        else:
            with tifffile.TiffFile(path) as file:
                found = [level.asarray() for level in file.series[0].levels]
        assert [level.shape for level in found] == [(3, 261, 522), (3, 131, 261), (3, 66, 131)]
        for level, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(level, wanted)


def mean_2x2(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return 2 x 2 means of existing pixels by sums and counts, halves rounded up."""

    def sums(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        _, height, width = values.shape
        return np.add.reduceat(np.add.reduceat(values, range(0, height, 2), 1), range(0, width, 2), 2)

    rounded: np.ndarray[Any, Any] = np.floor(sums(pixels.astype(float)) / sums(np.ones(pixels.shape)) + 0.5)
    return rounded.astype(pixels.dtype)


DETAILS: dict[str, Any] = {
    "name": "cells & <more>",
    "pixel_size": {"T": 1.5, "Z": 2.0, "Y": 0.25, "X": 0.5},
    "units": {"T": "second", "Z": "micrometer", "Y": "micrometer", "X": "nanometer"},
    "channel_names": ("DAPI", "GFP", "µ-Cherry"),
}


class TestOmeZarr:
    @pytest.mark.parametrize("kind", KINDS)
    def test_is_valid(self, tmp_path: Path, kind: str) -> None:
        source = make_source(kind, "float32", **DETAILS)
        new = zarr.open_group(write(tmp_path / "new.zarr", source, shard=2 * CHUNK), mode="r")
        old = zarr.open_group(write(tmp_path / "old.zarr", source, ome_zarr="0.4"), mode="r")
        assert ome_zarr_models.v05.Image.from_zarr(new).ome_attributes.version == "0.5"
        assert ome_zarr_models.v04.Image.from_zarr(old).attributes.multiscales[0].version == "0.4"
        assert new["0"].shards is not None
        assert (old.metadata.zarr_format, old["0"].metadata.dimension_separator) == (2, "/")
        assert ome_of_group(old) == {**ome_of_group(new), "name": "cells & <more>", "version": "0.4"}

    def test_keeps_sizes_units_names_and_own_attributes(self, tmp_path: Path) -> None:
        source = make_source("all", "uint16", **DETAILS)
        path = write(tmp_path / "out.ome.zarr", source, attributes={"model": "general"})
        attributes: Any = zarr.open_group(path, mode="r").attrs.asdict()
        scales = attributes["ome"]["multiscales"][0]
        assert [a["name"] for a in scales["axes"]] == ["t", "c", "z", "y", "x"]
        assert [a.get("unit") for a in scales["axes"]] == ["second", None, "micrometer", "micrometer", "nanometer"]
        assert scales["datasets"][0]["coordinateTransformations"] == [
            {"type": "scale", "scale": [1.5, 1, 2, 0.25, 0.5]}
        ]
        assert [c["label"] for c in attributes["ome"]["omero"]["channels"]] == list(DETAILS["channel_names"])
        complete = attributes["masked_denoiser"]["complete"]
        assert complete["files"] == sum(path.is_file() for path in (path / "0" / "c").rglob("*"))
        assert attributes["masked_denoiser"] == {
            "rgb": False,
            "axes": "TCZYX",
            "model": "general",
            "complete": complete,
        }

    def test_lower_levels_are_aligned_with_their_pixels(self, tmp_path: Path) -> None:
        source = Source(np.zeros((1, 522), "uint8"), "YX", pixel_size={"Y": 3.0, "X": 0.5})
        path = write(tmp_path / "out.zarr", source)
        ome: Any = zarr.open_group(path, mode="r").attrs["ome"]
        found = [d["coordinateTransformations"] for d in ome["multiscales"][0]["datasets"]]
        assert [t[0]["scale"] for t in found] == [[3, 0.5], [3, 1], [3, 2]]
        assert [t[1]["translation"] for t in found[1:]] == [[0, 0.25], [0, 0.75]]

    def test_contrast_windows_come_from_the_pixels_except_for_rgb(self, tmp_path: Path) -> None:
        data = np.stack([np.full((40, 40), 7), np.arange(1600).reshape(40, 40)]).astype("uint16")
        path = write(tmp_path / "out.zarr", Source(data, "CYX"))
        colour = write(tmp_path / "colour.zarr", make_source("rgb", "uint8"))
        windows = [[c["window"] for c in channels_of(p)] for p in (path, colour)]
        assert windows[0] == [
            {"start": 0, "min": 0, "end": 65535, "max": 65535},  # constant: the window is that of the dtype
            {"start": 0, "min": 0, "end": 1599, "max": 65535},
        ]
        assert windows[1] == [{"start": 0, "min": 0, "end": 255, "max": 255}] * 3
        assert [c["color"] for c in channels_of(colour)] == ["FF0000", "00FF00", "0000FF"]

    def test_colours_and_windows_of_the_source_are_kept_unless_values_change(self, tmp_path: Path) -> None:
        kept: dict[str, Any] = {"channel_colours": ("102030", "FFFF00", "0000FF"), "windows": ((1.0, 90.0),) * 3}
        source = make_source("channels", "float32", **kept)
        for how in ({}, {"ome_zarr": "0.4", "overwrite": True}):
            path = write(tmp_path / "out.zarr", source, **how)
            with open_image(path) as found:
                assert (found.channel_colours, found.windows) == (kept["channel_colours"], kept["windows"])
        sink = create_sink(tmp_path / "std.zarr", source, chunk=CHUNK, dtype="uint16")
        sink.finish()
        assert channels_of(tmp_path / "std.zarr")[0]["window"] == {"start": 0, "min": 0, "end": 65535, "max": 65535}

    def test_rgb_shares_a_chunk_and_alpha_has_its_own(self, tmp_path: Path) -> None:
        path = write(tmp_path / "out.zarr", make_source("rgba"))
        array: Any = zarr.open_group(path, mode="r")["0"]
        assert array.chunks == (3, CHUNK, CHUNK)

    def test_a_unit_outside_the_standard_is_kept(self, tmp_path: Path) -> None:
        path = write(tmp_path / "out.zarr", make_source(units={"Y": "pixel", "X": "pixel"}))
        ome: Any = zarr.open_group(path, mode="r").attrs["ome"]
        assert [a["unit"] for a in ome["multiscales"][0]["axes"]] == ["pixel", "pixel"]


def channels_of(path: Path) -> Any:
    ome: Any = zarr.open_group(path, mode="r").attrs["ome"]
    return ome["omero"]["channels"]


class TestOmeTiff:
    def test_keeps_sizes_units_names_and_own_attributes(self, tmp_path: Path) -> None:
        source = make_source("all", "uint16", **DETAILS, channel_colours=("102030", "FFFFFF", "000000"))
        pixels, own = ome_of(write(tmp_path / "out.ome.tif", source, attributes={"model": "general"}))
        wanted = {
            "SizeT": 2, "SizeC": 3, "SizeZ": 4, "Type": "uint16",
            "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm",
            "PhysicalSizeZ": 2.0, "PhysicalSizeZUnit": "µm", "TimeIncrement": 1.5, "TimeIncrementUnit": "s",
        }  # fmt: skip
        assert {key: pixels[key] for key in wanted} == wanted
        assert [c["Name"] for c in pixels["Channel"]] == list(DETAILS["channel_names"])
        assert [c["Color"] for c in pixels["Channel"]] == [0x102030FF, -1, 0xFF]
        assert own == {"rgb": False, "axes": "TCZYX", "shape": [2, 3, 4, 43, 35], "model": "general", "complete": True}

    @pytest.mark.parametrize("kind", ["rgb", "rgba", "rgb-first"])
    def test_colour_is_one_channel_of_several_samples(self, tmp_path: Path, kind: str) -> None:
        source = make_source(kind, pixel_size={"Y": 0.25, "X": 0.5}, units={"Y": "micrometer", "X": "nanometer"})
        pixels, _ = ome_of(write(tmp_path / "out.ome.tif", source))
        samples = source.sizes["S" if "S" in source.axes else "C"]
        assert (pixels["SizeC"], pixels["SizeT"], pixels["SizeZ"]) == (samples, 1, 1)
        assert pixels["Channel"]["SamplesPerPixel"] == samples
        assert not {"Color", "Name"} & set(pixels["Channel"])
        assert [pixels[f"PhysicalSize{key}"] for key in ("X", "XUnit", "Y", "YUnit")] == [0.5, "nm", 0.25, "µm"]

    def test_unknown_units_are_omitted(self, tmp_path: Path) -> None:
        source = make_source("all", pixel_size={"T": 2.0, "Y": 3.0, "X": 3.0}, units={"X": "cubit"})
        pixels, _ = ome_of(write(tmp_path / "out.tif", source))
        assert (pixels["PhysicalSizeYUnit"], pixels["PhysicalSizeXUnit"]) == ("pixel", "reference frame")
        assert "TimeIncrement" not in pixels

    @pytest.mark.parametrize(("kind", "extra"), [("rgb", ()), ("rgba", (tifffile.EXTRASAMPLE.UNASSALPHA,))])
    def test_colour_is_marked_as_such(self, tmp_path: Path, kind: str, extra: tuple[int, ...]) -> None:
        with tifffile.TiffFile(write(tmp_path / "out.tif", make_source(kind))) as file:
            page = file.pages.first
            assert (page.photometric, page.extrasamples) == (tifffile.PHOTOMETRIC.RGB, extra)

    @pytest.mark.parametrize("samples", [1, 2, 3])
    def test_non_colour_samples_are_kept(self, tmp_path: Path, samples: int) -> None:
        data = np.random.default_rng(0).integers(0, 256, (40, 50, samples), dtype="uint8")
        with tifffile.TiffFile(write(tmp_path / "out.tif", Source(data, "YXS"))) as file:
            assert file.pages.first.photometric == tifffile.PHOTOMETRIC.MINISBLACK
            np.testing.assert_array_equal(file.asarray().reshape(data.shape), data)

    def test_samples_with_channels_are_kept(self, tmp_path: Path) -> None:
        data = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), dtype="uint8")
        path = write(tmp_path / "out.tif", Source(data, "CYXS", rgb=True))
        np.testing.assert_array_equal(tifffile.imread(path), data)

    @pytest.mark.parametrize(("name", "big"), [("out.ome.tiff", False), ("out.ome.btf", True)])
    def test_bigtiff_where_required(self, tmp_path: Path, name: str, big: bool) -> None:
        with tifffile.TiffFile(write(tmp_path / name, make_source())) as file:
            assert file.is_bigtiff == big

    def test_bigtiff_beyond_four_gigabytes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("masked_denoiser.images.writers.assembled.ome_tiff.BIGTIFF_THRESHOLD", 83 * 70 - 1)
        with tifffile.TiffFile(write(tmp_path / "out.tif", make_source())) as file:
            assert file.is_bigtiff

    def test_has_no_name_before_it_is_complete(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source, path = make_source("depth"), tmp_path / "out.tif"
        sink = create_sink(path, source, chunk=CHUNK)
        fill(sink, source)

        def broken(*_: object) -> Iterator[np.ndarray[Any, Any]]:
            yield np.zeros((CHUNK, CHUNK), "uint8")
            raise OSError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr("masked_denoiser.images.writers.assembled.ome_tiff._tiles", broken)
            with pytest.raises(OSError, match="disk full"):
                sink.finish()
        assert not list(tmp_path.rglob("*.tif"))
        create_sink(path, source, chunk=CHUNK, resume=True).finish()
        np.testing.assert_array_equal(read_back(path, source), source.data[:])

    def test_kill_during_cleanup_leaves_a_complete_file(self, tmp_path: Path) -> None:
        source = make_source()
        path = write(tmp_path / "out.tif", source)
        before = digest(path)
        temporary_path(tmp_path / "out.tif.partial", "removing").mkdir()  # remains if the removal is interrupted
        create_sink(path, source, chunk=CHUNK, resume=True).finish()
        assert digest(path) == before
        assert [p.name for p in tmp_path.iterdir()] == ["out.tif"]


def ome_of(path: Path) -> tuple[Any, Any]:
    """Return the Pixels of a file's OME-XML and our annotation, as parsed by tifffile."""
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        tree = tifffile.xml2dict(file.ome_metadata)["OME"]  # type: ignore[arg-type]
    own = tree["StructuredAnnotations"]["MapAnnotation"]["Value"]["M"]
    return tree["Image"]["Pixels"], json.loads(own["value"])
