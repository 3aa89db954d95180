"""Uncompressed pixels: read in place with few extra bytes; missing bytes raise an error without a crash."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.errors import DamagedError, ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes, plane_index, to_channels_first
from masked_denoiser.images.readers.raw_file import RawChunk, RawFile

RNG = np.random.default_rng(0)


def pages(path: Path, image: np.ndarray[Any, Any]) -> None:
    with tifffile.TiffWriter(path) as writer:
        for page in image:
            writer.write(page, metadata=None, contiguous=False, rowsperstrip=10, description="between " * 9)


#: Name to axes, shape, dtype and writer.
KINDS: dict[str, tuple[str, tuple[int, ...], str, dict[str, Any] | None]] = {
    "plain": ("YX", (90, 70), "u2", {}),
    "imagej": ("TZCYX", (2, 3, 2, 50, 40), "u2", {"imagej": True, "metadata": {"axes": "TZCYX"}}),
    "big-endian": ("ZYX", (3, 50, 40), "f4", {"byteorder": ">", "photometric": "minisblack"}),
    "contig": ("YXS", (90, 70, 3), "u1", {"photometric": "rgb", "planarconfig": "contig"}),
    "separate": ("SYX", (3, 90, 70), "u1", {"photometric": "rgb", "planarconfig": "separate"}),
    "pages apart": ("ZYX", (4, 50, 40), "u2", None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_match_tifffile_and_truncation_is_reported(kind: str, tmp_path: Path) -> None:
    axes, shape, dtype, how = KINDS[kind]
    path, image = tmp_path / "image.tif", (RNG.random(shape) * 250).astype(dtype)
    pages(path, image) if how is None else tifffile.imwrite(path, image, **how)
    oracle = tifffile.imread(path)
    with open_image(path, axes=axes) as source:
        assert source.dtype == oracle.dtype.newbyteorder("=")
        planes = list(list_planes(source.axes, source.sizes, source.rgb))
        ys, xs = slice(5, 33), slice(7, 39)
        for plane in planes:
            expected = to_channels_first(oracle[plane_index(axes, plane, ys, xs)], axes, plane)
            np.testing.assert_array_equal(source.read(plane, ys, xs), expected)
        os.truncate(path, 300)
        with pytest.raises(ImageError, match=r"cannot be reached at rows 5 to 33, columns 7 to 39.*ends at byte") as no:
            source.read(planes[-1], ys, xs)
        assert not isinstance(no.value, DamagedError)  # which would be skipped on request


@given(st.data())
def test_rectangle_reads_match_numpy(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    image = RNG.integers(0, 1000, shape).astype(data.draw(st.sampled_from(["<u2", ">u2", "<f8", "u1"])))
    key = []
    for side in shape:
        start = data.draw(st.integers(0, side - 1))
        key.append(slice(start, data.draw(st.integers(start + 1, side))))
    file = Held(b"head" + image.tobytes())
    piece = RawChunk(file, 4, shape, image.dtype)
    np.testing.assert_array_equal(piece[tuple(key)], image[tuple(key)])


class Held(RawFile):
    """File in memory that counts the bytes read; zeros where it has no content."""

    def __init__(self, content: bytes | None = None) -> None:
        self._content, self.reads = content, list[int]()

    def read(self, start: int, count: int) -> bytes:
        self.reads.append(count)
        if self._content is None:
            return bytes(count)
        assert start >= 0
        assert start + count <= len(self._content)
        return self._content[start : start + count]


@pytest.mark.parametrize(
    ("shape", "key", "reads", "count"),
    [
        ((100_000, 100_000, 3), (slice(0, 512), slice(99_000, 99_512), slice(0, 3)), 512, 512 * 3),
        ((3, 100_000, 100_000), (slice(0, 3), slice(0, 512), slice(0, 512)), 3 * 512, 512),
        ((3, 100_000, 512), (slice(1, 2), slice(0, 512), slice(0, 512)), 1, 512 * 512),
        # without alpha, and one of many channels: a read per pixel would be far too slow
        ((100_000, 100_000, 4), (slice(0, 512), slice(0, 512), slice(0, 3)), 512, 512 * 4 - 1),
        ((9000, 9000, 100), (slice(0, 64), slice(0, 512), slice(50, 51)), 64, 511 * 100 + 1),
    ],
    ids=["contig", "separate", "whole rows", "no alpha", "hyperspectral"],
)
def test_tile_of_a_huge_page_needs_few_short_reads(
    shape: tuple[int, ...], key: tuple[slice, ...], reads: int, count: int
) -> None:
    file = Held()
    RawChunk(file, 8, shape, np.dtype("u1"))[key]
    assert file.reads == [count] * reads


def test_short_system_reads_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = RNG.bytes(1000)
    (tmp_path / "file").write_bytes(content)
    file = RawFile(tmp_path / "file")
    assert file.read(0, 0) == b""
    monkeypatch.setattr(os, "pread", lambda descriptor, count, at: content[at : at + min(count, 7)])
    assert file.read(3, 990) == content[3:993]
    monkeypatch.delattr(os, "pread")  # as on Windows
    assert file.read(3, 990) == content[3:993]
    with pytest.raises(OSError, match="file now ends at byte 1000, but pixels up to byte 1001 are needed"):
        file.read(990, 11)
