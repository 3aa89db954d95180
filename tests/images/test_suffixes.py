"""The table of suffixes, and everything that must agree with it."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

import masked_denoiser
from masked_denoiser.errors import ImageError
from masked_denoiser.images.discovery import find_images, images_in, skipped_files, stem_of
from masked_denoiser.images.open import open_image
from masked_denoiser.images.suffixes import (
    FILE_SUFFIXES,
    FORMATS,
    IMAGE_SUFFIXES,
    TIFF_SUFFIXES,
    ZARR_SUFFIXES,
    suffix_of,
)

ROOT = Path(__file__).parents[2]
NOISE = np.random.default_rng(0).integers(0, 255, (16, 16), dtype=np.uint8)


def test_table_contains_what_is_read_and_written() -> None:
    assert {f".{suffix}" for suffix in tifffile.TIFF.FILE_EXTENSIONS} <= set(IMAGE_SUFFIXES)
    assert {*TIFF_SUFFIXES, *ZARR_SUFFIXES} <= set(IMAGE_SUFFIXES)
    assert len(set(IMAGE_SUFFIXES)) == len(IMAGE_SUFFIXES)


def test_manifest_page_and_dialog_agree_with_the_table() -> None:
    for manifest in (Path(masked_denoiser.__file__).parent / "napari.yaml", ROOT / "napari.yaml"):
        (reader,) = yaml.safe_load(manifest.read_text())["contributions"]["readers"]
        assert reader["filename_patterns"] == [f"*{s}" for each in FORMATS if each.in_napari for s in each.suffixes]
    script = runpy.run_path(str(ROOT / "docs" / "generate" / "formats_table.py"))
    assert script["page"]() == script["PAGE"].read_text(), "run python docs/generate/formats_table.py"
    from masked_denoiser.plugin.shared.file_dialogs import _FILTER

    shown = _FILTER.partition("(")[2].partition(")")[0].split()
    assert sorted(shown) == sorted({f"*.{suffix.rpartition('.')[2]}" for suffix in FILE_SUFFIXES})


_WITH_READERS_OF_THEIR_OWN = (".companion.ome", ".bmp", ".gif", ".npy", ".npz", ".zip", ".ozx")
_OF_TIFF_ZARR_OR_PICTURES = [
    suffix
    for each in FORMATS
    for suffix in each.suffixes
    if not each.extra and not suffix.endswith(_WITH_READERS_OF_THEIR_OWN)
]


@pytest.mark.parametrize("suffix", _OF_TIFF_ZARR_OR_PICTURES)
def test_every_suffix_is_found_in_a_folder_and_opened(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scan.v2{suffix.upper()}"
    if suffix.endswith("zarr"):
        import zarr

        zarr.create_array(path, data=NOISE)
    elif suffix in (".png", ".jpg", ".jpeg"):
        from PIL import Image

        Image.fromarray(NOISE).save(path)
    else:
        tifffile.imwrite(path, NOISE, bigtiff="bt" in suffix)
    assert find_images([str(tmp_path)]) == images_in(tmp_path) == [str(path)]
    assert skipped_files([tmp_path]) == []
    assert (stem_of(str(path)), suffix_of(path.name)) == ("scan.v2", suffix.upper())
    if suffix == ".ndpi":  # tifffile expects other offsets in files of this name: tests/images/slides.py
        return
    with open_image(path) as source:
        assert source.shape == NOISE.shape


def test_images_with_unknown_suffixes_are_reported(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.flex", NOISE)
    (tmp_path / "notes.txt").write_text("II is not TIFF")
    with pytest.raises(
        ImageError, match=r"holds no images; supported suffixes: \.tif, .*; skipped 1 file .*scan\.flex"
    ):
        find_images([str(tmp_path)])
    for number in range(4):
        tifffile.imwrite(tmp_path / f"b{number}", NOISE, bigtiff=True, byteorder=">")
    (tmp_path / "slide").mkdir()
    (tmp_path / "slide" / ".zgroup").write_text("{}")
    tifffile.imwrite(tmp_path / "a.lsm", NOISE)
    assert [Path(image).name for image in find_images([str(tmp_path)])] == ["a.lsm"]
    (note,) = skipped_files([str(tmp_path), tmp_path / "a.lsm", "https://host/a.zarr", "in/*.tif", NOISE, None])
    assert note.startswith(f"skipped 6 files with unknown suffixes in {tmp_path}: b0, b1, b2 ...;")


def test_links_to_missing_files_are_reported(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", NOISE)
    (tmp_path / "b.tif").symlink_to(tmp_path / "gone.tif")
    assert images_in(tmp_path) == [str(tmp_path / "a.tif")]
    assert skipped_files([tmp_path]) == [f"skipped links in {tmp_path} to files that are not there: b.tif"]
