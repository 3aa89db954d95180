"""Lazy results: the pixels of the whole job, computed where they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import psutil
import pytest
import tifffile
import zarr

from masked_denoiser.errors import ImageError, JobError, MaskedDenoiserError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.api import denoise, denoise_file
from masked_denoiser.jobs.lazy.denoise_lazy import LazyBlocks, denoise_lazy

HOW: dict[str, Any] = {"model": tiny_model(), "noise": "none", "tile": 32, "halo": 8, "device": "cpu"}


def image(shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "axes", "dtype", "more"),
    [
        ((70, 90), "YX", "uint16", {}),
        ((70, 90, 3), "YXS", "uint8", {}),
        ((70, 90, 4), "YXS", "uint8", {}),
        ((70, 90, 4), "YXS", "uint8", {"channels": "each"}),
        ((2, 3, 40, 50), "TCYX", "float32", {"batch": 3}),
        ((3, 40, 50), "ZYX", ">u2", {"passes": 2, "dtype": "float32"}),
        ((50, 2, 40), "XCY", "int16", {}),
    ],
)
def test_lazy_equals_whole(shape: tuple[int, ...], axes: str, dtype: str, more: dict[str, Any]) -> None:
    pixels = image(shape, dtype)
    lazy = denoise_lazy(pixels, axes=axes, **HOW, **more)
    whole = denoise(pixels, axes=axes, **HOW, **more)
    assert isinstance(lazy, da.Array)
    assert (lazy.shape, lazy.dtype) == (whole.shape, whole.dtype)
    np.testing.assert_array_equal(lazy.compute(scheduler="threads"), whole)


def test_measured_noise_gives_the_same_pixels() -> None:
    y, x = np.mgrid[:150, :170]
    clean = 100 + 60 * np.sin(x / 15) * np.sin(y / 20)
    noisy = (clean + np.random.default_rng(0).normal(0, 12, clean.shape)).astype("uint8")
    how = {"axes": "YX", "device": "cpu", "tile": 64}
    np.testing.assert_array_equal(np.asarray(denoise_lazy(noisy, **how)), denoise(noisy, **how))


def test_only_what_is_read_is_computed_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[tuple[int, ...]] = []
    compute = LazyBlocks.compute
    monkeypatch.setattr(LazyBlocks, "compute", lambda self, index: computed.append(index) or compute(self, index))
    lazy = denoise_lazy(image((2, 128, 128)), axes="ZYX", **HOW)
    assert computed == []
    for _ in range(2):
        np.asarray(lazy[1, 40:60, 70:100])
    assert sorted(computed) == [(1, 1, 2), (1, 1, 3)]
    computed.clear()
    small = denoise_lazy(image((128, 128)), axes="YX", cache_bytes=32 * 32, **HOW)
    for _ in range(2):
        np.asarray(small[:64, :32])
    assert len(computed) > 2  # the cache has room for one block


def test_other_graphs_can_use_it(tmp_path: Any) -> None:
    import xarray

    pixels = image((70, 90))
    lazy, whole = denoise_lazy(pixels, axes="YX", **HOW), denoise(pixels, axes="YX", **HOW)
    np.testing.assert_array_equal(lazy.map_blocks(lambda block: block + 1).compute(), whole + 1)
    lazy.to_zarr(str(tmp_path / "a.zarr"))
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr", mode="r")[...], whole)
    np.testing.assert_array_equal(xarray.DataArray(lazy, dims=("y", "x"))[3:7].to_numpy(), whole[3:7])


def test_levels_are_those_of_an_output_on_disk(tmp_path: Any) -> None:
    denoise_file(image((700, 530, 3)), tmp_path / "in.ome.zarr", axes="YXS", **HOW | {"tile": 128})
    levels = denoise_lazy(tmp_path / "in.ome.zarr", **HOW | {"tile": 128})
    denoise_file(tmp_path / "in.ome.zarr", tmp_path / "out.ome.zarr", **HOW | {"tile": 128})
    with open_image(tmp_path / "out.ome.zarr") as written:
        assert [level.shape for level in levels] == [level.shape for level in written.levels]
        for level, expected in zip(levels, written.levels, strict=True):
            np.testing.assert_array_equal(level.compute(), expected[...])


def test_numbers_under_a_mask_are_kept() -> None:
    pixels = image((70, 90))
    mask = pixels < 50
    masked = np.ma.MaskedArray(pixels, mask, fill_value=7)
    lazy, whole = denoise_lazy(masked, axes="YX", **HOW).compute(), denoise(masked, axes="YX", **HOW)
    np.testing.assert_array_equal(lazy.mask, mask)
    np.testing.assert_array_equal(lazy.data, whole.data)
    np.testing.assert_array_equal(lazy.data[mask], pixels[mask])
    assert lazy.fill_value == whole.fill_value == 7


def test_guessed_axes_are_a_warning() -> None:
    with pytest.warns(UserWarning, match="axes guessed as ZYX .* set axes to correct") as caught:
        denoise_lazy(image((6, 48, 48)), **HOW)
    assert caught[0].filename == __file__


def test_standard_deviation_is_refused() -> None:
    with pytest.raises(JobError, match="denoise_lazy has no standard deviation"):
        denoise_lazy(image((40, 40)), axes="YX", **HOW, std=True, passes=2)


def test_errors_and_warnings_of_python_name_its_parameters() -> None:
    with pytest.raises(ImageError, match="set axes, or reduce it to") as raised:
        denoise_lazy(np.zeros((2,) * 8, np.uint8), **HOW)
    assert "--" not in str(raised.value)
    flat = np.full((64, 64), 7, np.uint8)
    with pytest.warns(UserWarning, match="left alone|unchanged|nothing") as caught:
        denoise_lazy(flat, axes="YX", **{**HOW, "noise": "auto"})
    assert all(warning.filename == __file__ and "--" not in str(warning.message) for warning in caught)


def test_blocks_are_not_copied_to_other_processes() -> None:
    lazy = denoise_lazy(image((70, 90)), axes="YX", **HOW)
    with pytest.raises(JobError, match='scheduler="threads"'):
        lazy.compute(scheduler="processes")


@pytest.mark.parametrize("wrong", [{"std": True}, {"model": "no such model"}, {"tile": 33}])
def test_file_is_closed_after_an_error(wrong: dict[str, Any], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", image((70, 90)), tile=(32, 32), compression="zlib")
    with pytest.raises(MaskedDenoiserError) as caught:
        denoise_lazy(tmp_path / "a.tif", axes="YX", **HOW | wrong)
    assert str(caught.value)
    assert "a.tif" not in " ".join(file.path for file in psutil.Process().open_files())
