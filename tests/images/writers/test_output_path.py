"""Output paths: errors name the value and the remedy."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.atomic_file import temporary_path
from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.create import create_sink
from masked_denoiser.images.writers.downsample import build_pyramid, halve, regions
from masked_denoiser.images.writers.layout import MAX_UNSHARDED_CHUNKS, Layout, shard_side, tile_side, working_chunk
from masked_denoiser.images.writers.output_path import (
    check_disk_space,
    check_output,
    check_replaceable,
    discard_output,
    estimate_bytes,
)

FILES = pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
GREY = Source(np.ones((40, 50), "uint8"), "YX")


def create(path: Path, source: Source = GREY, **how: Any) -> None:
    create_sink(path, source, chunk=32, **how).close()


def finish(path: Path) -> None:
    create_sink(path, GREY, chunk=32).finish()


@pytest.mark.parametrize("name", ["out.png", "out", "zarr"])
def test_unknown_extension_lists_the_supported_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match=rf"{name} has no known suffix.*\.ome\.zarr.*\.ome\.btf") as raised:
        create(tmp_path / name)
    names_folder = str(raised.value).endswith(f"; for a folder, `denoise` takes a slash at the end: {tmp_path / name}/")
    assert names_folder == ("." not in name)


@FILES
def test_finished_output_needs_overwrite(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    finish(path)
    with pytest.raises(ImageError, match=f"{name} exists: resume, overwrite"):
        create(path)
    larger = Source(np.ones((60, 70), "uint16"), "YX")
    create(path, larger, overwrite=True)
    create(path, larger, resume=True)
    with pytest.raises(ImageError, match=r"cannot be resumed: its level 0 has .*\(40, 50\)"):
        create(path, GREY, resume=True)
    with pytest.raises(ImageError, match="it holds uint16, expected int16"):
        create(path, larger, resume=True, dtype="int16")


def test_unfinished_tiff_needs_overwrite(tmp_path: Path) -> None:
    create(tmp_path / "out.tif")
    with pytest.raises(ImageError, match=r"out\.tif\.partial exists"):
        create(tmp_path / "out.tif")


def test_finished_tiff_cannot_be_resumed(tmp_path: Path) -> None:
    finish(tmp_path / "out.tif")
    sink = create_sink(tmp_path / "out.tif", GREY, chunk=32, resume=True)
    with pytest.raises(ImageError, match="already finished"):
        sink.write(Plane(), 0, 0, np.ones((1, 2, 2), "uint8"))


def test_other_folders_are_never_deleted(tmp_path: Path) -> None:
    for name in ("out.zarr", "out.tif"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("dear")
        with pytest.raises(ImageError, match=r"does not look like a zarr|is a folder"):
            create(tmp_path / name, overwrite=True)
        assert (tmp_path / name / "thesis.txt").read_text() == "dear"
    with pytest.raises(ImageError, match="does not look like a zarr"):
        discard_output(tmp_path / "out.zarr")
    with pytest.raises(ImageError, match="not an output that can be resumed"):
        create(tmp_path / "out.zarr", resume=True)


def _labels(path: Path) -> None:
    zarr.open_group(path, mode="r+").create_group("labels/cells")


def _second_image(path: Path) -> None:
    zarr.open_group(path, mode="r+").create_array("1", data=np.ones((4, 4), "uint8"))


def _notes(path: Path) -> None:
    (path / "0" / "mine").mkdir()
    (path / "notes.txt").write_text("dear")


@pytest.mark.parametrize(("add", "named"), [(_labels, "labels"), (_second_image, "1"), (_notes, "notes.txt")])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_foreign_files_beside_the_image_are_never_deleted(
    tmp_path: Path, add: Callable[[Path], None], named: str, version: str
) -> None:
    path = tmp_path / "out.zarr"
    create(path, ome_zarr=version)
    create(path, ome_zarr=version, overwrite=True)
    add(path)
    before = {p: p.stat().st_mtime_ns for p in path.rglob("*")}
    for refused in (
        lambda: create(path, overwrite=True),
        lambda: discard_output(path),
        lambda: check_replaceable(path),
    ):
        with pytest.raises(ImageError, match=rf"holds more than an image \({named}\), which would be lost"):
            refused()
    assert {p: p.stat().st_mtime_ns for p in path.rglob("*")} == before


def test_image_container_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr"
    group = zarr.create_group(path, attributes={"ome": {"bioformats2raw.layout": 3, "version": "0.5"}})
    group.create_array("0/0", data=np.ones((4, 4), "uint8"))
    with pytest.raises(ImageError, match=r"holds more than an image \(0\)"):
        create(path, overwrite=True)
    for zarr_format in (2, 3):
        zarr.create_array(tmp_path / "a.zarr", data=np.ones((4, 4)), zarr_format=zarr_format, overwrite=True)
        create(tmp_path / "a.zarr", overwrite=True)


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        (Source(np.ones((4, 4), "float16"), "YX"), "out.tif", r"cannot hold float16: write to \.ome\.zarr"),
        (Source(np.ones((2, 4, 4, 3), "uint8"), "CYXS", rgb=True), "out.zarr", r"axes CYXS .* write to \.ome\.tif"),
    ],
)
def test_unsupported_content_is_refused_before_removal(tmp_path: Path, source: Source, name: str, message: str) -> None:
    finish(tmp_path / name)
    with pytest.raises(ImageError, match=message):
        create(tmp_path / name, source, overwrite=True)
    assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("given", "output"),
    [("in.tif", "in.tif"), ("in.zarr", "in.zarr"), ("in.zarr", "in.zarr/out.tif"), ("in.zarr/a.tif", "in.zarr")],
)
def test_input_is_never_overwritten(tmp_path: Path, given: str, output: str) -> None:
    (tmp_path / "in.zarr").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    source = Source(GREY.data, "YX", path=tmp_path / given)
    with pytest.raises(ImageError, match="is, holds or lies in the input"):
        create(tmp_path / "link" / output, source, overwrite=True)
    check_output(tmp_path / "out.tif", source)


def test_missing_and_locked_folders_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="missing is not an existing folder: create it"):
        check_output(tmp_path / "missing" / "out.tif", GREY)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ImageError, match="is not writable"):
        check_output(tmp_path / "out.tif", GREY)


def test_resume_with_overwrite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="either resumed or overwritten"):
        create(tmp_path / "out.tif", resume=True, overwrite=True)


def test_size_estimate_covers_the_output(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (1000, 1000), dtype="uint16")
    source, path = Source(noise, "YX"), tmp_path / "out.zarr"
    needed = estimate_bytes(source, path)
    sink = create_sink(path, source, chunk=250)
    for y, x in np.ndindex(4, 4):
        part = noise[250 * y : 250 * (y + 1), 250 * x : 250 * (x + 1)]
        sink.write(Plane(), 250 * y, 250 * x, part[None])
    sink.finish()
    written = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    assert 0.9 * needed < written < 1.02 * needed
    assert estimate_bytes(source, tmp_path / "out.tif", "float32") == 4 * needed


def test_insufficient_disk_space_names_both_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2_000_000_000))
    check_disk_space(tmp_path / "new" / "out.tif", 2_000_000_000)
    with pytest.raises(ImageError, match=r"out\.tif needs up to 3\.5 GB, only 2\.0 GB are free on"):
        check_disk_space(tmp_path / "new" / "out.tif", 3_500_000_000)


def test_discard_removes_leftovers_and_keeps_a_finished_tiff(tmp_path: Path) -> None:
    finish(tmp_path / "done.tif")
    for name in ("done.tif", "out.tif", "out.zarr"):
        discard_output(tmp_path / name)  # a missing output is not an error
    create(tmp_path / "out.tif")
    create(tmp_path / "out.zarr")
    temporary_path(tmp_path / "out.zarr", "creating").mkdir()
    (tmp_path / "out.zarr.creating").mkdir()  # of the user
    for name in ("out.tif", "out.zarr"):
        discard_output(tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["done.tif", "out.zarr.creating"]


@pytest.mark.parametrize("name", ["out.zarr", "out.tif", f"{'long' * 60}.zarr"])
def test_temporary_names_touch_no_file_of_the_user(tmp_path: Path, name: str) -> None:
    """Every name next to the output that could be mistaken for a temporary one."""
    mine = [
        f"{name}{more}"
        for more in (".partial", ".creating", ".journal.new", ".new", ".tmp")
        if len(name) < 200 and not (more == ".partial" and name.endswith(".tif"))
    ]
    mine += [f".{name[:100]}.creating", f"saving {name[:100]}", "unfinished.tif"]
    for other in mine:
        (tmp_path / other).write_text("dear")
    finish(tmp_path / name)
    create(tmp_path / name, overwrite=True)
    discard_output(tmp_path / name)
    assert all((tmp_path / other).read_text() == "dear" for other in mine)


def test_working_folder_of_the_user_is_kept(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "out.tif.partial").create_array("0", data=np.ones((4, 4)))
    with pytest.raises(ImageError, match=r"out\.tif\.partial was not written by this program"):
        create(tmp_path / "out.tif", overwrite=True)
    with pytest.raises(ImageError, match="cannot be resumed"):
        create(tmp_path / "out.tif", resume=True)
    assert (tmp_path / "out.tif.partial" / "0" / "zarr.json").exists()


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("int8", -128, 127), ("uint64", 0, 2**64 - 1), ("int64", -(2**63), 2**63 - 1)],
)
def test_means_of_extreme_integers_do_not_overflow(dtype: str, low: int, high: int) -> None:
    block = np.array([[low, low], [high, high]], dtype).repeat(2, axis=1)
    assert halve(block, 0, 1).tolist() == [[(2 * low + 2 * high + 2) // 4] * 2]
    assert halve(np.full((3, 1), high, dtype), 0, 1).tolist() == [[high], [high]]


def test_means_of_floats_and_booleans() -> None:
    large = np.full((2, 2), np.finfo("float16").max, "float16")
    assert halve(large, 0, 1)[0, 0] == large[0, 0]
    assert np.isnan(halve(np.array([[1, np.nan]], "float32"), 0, 1)).all()
    assert halve(np.array([[True, True, True, False], [False, False, False, False]]), 0, 1).tolist() == [[True, False]]


def test_pyramid_reads_at_most_four_chunks_at_a_time() -> None:
    layout = Layout("YXS", (700, 900, 3), np.dtype("uint8"), 128, colour="S")
    levels: list[Any] = [zarr.create_array({}, shape=v.shape, chunks=v.chunks, dtype="uint8") for v in layout.levels]
    read: list[int] = []

    class Watched:
        shape, chunks = levels[0].shape, levels[0].chunks

        def __getitem__(self, key: Any) -> Any:
            read.append(levels[0][key].size)
            return levels[0][key]

    build_pyramid([Watched(), *levels[1:]], "YXS")
    assert max(read) <= 4 * 128 * 128 * 3


def test_pyramid_writes_each_whole_shard_once() -> None:
    layout = Layout("CYX", (2, 900, 700), np.dtype("uint8"), 32, shard=128)
    written: list[tuple[int, tuple[slice, ...]]] = []

    class Watched:
        def __init__(self, number: int) -> None:
            level = layout.levels[number]
            self.number, self.shape, self.chunks, self.shards = number, level.shape, level.chunks, level.shards
            self.dtype, self.pixels = layout.dtype, np.zeros(level.shape, layout.dtype)

        def __getitem__(self, key: Any) -> Any:
            return self.pixels[key]

        def __setitem__(self, key: Any, value: Any) -> None:
            written.append((self.number, key))
            self.pixels[key] = value

    levels = [Watched(i) for i in range(len(layout.levels))]
    levels[0].pixels[:] = 7
    build_pyramid(levels, "CYX")
    wanted = [(i, region) for i, v in enumerate(levels) if i for region in regions(v.shape, v.shards or ())]
    assert written == wanted
    assert all((level.pixels == 7).all() for level in levels)


@given(st.tuples(st.integers(1, 300_000), st.integers(1, 300_000)), st.integers(1, 300), st.sampled_from([1, 2, 4, 5]))
def test_shards_are_multiples_of_tiles_and_chunks(size: tuple[int, int], eighth: int, parts: int) -> None:
    tile = 8 * eighth * parts
    chunk = tile // parts
    side = shard_side(size, tile, chunk)
    chunks = -(-size[0] // chunk) * -(-size[1] // chunk)
    assert bool(side) == (chunks > MAX_UNSHARDED_CHUNKS)
    assert side % tile == side % chunk == 0
    assert not side or 4 * chunk <= side < 4 * chunk + tile


def test_mismatched_shards_are_refused(tmp_path: Path) -> None:
    for how, words in (({"shard": 48}, "whole chunks of 32"), ({"shard": 64, "ome_zarr": "0.4"}, "has no shards")):
        with pytest.raises(ValueError, match=words):
            create(tmp_path / "out.zarr", **how)
    create(tmp_path / "out.zarr", ome_zarr="0.4")
    with pytest.raises(ImageError, match="not an output that can be resumed"):
        create(tmp_path / "out.zarr", resume=True)


@pytest.mark.parametrize(
    ("chunk", "tile", "stored"),
    [(64, 64, 64), (256, 256, 256), (1024, 256, 256), (1040, 208, 208), (200, 192, 200), (1000, 256, 1000), (8, 16, 8)],
)
def test_tiles_divide_the_chunk_where_they_can(chunk: int, tile: int, stored: int) -> None:
    assert (tile_side(chunk), working_chunk(chunk)) == (tile, stored)
    assert tile_side(stored) == tile


def test_all_files_of_an_input_are_protected(tmp_path):
    pixels = np.zeros((32, 32), np.uint8)
    array = zarr.create_array(tmp_path / "in.zarr", data=pixels + 1, chunks=(16, 16))
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, ome=True)
    (tmp_path / "link.ome.zarr").symlink_to(tmp_path / "in.zarr")
    for source, output, words in (
        (open_image(array), "in.zarr", "the input"),
        (open_image(pixels), "link.ome.zarr", "is a link"),
        (replace(open_image(pixels), inputs=(tmp_path / "a.ome.tif",)), "a.ome.tif", "the input"),
    ):
        with pytest.raises(ImageError, match=words):
            check_output(tmp_path / output, source)
