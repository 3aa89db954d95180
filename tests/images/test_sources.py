"""The contract of a source for every kind of image, its caching and its closing."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes, plane_index, to_channels_first
from masked_denoiser.images.readers.chunk_cache import ChunkedArray
from masked_denoiser.images.source import Source

from .sources import CASES, PLAIN_FACTS, Case, facts, ome_zarr, random_image

FILES = Path(__file__).parents[3] / "shared" / "data" / "files"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_source_metadata_and_pixels_match_what_was_written(case: Case, tmp_path: Path) -> None:
    image = random_image(case)
    with open_image(case.write(tmp_path, image), axes=case.requested_axes, level=case.level) as source:
        step = 2**case.level
        written = image[tuple(slice(None, None, step) if a in "YX" else slice(None) for a in case.axes)]
        assert (source.axes, source.shape) == (case.axes, written.shape)
        assert source.dtype == image.dtype.newbyteorder("=")
        assert facts(source) == {**PLAIN_FACTS, **case.expect}
        _check_reads(source, written)


def _check_reads(source: Source, written: np.ndarray[Any, Any]) -> None:
    """Check random rectangles and the corners of every plane, read from several threads."""
    planes = list(list_planes(source.axes, source.sizes, source.rgb))
    height, width = source.size_yx
    rng = np.random.default_rng(3)
    wanted = []
    for plane in planes:
        y, x = rng.integers(0, height), rng.integers(0, width)
        ys, xs = slice(y, rng.integers(y, height) + 1), slice(x, rng.integers(x, width) + 1)
        wanted += [(plane, ys, xs), (plane, slice(0, 1), slice(0, 1)), (plane, slice(height - 1, height), slice(0, 9))]
    with ThreadPoolExecutor(4) as pool:
        for (plane, ys, xs), pixels in zip(wanted, pool.map(lambda w: source.read(*w), wanted), strict=True):
            expected = to_channels_first(written[plane_index(source.axes, plane, ys, xs)], source.axes, plane)
            assert pixels.dtype == source.dtype
            np.testing.assert_array_equal(pixels, expected)


@pytest.mark.skipif(not FILES.is_dir(), reason="the shared files are not here")
@pytest.mark.parametrize(
    ("name", "axes", "sizes"),
    [
        ("CMU-1-Small-Region.svs", "YXS", {"Y": 0.499, "X": 0.499}),
        ("multi-channel-z-series.ome.tif", "CZYX", {}),
        ("xy_calibrated_16bit__cells_eres_noisy.tif", "YX", {"Y": 0.2297, "X": 0.2297}),
        ("xy_rgb__cells.tif", "YXS", {}),
        ("xyz_8bit_calibrated_anisotropic__mri_head.tif", "ZYX", {"Z": 7.0, "Y": 0.5, "X": 0.5}),
        ("xyzc_16bit__dna_conf_wf.tif", "ZCYX", {"Z": 0.4994, "Y": 0.5119, "X": 0.5119}),
    ],
)
def test_shared_example_files_are_read(name: str, axes: str, sizes: dict[str, float]) -> None:
    with open_image(FILES / name) as source:
        assert source.axes == axes
        assert facts(source)["pixel_size"] == sizes
        assert source.rgb == ("S" in axes)
        np.testing.assert_array_equal(np.asarray(source.data), tifffile.imread(FILES / name))


@st.composite
def _keys(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], Any]:
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    chunks = tuple(draw(st.integers(1, 10)) for _ in shape)
    key: list[Any] = []
    for side in shape:
        ends = st.none() | st.integers(-side - 1, side + 1)
        cut = st.builds(slice, ends, ends, st.none() | st.integers(1, 3))
        key.append(draw(st.integers(-side, side - 1) | cut))
    rest = draw(st.integers(0, len(key)))
    return shape, chunks, draw(st.sampled_from([tuple(key), (*key[:rest], ...), (..., *key[rest:]), key[0]]))


@given(_keys())
def test_chunked_array_indexing_matches_numpy(drawn: tuple[tuple[int, ...], tuple[int, ...], Any]) -> None:
    shape, chunks, key = drawn
    image = np.arange(np.prod(shape)).reshape(shape)
    blocks = ChunkedArray(shape, image.dtype, chunks, lambda index: _block(image, chunks, index), cache_bytes=100)
    np.testing.assert_array_equal(blocks[key], image[key])


def _block(image: np.ndarray[Any, Any], chunks: tuple[int, ...], index: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return image[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))]


@pytest.mark.parametrize("key", [np.s_[::-1], np.s_[5], np.s_[0, 0, 0]])
def test_chunked_array_refuses_unsupported_indices(key: Any) -> None:
    with pytest.raises(IndexError):
        ChunkedArray((5, 5), np.dtype("u1"), (5, 5), lambda _: np.zeros((5, 5), "u1"))[key]


def test_chunk_cache_evicts_least_recently_used() -> None:
    fetched: list[tuple[int, ...]] = []

    def fetch(index: tuple[int, ...]) -> np.ndarray[Any, Any]:
        fetched.append(index)
        return np.zeros(10, np.uint8)

    array = ChunkedArray((50,), np.dtype("u1"), (10,), fetch, cache_bytes=20)
    array[0:20], array[0:20], array[5]
    assert fetched == [(0,), (1,)]
    array[20:30], array[0:10], array[10:20]  # the third chunk pushes out the second, used longest ago
    assert fetched == [(0,), (1,), (2,), (1,)]
    small_cache = ChunkedArray((50,), np.dtype("u1"), (10,), fetch, cache_bytes=1)
    small_cache[3], small_cache[4]
    assert len(fetched) == 5


def test_compressed_strip_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.eye(256, dtype=np.uint8), compression="zlib", rowsperstrip=256)
    reads: list[object] = []
    read = zarr.Array.__getitem__
    monkeypatch.setattr(zarr.Array, "__getitem__", lambda self, key: reads.append(key) or read(self, key))
    with open_image(tmp_path / "a.tif") as source:
        parts = [source.data[y : y + 32, :] for y in range(0, 256, 32)]
    np.testing.assert_array_equal(np.concatenate(parts), np.eye(256))
    assert len(reads) == 1


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_close_releases_the_file(compression: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((64, 64), np.uint8), compression=compression)
    source = open_image(path)
    assert source.data[3, 4] == 1
    source.close()
    open_files = Path("/proc/self/fd")
    if open_files.is_dir():
        assert str(path) not in {str(fd.readlink()) for fd in open_files.iterdir() if fd.is_symlink()}
        assert str(path) not in Path("/proc/self/maps").read_text()
    with pytest.raises(ValueError, match="closed"):
        source.data[3, 4]


def test_dask_computes_only_what_is_read() -> None:
    computed: list[object] = []

    def make(block_id: tuple[int, ...]) -> np.ndarray[Any, Any]:
        computed.append(block_id)
        return np.zeros((10, 10))

    lazy = da.map_blocks(make, chunks=((10,) * 5, (10,) * 5), dtype=float, meta=np.zeros((0, 0)))
    source = open_image(lazy)
    assert computed == []
    assert isinstance(source.data[12:15, 22:28], np.ndarray)
    assert computed == [(1, 2)]


def test_source_can_be_reopened_with_other_axes_or_level(tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "OME-Zarr 0.5")
    with open_image(case.write(tmp_path, random_image(case))) as source:
        assert open_image(source) is source
        again = open_image(source, axes="ZCTYX", level=1)
        assert (again.axes, again.shape, len(again.levels)) == ("ZCTYX", (2, 2, 3, 20, 25), 1)
        assert again.pixel_size["X"] == 1.0


@pytest.mark.parametrize(
    ("windows", "colours", "kept"),
    [
        ([{"start": 1, "end": 9, "min": 0, "max": 99}, {"start": 2.5, "end": 9}], ["00ff00", "#102030"], True),
        ([{"start": 1, "end": 9}, None], ["00FF00", None], False),
        ([{"start": 1, "end": 9}, {"start": "2", "end": None}], ["00FF00", "green"], False),
        ([{"start": 1, "end": 9}, {"start": 9, "end": float("inf")}], ["00FF00", "FFF"], False),
    ],
)
def test_colours_and_windows_need_valid_values_in_all_channels(
    windows: list[Any], colours: list[Any], kept: bool, tmp_path: Path
) -> None:
    channels = [{"window": w, "color": c} for w, c in zip(windows, colours, strict=True)]
    image = np.ones((2, 40, 50), np.uint16)
    with open_image(ome_zarr("0.5", "cyx", omero={"channels": channels})(tmp_path, image)) as source:
        found = (source.windows, source.channel_colours)
    assert found == ((((1.0, 9.0), (2.5, 9.0)), ("00FF00", "102030")) if kept else ((), ()))


def test_missing_planes_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.ones((3, 20, 20), np.uint8), ome=True, metadata={"axes": "TYX"}, compression="zlib")
    path.write_bytes(path.read_bytes().replace(b'SizeT="3"', b'SizeT="5"'))
    with open_image(path) as source:
        assert source.shape == (5, 20, 20)
        assert source.notes == ("2 of 5 planes are missing in the file and read as zeros",)
        assert [int(plane[0, 0]) for plane in np.asarray(source.data)] == [1, 1, 1, 0, 0]


def test_opening_an_array_imports_no_file_libraries() -> None:
    code = (
        "import sys, numpy; from masked_denoiser.images.open import open_image; open_image(numpy.zeros((4, 4)));"
        "print([m for m in ('zarr', 'tifffile', 'dask', 'torch', 'napari') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
