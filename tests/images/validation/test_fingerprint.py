"""Fingerprints: the same for a copy, another for changed pixels or files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import zarr
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.validation.fingerprint import (
    Fingerprint,
    checksum,
    evenly_spaced,
    file_times,
    take_fingerprint,
)


def fingerprint_of(path: Path) -> Fingerprint:
    with open_image(path, axes="ZYX") as source:
        return take_fingerprint(source, list(list_planes(source.axes, source.sizes, False)))


@given(st.integers(0, 50), st.integers(1, 20))
def test_evenly_spaced(length: int, count: int) -> None:
    chosen = evenly_spaced(range(length), count)
    assert len(chosen) == min(length, count)
    assert chosen == sorted(set(chosen))
    assert not length or chosen[0] == 0
    assert count == 1 or not length or chosen[-1] == length - 1


def test_copy_has_the_same_fingerprint_and_other_times(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    pixels = np.random.default_rng(0).integers(0, 9, (3, 100, 100)).astype("uint8")
    zarr.create_array(path, data=pixels, chunks=(1, 50, 50))
    shutil.copytree(path, tmp_path / "b.zarr")
    (tmp_path / "b.zarr" / ".DS_Store").write_text("icons")
    assert fingerprint_of(path) == fingerprint_of(tmp_path / "b.zarr")
    with open_image(path, axes="ZYX") as a, open_image(tmp_path / "b.zarr", axes="ZYX") as b:
        assert file_times(a) != file_times(b)
        before = file_times(a)
        chunk = path / "c" / "2" / "1" / "1"
        status = chunk.stat()
        content = chunk.read_bytes()
        chunk.unlink()
        chunk.write_bytes(content)
        os.utime(chunk, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert file_times(a) != before
    (tmp_path / "b.zarr" / "c" / "0" / "0" / "0").unlink()
    assert fingerprint_of(path).files != fingerprint_of(tmp_path / "b.zarr").files


def test_checksum_is_independent_of_byte_order_and_of_division() -> None:
    pixels = np.arange(24, dtype="<u2").reshape(4, 6)
    assert checksum(pixels) == checksum(pixels.astype(">u2")) == checksum(np.asfortranarray(pixels))
    assert checksum(pixels[2:], checksum(pixels[:2])) == checksum(pixels)
