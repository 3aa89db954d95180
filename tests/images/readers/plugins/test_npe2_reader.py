"""Readers of napari plugins: pixels and metadata as napari has them, without napari."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import h5py
import numpy as np
import pint
import pytest
import xarray as xr
import zarr
from dask import delayed
from napari.layers import Image

from masked_denoiser.errors import DamagedError, ImageError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import list_planes
from masked_denoiser.images.readers.chunk_cache import CACHE_BYTES
from masked_denoiser.images.selection import open_part
from masked_denoiser.images.source import DECODER_ERRORS
from masked_denoiser.plugin.layers.source import layer_source
from tests.images.readers.plugins import foo_plugin
from tests.images.readers.plugins.foo_plugin import NAME, layer, pixels, write

STACK = np.random.default_rng(0).integers(0, 999, (3, 40, 50), dtype=np.uint16)
UNITS = pint.get_application_registry()


def opened(plugin, path, *layers, **how):
    """Open a file with a plugin that gives these layers."""
    path.write_text("content")
    plugin("given", lambda path: lambda path: list(layers))
    return open_image(path, reader="given", **how)


def h5_dataset(folder):
    return h5py.File(folder / "a.h5", "w").create_dataset("a", data=STACK, chunks=(1, 20, 50))


def zarr_array(folder):
    array = zarr.create_array(folder / "a.zarr", shape=STACK.shape, chunks=(2, 16, 16), dtype=STACK.dtype)
    array[:] = STACK
    return array


ARRAYS = {
    "numpy": lambda folder: STACK,
    "big-endian": lambda folder: STACK.astype(">u2"),
    "dask": lambda folder: da.from_array(STACK, chunks=(1, 16, 50)),
    "stacked frames": lambda folder: da.stack(
        [da.from_delayed(delayed(frame), STACK[0].shape, "u2") for frame in STACK]
    ),
    "computed dask": lambda folder: da.from_array(STACK - 1, chunks=(2, 16, 50)).rechunk((1, 13, 50)) + 1,
    "irregular dask": lambda folder: da.from_array(STACK, chunks=((2, 1), (7, 20, 13), (50,))),
    "zarr": zarr_array,
    "h5py": h5_dataset,
    "xarray": lambda folder: xr.DataArray(da.from_array(STACK, chunks=(1, 16, 50)), dims=("z", "y", "x")),
    "list": lambda folder: STACK.tolist(),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_pixels_are_those_of_the_array(plugin, file, kind):
    source = opened(plugin, file, (ARRAYS[kind](file.parent), {"axis_labels": ("z", "y", "x")}))
    assert (source.axes, source.shape, source.dtype.isnative) == ("ZYX", STACK.shape, True)
    np.testing.assert_array_equal(np.asarray(source.data[...]), STACK)
    np.testing.assert_array_equal(source.data[1, 5:37:3, -1], STACK[1, 5:37:3, -1])
    planes = list_planes(source.axes, source.sizes, rgb=False)
    with ThreadPoolExecutor(4) as threads:
        read = threads.map(lambda plane: source.read(plane, slice(3, 39), slice(0, 50)), planes)
        np.testing.assert_array_equal(np.concatenate(list(read)), STACK[:, 3:39])


def test_chunks_are_computed_when_read_and_once(plugin, file):
    computed = []

    def compute(block, block_info=None):
        computed.append(block_info[0]["chunk-location"])
        return block

    array = da.from_array(STACK, chunks=(1, 20, 25))
    lazy = array.map_blocks(compute, dtype=array.dtype, meta=np.empty((0, 0, 0), np.uint16))
    source = opened(plugin, file, (lazy, {"axis_labels": ("z", "y", "x")}))
    assert computed == []
    np.testing.assert_array_equal(source.data[1, 2:30, 3:9], STACK[1, 2:30, 3:9])
    _ = source.data[1, 0:40, 20:25]
    assert sorted(computed) == [(1, 0, 0), (1, 1, 0)]


def test_a_huge_image_takes_no_memory(plugin, file):
    lazy = da.zeros((2, 10**5, 10**5), dtype=np.uint8, chunks=(1, 2048, 2048))
    source = opened(plugin, file, ([lazy, lazy[:, ::2, ::2]], {"multiscale": True}))
    assert (len(source.levels), source.data[1, 99_999, 5:8].tolist()) == (2, [0, 0, 0])


def test_a_chunk_that_exceeds_the_size_limit_is_refused(plugin, file):
    whole = da.zeros((10**5, 10**6), chunks=-1)
    with pytest.raises(ImageError, match=r"a chunk of 100000 x 1000000 would take .* GiB of memory"):
        opened(plugin, file, (whole, {}))


LAYERS = {
    "calibrated stack": (STACK, {"scale": (2, 0.5, 0.25), "translate": (4, 0, -1), "units": ("um", "um", "mm")}),
    "one unit for all": (STACK, {"scale": (2, 0.5, 0.25), "units": "nm"}),
    "pint units": (STACK, {"scale": (2, 1, 1), "units": (UNITS.second, UNITS.micrometer, UNITS.micrometer)}),
    "pixels": (STACK, {"scale": (1, 1, 1), "units": ("pixel",) * 3}),
    "scale without unit": (STACK, {"scale": (3, 1, 1), "translate": (0, 5, 0)}),
    "named axes": (STACK, {"axis_labels": ("t", "y", "x"), "scale": (3, 0.1, 0.1), "units": ("s", "um", "um")}),
    "columns first": (STACK, {"axis_labels": ("x", "z", "y"), "scale": (0.1, 2, 0.3), "units": ("um", "um", "um")}),
    "plane": (STACK[0], {}),
    "rgb": (STACK[:, :, :3].astype(np.uint8), {"rgb": True, "scale": (2, 0.5), "units": ("um", "um")}),
    "not rgb": (np.zeros((40, 50, 3), np.uint8), {"rgb": False, "scale": (0.5, 0.25, 7.0)}),
    "pyramid": ([STACK, STACK[:, ::2, ::2]], {"multiscale": True, "scale": (2, 0.5, 0.5), "units": ("um",) * 3}),
    "pyramid that is not declared": ([STACK, STACK[:, ::2, ::2]], {"scale": (2, 0.5, 0.5)}),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_metadata_is_that_of_the_layer_in_napari(plugin, file, kind):
    data, settings = LAYERS[kind]
    source = opened(plugin, file, (data, settings, "image"))
    expected = layer_source(Image(data, **settings))
    assert (source.axes, source.shape, source.rgb) == (expected.axes, expected.shape, expected.rgb)
    assert (source.pixel_size, source.units, source.origin) == (expected.pixel_size, expected.units, expected.origin)


def test_levels_of_a_pyramid_are_placed_on_each_other(plugin, file):
    settings = {"axis_labels": ("z", "y", "x"), "scale": (2, 0.5, 0.5), "translate": (0, 10, 0)}
    source = opened(plugin, file, ([STACK, STACK[:, ::2, ::2]], settings), level=1)
    assert (source.shape, source.pixel_size) == ((3, 20, 25), {"Z": 2.0, "Y": 1.0, "X": 1.0})
    assert source.origin == {"Y": 10.25, "X": 0.25}


def test_channel_axis_becomes_channels(plugin, file):
    settings = {
        "channel_axis": 1,
        "name": ["DAPI", "GFP"],
        "scale": (2, 0.5, 0.25),
        "axis_labels": ("z", "y", "x"),
        "contrast_limits": [(0, 100), (5, 900)],
        "colormap": ["blue", "green"],
    }
    image = np.random.default_rng(1).integers(0, 999, (3, 2, 40, 50), dtype=np.uint16)
    source = opened(plugin, file, (image, settings))
    assert (source.axes, source.channel_names) == ("ZCYX", ("DAPI", "GFP"))
    assert source.pixel_size == {"Z": 2.0, "Y": 0.5, "X": 0.25}
    assert source.windows == ((0.0, 100.0), (5.0, 900.0))
    assert source.channel_colours == ("0000FF", "00FF00")


@pytest.mark.parametrize("limits", [None, [None, None], [(0, 9), None], [(0, 9)]])
def test_channels_without_names_and_limits_have_none(plugin, file, limits):
    image = np.zeros((2, 40, 50), np.uint8)
    source = opened(plugin, file, (image, {"channel_axis": 0, "name": [None, None], "contrast_limits": limits}))
    assert (source.axes, source.channel_names, source.windows) == ("CYX", (), ())


def test_equal_layers_become_channels_and_each_can_be_named(foo, file):
    channels = [layer((3, 40, 50), seed, name=name, scale=(2, 0.5, 0.5)) for seed, name in enumerate(("DAPI", "GFP"))]
    write(file, *channels, layer(kind="points"))
    with open_image(file) as source:
        assert (source.axes, source.shape, source.reader) == ("CZYX", (2, 3, 40, 50), NAME)
        assert (source.channel_names, source.pixel_size) == (("DAPI", "GFP"), {"Z": 2.0, "Y": 0.5, "X": 0.5})
        np.testing.assert_array_equal(source.data[:, 2, 5:9], [pixels(each)[2, 5:9] for each in channels])
        assert source.notes[:2] == (
            "opened by the napari plugin foo-reader",
            "left out: 1 layer of points; only images are read",
        )
        assert "its layers are read as channels (DAPI, GFP)" in source.notes[2]
        caches = [array.cache_bytes for array in source.data._arrays]
        assert (len(caches), sum(caches)) == (2, CACHE_BYTES)
    with open_image(f"{file}::GFP", axes="TYX") as source:
        assert (source.axes, source.where, source.pixel_size["T"]) == ("TYX", f"{file}::GFP", 2.0)
        np.testing.assert_array_equal(source.data[...], pixels(channels[1]))


def test_different_layers_are_images_of_their_own(foo, file):
    write(file, layer(name="large"), layer((20, 20), 1, name="small"), layer((20, 20), 2, name="small"))
    with pytest.raises(
        ImageError, match=r"holds 3 images \(large, small, small \(2\)\); name one of them, such as 'a\.foo::large'"
    ):
        open_image(file, reader=NAME)
    with open_image(f"{file}::small (2)", reader=NAME) as source:
        np.testing.assert_array_equal(source.data[...], pixels(layer((20, 20), 2)))
    with pytest.raises(ImageError, match="holds no image 'medium'"):
        open_image(f"{file}::medium", reader=NAME)


def test_what_a_source_cannot_keep_is_noted(plugin, file):
    settings = {"name": "a", "rotate": 30, "shear": [0.0], "affine": np.eye(3), "scale": (-2, 1), "units": ("um", "um")}
    source = opened(plugin, file, (STACK[0], settings))
    assert source.notes[1:] == (
        "rotate of layer 'a' not kept; pixels are as stored",
        "layer 'a' is mirrored by a negative scale, which is not kept; pixels are as stored",
    )
    assert source.pixel_size == {"Y": 2.0, "X": 1.0}


def test_one_reader_of_a_plugin_can_be_named(foo, file):
    write(file, layer())
    with open_image(file, reader=f"{NAME}.get_reader") as source:
        assert source.reader == f"{NAME}.get_reader"
    with pytest.raises(ImageError, match=r"reader 'foo-reader\.other' is not installed"):
        open_image(file, reader=f"{NAME}.other")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("get_reader raises", r"a\.foo: cannot be read by the napari plugin foo-reader \(FooError: it has two lines\)"),
        ("read raises", r"a\.foo: cannot be read by the napari plugin foo-reader \(FooError: it is broken\); choose"),
        ("refused", "the napari plugin foo-reader refuses it; choose another --reader"),
    ],
)
def test_errors_of_a_plugin_name_it_in_one_line(foo, file, fault, words):
    write(file, layer(), fault=fault)
    with pytest.raises(ImageError, match=words) as caught:
        open_image(file, reader=NAME)
    assert "\n" not in str(caught.value)


def test_errors_in_pixels_name_plugin_and_region(foo, file):
    assert not issubclass(foo_plugin.FooError, DECODER_ERRORS)
    write(file, layer(), fault="pixels raise")
    with open_image(file, reader=NAME) as source, pytest.raises(DamagedError) as caught:
        source.read(next(iter(list_planes("YX", source.sizes, rgb=False))), slice(3, 9), slice(0, 5))
    assert "is damaged at rows 3 to 9, columns 0 to 5" in str(caught.value)
    assert "the napari plugin foo-reader: FooError: a block is missing" in str(caught.value)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([(np.zeros((5, 2)), {}, "points")], "gives 1 layer of points and no image"),
        (
            [(np.zeros((5, 2)), {}, "Points"), (np.zeros((4, 4), int), {}, "labels")],
            "1 layer of points and 1 layer of labels",
        ),
        ([(None,)], "gives 1 layer of nothing and no image"),
        ([(object(), {})], "object is not an image"),
        ([([STACK, STACK[0, ::2]], {"multiscale": True})], "ValueError: the levels of layer '0' differ"),
        ([(np.zeros(7), {})], r"shape \(7,\) is not an image"),
        ([(np.zeros((4, 4), complex), {})], "pixels of type complex128 cannot be denoised"),
        ([(STACK, {"scale": "wide"})], "cannot be read by the napari plugin given"),
        ([5], "cannot be read by the napari plugin given"),
    ],
)
def test_layers_without_an_image_are_refused(plugin, file, layers, words):
    with pytest.raises(ImageError, match=words):
        opened(plugin, file, *layers)


def test_parts_and_axes_are_checked_as_for_any_file(foo, file):
    write(file, layer((3, 40, 50)))
    with open_part(file, axes="TYX", selection="T=1", reader=NAME) as source:
        assert (source.shape, source.selection, source.reader) == ((1, 40, 50), "T=1", NAME)
    with pytest.raises(ImageError, match="axes 'YX' do not fit shape"):
        open_image(file, axes="YX", reader=NAME)
    with pytest.raises(ImageError, match="there is no level 1"):
        open_image(file, level=1, reader=NAME)
    with pytest.raises(ImageError, match="cannot be found"):
        open_image(file.with_name("b.foo"), reader=NAME)
    with pytest.raises(ImageError, match="reader foo-reader opens files, and ndarray is none"):
        open_image(STACK, reader=NAME)
