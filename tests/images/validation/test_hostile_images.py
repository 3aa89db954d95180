"""Hostile images: excessive memory, paths outside their folder, and code execution."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from zarr.codecs import GzipCodec, ZstdCodec

from masked_denoiser.errors import ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.validation.declared_size import declared_shape
from masked_denoiser.images.validation.size_limits import LIMIT_VARIABLE
from masked_denoiser.images.writers.provenance import read_attributes

NOISE = np.random.default_rng(0).integers(0, 255, (3, 64, 64)).astype(np.uint8)


def _refused(path: Path, words: str) -> None:
    with pytest.raises(ImageError, match=words), open_image(path) as source:
        np.asarray(source.data[:1])


def _png(width: int, height: int, content: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def test_png_size_is_checked_from_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(_png(30_000, 30_000))
    monkeypatch.setenv(LIMIT_VARIABLE, "2")
    _refused(tmp_path / "a.png", "an image of 30000 x 30000 x 3 would take 2.51 GiB of memory, and 2 are allowed")
    monkeypatch.setenv(LIMIT_VARIABLE, "3")
    _refused(tmp_path / "a.png", "is a broken image")  # within the budget: libpng decodes it and finds no pixels


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "much"])
def test_invalid_budget_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(NOISE[0]))
    _refused(tmp_path / "a.png", f"{LIMIT_VARIABLE} is '{text}'; set it to a number of GiB above 0")


@pytest.mark.parametrize("encode", [imagecodecs.png_encode, imagecodecs.jpeg8_encode, imagecodecs.jpeg2k_encode])
@pytest.mark.parametrize("shape", [(40, 48), (40, 48, 3)])
def test_header_size_matches_decoded_size(encode: Callable[..., bytes], shape: tuple[int, ...]) -> None:
    content = bytes(encode(np.zeros(shape, np.uint8), codecformat="J2K") if encode is imagecodecs.jpeg2k_encode else
                    encode(np.zeros(shape, np.uint8)))  # fmt: skip
    assert declared_shape(content) == (*shape[:2], shape[2] if len(shape) == 3 else 1, 1)


def test_only_tiles_of_slides_are_limited_in_size(tmp_path: Path) -> None:
    options: dict[str, Any] = {"shape": (10**6, 10**6), "dtype": "u1", "fill_value": 7}
    zarr.create_array(tmp_path / "small.zarr", chunks=(512, 512), **options)[0, 0] = 8
    zarr.create_array(tmp_path / "large.zarr", chunks=(10**5, 10**5), **options)
    zarr.create_array(tmp_path / "index.zarr", chunks=(1, 1), shards=(10**5, 10**5), **options)
    with open_image(tmp_path / "small.zarr") as source:
        assert np.asarray(source.data[10**6 - 3 :, :2]).tolist() == [[7, 7]] * 3
    _refused(tmp_path / "large.zarr", "a chunk of 100000 x 100000 would take 9.31 GiB of memory")
    _refused(tmp_path / "index.zarr", "the index of a shard of 100000 x 100000 would take 149 GiB")


def test_only_compressed_strips_are_limited_in_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, "0.01")
    image = np.zeros((4000, 4000), np.uint8)
    tifffile.imwrite(tmp_path / "strip.tif", image, compression="zlib", rowsperstrip=4000)
    tifffile.imwrite(tmp_path / "tiles.tif", image, compression="zlib", tile=(256, 256))
    tifffile.imwrite(tmp_path / "plain.tif", image)
    _refused(tmp_path / "strip.tif", "a strip, tile or page of 4000 x 4000 would take")
    for name in ("tiles.tif", "plain.tif"):
        with open_image(tmp_path / name) as source:
            assert source.data[3999, :2].tolist() == [0, 0]


def test_tile_larger_than_declared_is_not_decoded(tmp_path: Path) -> None:
    rgb = np.ascontiguousarray(np.moveaxis(NOISE, 0, -1))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, rgb, photometric="rgb", compression="jpeg", tile=(64, 64))
    content, size = path.read_bytes(), struct.pack(">BHH", 8, 64, 64)
    assert content.count(size) == 1
    path.write_bytes(content.replace(size, struct.pack(">BHH", 8, 65_000, 65_000)))
    with (
        open_image(path) as source,
        pytest.raises(ImageError, match=r"a tile of 65000 x 65000 x 3 would take"),
    ):
        np.asarray(source.data[:8, :8])


BOMB = bytes(50 * 2**20)


@pytest.mark.parametrize(
    ("codec", "stream"),
    [(GzipCodec(), gzip.compress(BOMB)), (ZstdCodec(), imagecodecs.zstd_encode(BOMB))],
    ids=["gzip", "zstd"],
)
@pytest.mark.parametrize("version", [2, 3])
def test_chunk_larger_than_declared_is_refused(codec: Any, stream: bytes, version: int, tmp_path: Path) -> None:
    if version == 2:
        import numcodecs

        codec = numcodecs.GZip() if isinstance(codec, GzipCodec) else numcodecs.Zstd()
    path = tmp_path / "a.zarr"
    array = zarr.create_array(
        path, shape=(64, 64), chunks=(64, 64), dtype="u1", compressors=codec, zarr_format=version
    )  # fmt: skip
    array[:] = NOISE[0]
    with open_image(path) as source:
        np.testing.assert_array_equal(np.asarray(source.data[:]), NOISE[0])
    chunk = path / ("c/0/0" if version == 3 else "0.0")
    chunk.write_bytes(stream)
    with open_image(path) as source, pytest.raises(ValueError, match=r"at most 69632 bytes|more than 69632 bytes"):
        np.asarray(source.data[:])


def test_decompressing_filter_is_bounded(tmp_path: Path) -> None:
    import numcodecs

    path, filters = tmp_path / "a.zarr", [numcodecs.Delta("u1"), numcodecs.Zlib()]
    array = zarr.create_array(
        path, shape=(64, 64), chunks=(64, 64), dtype="u1", zarr_format=2, filters=filters, compressors=None
    )
    array[:] = NOISE[0]
    assert len(zlib.decompress((path / "0.0").read_bytes())) == 64 * 64
    with open_image(path) as source:
        np.testing.assert_array_equal(np.asarray(source.data[:]), NOISE[0])
    (path / "0.0").write_bytes(zlib.compress(BOMB))
    with open_image(path) as source, pytest.raises(ValueError, match="decompresses to more than"):
        np.asarray(source.data[:])


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("where", ["compressor", "filters"])
@pytest.mark.parametrize("codec", ["pickle", "base64"])
def test_unsafe_codecs_are_refused(where: str, codec: str, tmp_path: Path) -> None:
    path, run = tmp_path / "a.zarr", tmp_path / "code was run"
    zarr.create_array(path, shape=(4, 4), chunks=(4, 4), dtype="u1", zarr_format=2, compressors=None)[:] = 1
    (path / "0.0").write_bytes(pickle.dumps(Harmful(run)))
    known = json.loads((path / ".zarray").read_text())
    (path / ".zarray").write_text(
        json.dumps(known | {where: {"id": codec} if where == "compressor" else [{"id": codec}]})
    )
    # This version of zarr already refuses pickle, as an object codec; our check is a second barrier.
    _refused(path, codec)
    assert not run.exists()


def test_nested_compression_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=(4, 4), chunks=(4, 4), dtype="u1", compressors=[GzipCodec(), ZstdCodec()])
    _refused(path, r"is compressed repeatedly \(gzip, zstd\)")


@pytest.mark.parametrize("way", ["../secret.zarr", "/{folder}/secret.zarr", "a/../../secret.zarr", "..\\secret.zarr"])
def test_levels_outside_the_zarr_are_not_read(way: str, tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "secret.zarr", shape=(4, 4), dtype="u1")[:] = 1
    axes, datasets = [{"name": "y"}, {"name": "x"}], [{"path": way.format(folder=tmp_path)}]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    zarr.open_group(tmp_path / "a.zarr", mode="w", attributes={"ome": ome})
    _refused(tmp_path / "a.zarr", "contains '.' or '..' segments|is missing; copy or export it again")


def _described(folder: Path, change: Callable[[str], str]) -> Path:
    """Write a TIFF with changed OME-XML."""
    tifffile.imwrite(folder / "whole.ome.tif", NOISE, photometric="minisblack", metadata={"axes": "ZYX"})
    with tifffile.TiffFile(folder / "whole.ome.tif") as tif:
        xml = tif.ome_metadata
    assert xml
    changed = change(xml)
    assert changed != xml
    path = folder / "changed.ome.tif"
    tifffile.imwrite(path, NOISE, photometric="minisblack", description=changed.encode(), metadata=None)
    return path


ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><OME'


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<OME", ENTITIES, "its XML declares entities"),
        ('SizeZ="3"', 'SizeZ="3000000000"', "has 3000000000 planes in its OME-XML, and 2000000 are allowed"),
        ('SizeX="64"', 'SizeX="64000000000000"', "pages by the sizes in its OME-XML"),
        ('SizeZ="3"', 'SizeZ="-3"', "its OME-XML says SizeZ=-3"),
        ('SizeZ="3"', 'SizeZ="many"', "its OME-XML says SizeZ='many'"),
        ("</OME>", '<ModuloAlongZ Start="0" End="1e15"/></OME>', "positions in a modulo annotation"),
        ("</OME>", "<OME>", "its OME-XML is broken"),
    ],
)
def test_hostile_ome_xml_is_refused(old: str, new: str, words: str, tmp_path: Path) -> None:
    _refused(_described(tmp_path, lambda xml: xml.replace(old, new, 1)), words)


@pytest.mark.parametrize(
    "name", ["../secret.ome.tif", "{folder}/secret.ome.tif", "..\\secret.ome.tif", "C:\\secret.ome.tif", "\\\\host\\x"]
)
def test_files_outside_the_folder_are_not_read(name: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "secret.ome.tif", NOISE, photometric="minisblack", metadata={"axes": "ZYX"})
    (tmp_path / "in").mkdir()

    def change(xml: str) -> str:
        uuid = f'<UUID FileName="{name.format(folder=tmp_path)}">urn:uuid:1</UUID></TiffData>'
        return xml.replace("</TiffData>", uuid) if "</TiffData>" in xml else xml.replace(
            'PlaneCount="3"/>', f'PlaneCount="3">{uuid}'
        )  # fmt: skip

    _refused(_described(tmp_path / "in", change), "which is outside its folder")


def test_foreign_attributes_are_ignored(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", NOISE, photometric="minisblack")
    assert read_attributes(tmp_path / "plain.tif") == {}
    assert read_attributes(_described(tmp_path, lambda xml: xml.replace("<OME", ENTITIES, 1))) == {}
