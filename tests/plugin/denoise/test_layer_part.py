"""Tests of regions, slices and command lines of layers, without a window."""

from __future__ import annotations

import shlex
import tracemalloc
from dataclasses import replace
from unittest.mock import MagicMock

import dask.array as da
import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image
from npe2 import DynamicPlugin

from masked_denoiser.cli.main import build_parser
from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.readers.plugins import bioio_reader
from masked_denoiser.images.selection import crop, open_part, parse_selection
from masked_denoiser.images.writers.downsample import halve
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.plugin.denoise.command_line import file_source
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.layer_part import ShapesList, choose_part
from masked_denoiser.plugin.denoise.request import RequestBuilder
from masked_denoiser.plugin.layers.lazy_pyramid import halved_levels
from masked_denoiser.plugin.layers.source import layer_source
from masked_denoiser.plugin.layers.view_region import camera_of, canvas_size, visible_part
from masked_denoiser.plugin.reader import read
from masked_denoiser.plugin.shared.task_view import AskingView
from masked_denoiser.tiling.plan import Span
from tests.images.readers.plugins import foo_plugin

OPTIONS = Options(noise="none", tile=64, intensity=(0.0, 255.0))
FORM = Form(model="tiny-gray", region="shapes", shapes="box", options=OPTIONS)


def box(top, left, bottom, right):
    return np.array([[top, left], [top, right], [bottom, right], [bottom, left]], dtype=float)


def part_of(viewer, layer, form=FORM):
    return choose_part(viewer, layer, layer_source(layer), form)


@pytest.fixture
def viewer():
    return ViewerModel()


def test_rectangle_uses_transforms_of_both_layers(viewer):
    layer = viewer.add_image(np.zeros((5, 100, 120), np.uint8), scale=(7, 0.5, 0.25), translate=(1, 3, 4))
    corners = box(10, 20, 40, 80)
    world = corners * (0.5, 0.25) + (3, 4)
    viewer.add_shapes([(world - 5) / 2], shape_type="rectangle", name="box", scale=(2, 2), translate=(5, 5))
    part = part_of(viewer, layer)
    assert part.rectangle == (Span(10, 40), Span(20, 80))
    assert part.description == "region: rows 10 to 40, columns 20 to 80"
    source, start = part.cut()
    assert (source.shape, start) == ((5, 30, 60), {"Y": 10, "X": 20})
    assert source.origin == {"Z": 1.0, "Y": 3 + 10 * 0.5, "X": 4 + 20 * 0.25}


def test_units_of_shapes_are_converted(viewer):
    layer = viewer.add_image(np.zeros((100, 120), np.uint8), scale=(0.5, 0.5), units="um")
    viewer.add_shapes([box(10, 20, 40, 80) * 500], shape_type="rectangle", name="box", units="nm")
    assert part_of(viewer, layer).rectangle == (Span(10, 40), Span(20, 80))


@pytest.mark.parametrize(
    ("kind", "corners", "message"),
    [
        ("rectangle", box(-10, 20, 40, 800), "(clipped to the image)"),
        ("ellipse", box(0, 0, 40, 80), "(bounding box of the shape)"),
        ("rectangle", [[0, 40], [40, 80], [80, 40], [40, 0]], "(bounding box of the shape)"),
        ("polygon", [[0, 0], [-5, 90], [30, 40]], "(bounding box of the shape, clipped to the image)"),
    ],
)
def test_adjusted_regions_are_described(viewer, kind, corners, message):
    layer = viewer.add_image(np.zeros((100, 120), np.uint8))
    viewer.add_shapes([np.asarray(corners, dtype=float)], shape_type=kind, name="box")
    assert part_of(viewer, layer).description.endswith(message)


def test_selected_shape_has_priority_over_last(viewer):
    layer = viewer.add_image(np.zeros((100, 120), np.uint8))
    shapes = viewer.add_shapes([box(0, 0, 10, 10), box(50, 50, 60, 60)], shape_type="rectangle", name="box")
    shapes.selected_data = set()
    assert part_of(viewer, layer).rectangle == (Span(50, 60), Span(50, 60))
    shapes.selected_data = {0}
    assert part_of(viewer, layer).rectangle == (Span(0, 10), Span(0, 10))


def test_invalid_regions_are_refused(viewer):
    layer = viewer.add_image(np.zeros((5, 100, 120), np.uint8), name="image")
    with pytest.raises(MaskedDenoiserError, match="Shapes layer 'box' no longer exists"):
        part_of(viewer, layer)
    shapes = viewer.add_shapes(name="box")
    with pytest.raises(MaskedDenoiserError, match="'box' is empty; draw a rectangle"):
        part_of(viewer, layer)
    shapes.add_rectangles([box(-50, 0, -10, 40)])
    with pytest.raises(
        MaskedDenoiserError, match="rows -50 to -10 and columns 0 to 40 of 'image', which has 100 x 120 pixels"
    ):
        part_of(viewer, layer)
    viewer.dims.ndisplay = 3
    with pytest.raises(MaskedDenoiserError, match="the view shows no rows and columns"):
        part_of(viewer, layer, Form(region="view"))


def test_list_of_shapes_follows_viewer(viewer):
    seen = []
    kept = ShapesList(viewer, seen.append)
    viewer.add_image(np.zeros((10, 10), np.uint8))
    shapes = viewer.add_shapes(name="box")
    shapes.name = "other"
    viewer.layers.remove(shapes)
    assert seen[0] == []
    assert [names for names in seen if names] == [["box"], ["other"]]
    assert (seen[-1], kept is None) == ([], False)


def test_region_of_large_dask_pyramid_is_read_locally(viewer, models):
    blocks_read = []

    def level(blocks):
        def block(block_info):
            blocks_read.append((blocks, *block_info[None]["chunk-location"]))
            return np.zeros((1, 500, 500), np.uint8)

        chunks = ((1,) * 3, (500,) * blocks, (500,) * blocks)
        return da.map_blocks(block, chunks=chunks, dtype=np.uint8, meta=np.empty(0, np.uint8))

    layer = viewer.add_image([level(40), level(20)], contrast_limits=(0, 255), axis_labels=("z", "y", "x"))
    viewer.add_shapes([box(17_010, 3_010, 17_050, 3_050)], shape_type="rectangle", name="box")
    request = RequestBuilder(viewer, MagicMock(spec=AskingView)).denoise(layer, replace(FORM, slices="Z=2"))
    assert request.source.shape == (1, 20_000, 20_000)
    options = request.options
    prepared = prepare_array(request.source, model=request.model, options=options, device="cpu", region=request.region)
    blocks_read.clear()
    tracemalloc.start()
    list(prepared.pipeline.run())
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 40e6  # a plane alone has 400 million pixels
    # Rows 16 960 to 17 088 and columns 3 008 to 3 072, with a halo of 32.
    assert set(blocks_read) == {(40, 2, y, x) for y in (33, 34) for x in (5, 6)}
    assert prepared.pipeline.sink.array.shape == (1, 128, 64)


@pytest.mark.parametrize(("axes", "shape"), [("YX", (700, 513)), ("ZYX", (2, 300, 130)), ("YXS", (257, 40, 3))])
def test_lower_levels_are_means_of_current_pixels(axes, shape):
    pixels = np.zeros(shape, np.uint8)
    levels = halved_levels(pixels, axes)
    pixels[...] = np.random.default_rng(0).integers(0, 255, shape)
    y, x = axes.index("Y"), axes.index("X")
    expected = pixels
    for level in levels:
        np.testing.assert_array_equal(np.asarray(level), expected)
        np.testing.assert_array_equal(level[..., 3:40:2, :][-1], expected[..., 3:40:2, :][-1])
        expected = halve(expected, y, x)
    assert max(levels[-1].shape[y], levels[-1].shape[x]) <= 256


class TestCommand:
    def command(self, viewer, layer, **fields):
        options = {name: fields.pop(name) for name in list(fields) if hasattr(Options(), name)}
        form = Form(**{"model": "auto", "options": Options(**options), **fields})
        line = RequestBuilder(viewer, MagicMock(spec=AskingView)).command(layer, form)
        return build_parser().parse_args(shlex.split(line)[1:])

    def open(self, viewer, path):
        """Open a file as napari does."""
        ((data, settings, _),) = read(str(path))
        layers = viewer.add_image(data, **settings)
        layers = layers if isinstance(layers, list) else [layers]
        for layer in layers:
            layer._source = layer.source.model_copy(update={"path": str(path)})
        return layers

    def test_command_selects_part_shown_by_layer(self, viewer, tmp_path):
        path = tmp_path / "a stack.tif"
        image = np.random.default_rng(0).integers(0, 99, (4, 2, 50, 60), dtype=np.uint8)
        tifffile.imwrite(path, image, imagej=True, metadata={"axes": "ZCYX"})
        _, second = self.open(viewer, path)
        viewer.add_shapes([box(10, 20, 40, 55)], shape_type="rectangle", name="box")
        arguments = self.command(viewer, second, region="shapes", shapes="box", slices="Z=1:3", passes=2)
        assert arguments.input == [str(path)]
        assert arguments.output == str(tmp_path / "a stack C 1 denoised.ome.zarr")
        assert (arguments.axes, arguments.passes, arguments.model) == (None, 2, None)
        with open_image(path) as source:
            part = crop(source, parse_selection(arguments.select))
            np.testing.assert_array_equal(np.asarray(part.data[...])[:, 0], image[1:3, 1, 10:40, 20:55])

    def test_axes_are_passed_only_if_changed(self, viewer, tmp_path):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, np.zeros((9, 50, 60), np.uint8), photometric="minisblack")
        (layer,) = self.open(viewer, path)
        assert self.command(viewer, layer).axes is None
        assert self.command(viewer, layer, axes="TYX").axes == "TYX"
        assert self.command(viewer, layer, output="tiff", path="x.ome.tif").output == "x.ome.tif"

    def test_layer_without_file_must_be_saved_first(self, viewer, tmp_path):
        layer = viewer.add_image(np.zeros((50, 60), np.uint8), name="made")
        with pytest.raises(MaskedDenoiserError, match="layer 'made' was not opened from a file; save it first"):
            self.command(viewer, layer)
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, np.zeros((50, 60), np.uint8))
        (layer,) = self.open(viewer, path)
        layer.data = np.zeros((25, 60), np.uint8)
        with pytest.raises(MaskedDenoiserError, match="the layer is a part of the file, or was changed; save"):
            self.command(viewer, layer)


class TestCommandOfOtherPlugins(TestCommand):
    """Command lines for layers that another plugin opened, which name it as the reader."""

    @pytest.fixture(autouse=True)
    def plugin(self, tmp_path, monkeypatch):
        monkeypatch.setenv("NAPARI_CONFIG", str(tmp_path / "none.yaml"))
        with DynamicPlugin(foo_plugin.NAME) as plugin:
            plugin.contribute.reader(foo_plugin.get_reader, filename_patterns=["*.foo", "*.tif"])
            yield

    def open(self, viewer, path):
        return viewer.open(str(path), plugin=foo_plugin.NAME)

    def selected(self, arguments):
        """Return the pixels that a command line denoises."""
        where, axes, level = arguments.input[0], arguments.axes, arguments.level
        with open_part(where, axes=axes, level=level, selection=arguments.select, reader=arguments.reader) as source:
            return np.asarray(source.data[...])

    def test_command_selects_part_shown_by_layer(self, viewer, tmp_path):
        first, second = (
            foo_plugin.layer((3, 40, 50), seed, name=name, axis_labels=["z", "y", "x"])
            for seed, name in enumerate("ab")
        )
        path = foo_plugin.write(tmp_path / "a.foo", first, second)
        _, shown = self.open(viewer, path)
        arguments = self.command(viewer, shown, slices="Z=1:3")
        assert (arguments.input, arguments.reader) == ([str(path)], foo_plugin.NAME)
        np.testing.assert_array_equal(self.selected(arguments)[0], foo_plugin.pixels(second)[1:3])
        source = RequestBuilder(viewer, MagicMock(spec=AskingView))._part(shown, Form(model="auto")).cut()[0]
        with file_source(shown, path, source) as opened:
            assert (opened.reader, opened.selection) == (foo_plugin.NAME, "C=1")

    def test_command_names_the_image_of_a_layer(self, viewer, tmp_path):
        path = foo_plugin.write(
            tmp_path / "a.foo", foo_plugin.layer(name="large"), foo_plugin.layer((20, 20), 1, name="small")
        )
        _, shown = self.open(viewer, path)
        arguments = self.command(viewer, shown)
        assert arguments.input == [f"{path}::small"]
        np.testing.assert_array_equal(self.selected(arguments), foo_plugin.pixels(foo_plugin.layer((20, 20), 1)))

    def test_axes_are_passed_only_if_changed(self, viewer, tmp_path):
        (shown,) = self.open(viewer, foo_plugin.write(tmp_path / "a.foo", foo_plugin.layer((9, 50, 60))))
        assert (self.command(viewer, shown).axes, self.command(viewer, shown, axes="TYX").axes) == (None, "TYX")

    def test_layer_without_file_must_be_saved_first(self, viewer, tmp_path):
        (shown,) = self.open(viewer, foo_plugin.write(tmp_path / "a.foo", foo_plugin.layer()))
        shown.data = np.zeros((25, 60), np.uint8)
        with pytest.raises(MaskedDenoiserError, match="the layer is a part of the file, or was changed; save"):
            self.command(viewer, shown)

    def test_our_readers_open_what_a_plugin_cannot_without_napari(self, viewer, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((50, 60), np.uint8))
        shown = viewer.add_image(np.zeros((50, 60), np.uint8))
        for name in (foo_plugin.NAME, "napari", "not-installed"):
            update = {"path": str(tmp_path / "a.tif"), "reader_plugin": name}
            shown._source = shown.source.model_copy(update=update)
            assert self.command(viewer, shown).reader == ""

    def test_napari_itself_is_named_for_what_only_napari_opens(self, viewer, tmp_path, monkeypatch):
        monkeypatch.setattr(bioio_reader, "is_installed", lambda: False)
        pixels = np.random.default_rng(0).integers(0, 255, (50, 60), np.uint8)
        imageio.imwrite(tmp_path / "a.pgm", pixels)
        (shown,) = viewer.open(str(tmp_path / "a.pgm"), plugin="napari")
        arguments = self.command(viewer, shown)
        assert arguments.reader == "napari"
        np.testing.assert_array_equal(self.selected(arguments), pixels)


def test_output_keeps_translation_of_layer():
    assert layer_source(Image(np.zeros((5, 6), np.uint8), translate=(0, 7))).origin == {"X": 7.0}


@pytest.mark.parametrize("multiscale", [False, True])
def test_visible_part_follows_the_camera(multiscale):
    """What napari has loaded of a pyramid may be of an earlier view."""
    viewer = ViewerModel()
    pixels = np.zeros((4000, 4000), np.uint8)
    layer = viewer.add_image([pixels, pixels[::2, ::2]] if multiscale else pixels, multiscale=multiscale)
    height, width = canvas_size(viewer)
    camera = camera_of(viewer)
    camera.center, camera.zoom = (0, 1000.0, 3000.0), 10.0
    rows, columns = visible_part(viewer, layer, "YX")
    assert abs(len(rows) - height / 10) <= 1
    assert abs(len(columns) - width / 10) <= 1
    assert abs(rows.start + rows.stop - 2000) <= 2
    assert abs(columns.start + columns.stop - 6000) <= 2
    camera.center = (0, -9000.0, 0.0)
    assert visible_part(viewer, layer, "YX") is None
