"""What every reader of `images.readers.registry` keeps, on the samples of `samples.table`."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import mrcfile
import numpy as np
import psutil
import pytest

from masked_denoiser.errors import ImageError
from masked_denoiser.images.locator import join_locator
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import Plane, list_planes, plane_index, to_channels_first
from masked_denoiser.images.readers import registry
from masked_denoiser.images.readers.medical.dicom_series import list_series
from masked_denoiser.images.source import Source

from .samples.table import SAMPLES, Array, Sample

every_sample = pytest.mark.parametrize("sample", [pytest.param(one, id=name) for name, one in SAMPLES.items()])


def _open(sample: Sample, path: Path) -> Source:
    return open_image(join_locator(path, sample.part))


def _planes(source: Source) -> list[Plane]:
    return list(list_planes(source.axes, source.sizes, source.rgb))


def _expected(sample: Sample, plane: Plane, ys: slice, xs: slice) -> Array:
    return to_channels_first(sample.pixels[plane_index(sample.axes, plane, ys, xs)], sample.axes, plane)


def _read_all(source: Source) -> None:
    for plane in _planes(source):
        source.read(plane, slice(0, source.size_yx[0]), slice(0, source.size_yx[1]))


@every_sample
def test_facts_are_those_of_the_file(sample: Sample, tmp_path: Path) -> None:
    with _open(sample, sample.make(tmp_path)) as source:
        assert (source.axes, source.shape, source.dtype) == (sample.axes, sample.pixels.shape, sample.pixels.dtype)
        assert dict(source.pixel_size) == pytest.approx(dict(sample.pixel_size))
        assert source.units == sample.units
        assert source.channel_names == sample.channel_names
        assert source.rgb == (sample.axes[-1] == "S")
        assert source.data.dtype.isnative


@every_sample
def test_rectangles_equal_those_of_the_library(sample: Sample, tmp_path: Path) -> None:
    path = sample.make(tmp_path)
    np.testing.assert_array_equal(np.squeeze(sample.library(path)), np.squeeze(sample.pixels))
    random = np.random.default_rng(0)
    with _open(sample, path) as source:
        assert isinstance(source.data, np.ndarray) != sample.is_lazy
        planes = _planes(source)
        for _ in range(40):
            plane = planes[random.integers(len(planes))]
            (top, bottom), (left, right) = (sorted(random.integers(0, side + 1, 2)) for side in source.size_yx)
            ys, xs = slice(int(top), int(bottom)), slice(int(left), int(right))
            np.testing.assert_array_equal(source.read(plane, ys, xs), _expected(sample, plane, ys, xs))


def _huge_mrc(folder: Path) -> tuple[Path, int]:
    with mrcfile.new(folder / "a.mrc") as file:
        file.set_data(np.zeros((2, 4, 4), np.int16))
    content = bytearray((folder / "a.mrc").read_bytes()[:1024])
    content[:12] = np.array([20_000, 20_000, 100], "<i4").tobytes()
    (folder / "a.mrc").write_bytes(content)
    return folder / "a.mrc", 1024 + 2 * 20_000 * 20_000 * 100


def _huge_npy(folder: Path) -> tuple[Path, int]:
    with (folder / "a.npy").open("wb") as file:
        header = {"descr": "<u2", "fortran_order": False, "shape": (100, 20_000, 20_000)}
        np.lib.format.write_array_header_1_0(file, header)
        return folder / "a.npy", file.tell() + 2 * 20_000 * 20_000 * 100


def _huge_hdf5(folder: Path) -> tuple[Path, int]:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("a", shape=(100, 20_000, 20_000), dtype="u2")
    return folder / "a.h5", (folder / "a.h5").stat().st_size


@pytest.mark.skipif(sys.platform == "win32", reason="files of Windows are not sparse")
@pytest.mark.parametrize("make", [_huge_mrc, _huge_npy, _huge_hdf5])
def test_huge_uncompressed_file_is_read_in_little_memory(make: Any, tmp_path: Path) -> None:
    """80 GB that take no space on disk."""
    path, size = make(tmp_path)
    os.truncate(path, size)
    tracemalloc.start()
    with open_image(path, axes="ZYX") as source:
        plane = _planes(source)[-1]
        assert not source.read(plane, slice(19_000, 19_256), slice(10_000, 10_256)).any()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 2**20


@every_sample
def test_any_thread_may_read(sample: Sample, tmp_path: Path) -> None:
    with _open(sample, sample.make(tmp_path)) as source, ThreadPoolExecutor(8) as threads:
        tasks = [
            (plane, slice(y, y + 17), slice(x, x + 23))
            for plane in _planes(source)
            for y in range(0, source.size_yx[0] - 17, 11)
            for x in range(0, source.size_yx[1] - 23, 13)
        ] * 3
        for task, pixels in zip(tasks, threads.map(lambda task: source.read(*task), tasks), strict=True):
            np.testing.assert_array_equal(pixels, _expected(sample, *task))


@every_sample
def test_closing_releases_the_file(sample: Sample, tmp_path: Path) -> None:
    path = sample.make(tmp_path)
    source = _open(sample, path)
    _read_all(source)
    source.close()
    opened = [Path(file.path) for file in psutil.Process().open_files()]
    assert not [file for file in opened if file.is_relative_to(tmp_path)]
    shutil.rmtree(tmp_path)
    if sample.is_lazy:
        with pytest.raises(ImageError, match=r"closed"):
            _read_all(source)


@every_sample
def test_input_is_not_changed(sample: Sample, tmp_path: Path) -> None:
    path = sample.make(tmp_path)
    before = _fingerprints(tmp_path)
    path.chmod(0o444)
    with _open(sample, path) as source:
        _read_all(source)
    assert _fingerprints(tmp_path) == before
    assert path in source.inputs


def _fingerprints(folder: Path) -> dict[Path, tuple[str, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {file: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns) for file in files}


@every_sample
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.97])
def test_truncated_file_is_refused_in_one_line(sample: Sample, kept: float, tmp_path: Path) -> None:
    path = sample.make(tmp_path)
    truncated = sample.damaged(path)
    os.truncate(truncated, int(kept * truncated.stat().st_size))

    def read() -> None:
        with _open(sample, path) as source:
            _read_all(source)

    with pytest.raises(ImageError) as caught:
        read()
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    opened = [Path(file.path) for file in psutil.Process().open_files()]
    assert not [file for file in opened if file.is_relative_to(tmp_path)]


@every_sample
def test_missing_library_is_named_with_its_extra(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sample.make(tmp_path)
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    if not sample.extra:
        _open(sample, path).close()
        return
    with pytest.raises(ImageError, match=rf"pip install 'napari-masked-denoiser\[{sample.extra}\]'"):
        _open(sample, path)


@every_sample
def test_wrong_name_lists_the_images(sample: Sample, tmp_path: Path) -> None:
    path = sample.make(tmp_path)
    with pytest.raises(ImageError) as caught:
        open_image(f"{path}::no such image")
    expected = sample.part or "such as '" if sample.wrong_part else "leave out"
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


@every_sample
def test_listed_parts_can_be_opened(sample: Sample, tmp_path: Path) -> None:
    path = sample.make(tmp_path)
    reader = None if path.is_dir() else registry.find_reader(path)
    parts = list_series(path) if reader is None else reader.list_parts(path)
    assert not sample.part or sample.part in parts
    for part in parts:
        open_image(join_locator(path, part)).close()


def test_every_reader_of_this_list_has_a_sample(tmp_path: Path) -> None:
    """A reader without a sample would be untested."""
    tried = set()
    for number, sample in enumerate(SAMPLES.values()):
        (tmp_path / str(number)).mkdir()
        path = sample.make(tmp_path / str(number))
        reader = registry.find_reader(next(path.iterdir()) if path.is_dir() else path)
        assert reader is not None
        tried.add(reader.module)
    assert tried == {reader.module for reader in registry.READERS}
