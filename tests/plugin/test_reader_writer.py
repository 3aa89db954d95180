"""Tests of reader, writer and samples through napari."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from npe2 import PluginManager

from masked_denoiser.images.open import open_image
from masked_denoiser.plugin.layers.source import layer_notes
from masked_denoiser.plugin.reader import contrast_limits, get_reader, read
from masked_denoiser.plugin.writer import write_image

PLUGIN = "napari-masked-denoiser"


@pytest.fixture
def model():
    """Return a viewer model without a window."""
    from napari.components import ViewerModel

    PluginManager.instance().discover()  # as napari does when its window opens
    return ViewerModel()


def stack_meta(**changes):
    return {
        "name": "stack",
        "rgb": False,
        "multiscale": False,
        "scale": [2.0, 0.5, 0.25],
        "units": ("um", "um", "um"),
        "axis_labels": ("z", "y", "x"),
    } | changes


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_layer_round_trip(model, tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 5000, (3, 600, 530), dtype=np.uint16)
    path = str(tmp_path / f"stack{suffix}")
    saved = model.add_image(pixels, scale=(2, 0.5, 0.25), units="um", axis_labels=("z", "y", "x"))
    assert saved.save(path, plugin=PLUGIN) == [path]
    (layer,) = model.open(path, plugin=PLUGIN)
    assert layer.name == "stack"
    assert layer.multiscale
    assert len(layer.data) == 3
    np.testing.assert_array_equal(layer.data[0], pixels)
    np.testing.assert_array_equal(layer.scale, (2, 0.5, 0.25))
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
    assert layer.axis_labels == ("z", "y", "x")
    low, high = layer.contrast_limits
    assert 0 <= low < high <= 5000


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_rgb_round_trip(model, tmp_path, rgb, suffix):
    path = str(tmp_path / f"slide{suffix}")
    model.add_image(rgb).save(path, plugin=PLUGIN)
    (layer,) = model.open(path, plugin=PLUGIN)
    assert layer.rgb
    np.testing.assert_array_equal(np.asarray(layer.data), rgb)


@pytest.mark.parametrize("suffix", [".ome.zarr", ".ome.tif"])
def test_layer_is_saved_over_its_own_file(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 100, 90), dtype=np.uint8)
    path = str(tmp_path / f"stack{suffix}")
    write_image(path, pixels, stack_meta())
    ((data, _, _),) = read(path)
    write_image(path, data, stack_meta())
    del data
    with open_image(path) as written:
        np.testing.assert_array_equal(written.data[...], pixels)
    assert [entry.name for entry in tmp_path.iterdir()] == [f"stack{suffix}"]


def test_failed_save_keeps_existing_file(tmp_path):
    path = tmp_path / "stack.ome.tif"
    write_image(str(path), np.ones((3, 64, 64), np.uint8), stack_meta())
    before = path.read_bytes()

    class Broken(np.ndarray):
        def __getitem__(self, key):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        write_image(str(path), np.ones((3, 64, 64), np.uint8).view(Broken), stack_meta())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_pyramids_are_saved_at_full_resolution(tmp_path):
    levels = [np.full((600, 600), 7, np.uint8), np.zeros((300, 300), np.uint8)]
    path = str(tmp_path / "p.ome.zarr")
    write_image(path, levels, {"multiscale": True, "rgb": False, "name": "p"})
    with open_image(path) as written:
        assert written.shape == (600, 600)
        assert (written.data[...] == 7).all()


def test_channels_open_as_layers(model, tmp_path):
    layers = model.open_sample(PLUGIN, "fluorescence")
    assert [layer.name for layer in layers] == ["fluorescence Nuclei", "fluorescence Filaments"]
    assert all(layer.data.shape == (8, 160, 160) for layer in layers)
    assert [str(unit) for unit in layers[0].units] == ["micrometer"] * 3
    np.testing.assert_allclose(layers[0].scale, (0.5, 0.2, 0.2))
    assert layers[0].contrast_limits != layers[1].contrast_limits


def test_slide_sample_opens_as_rgb(model):
    (layer,) = model.open_sample(PLUGIN, "slide")
    assert layer.rgb
    assert layer.name == "slide"
    assert type(layer.data[0] if layer.multiscale else layer.data).__module__.startswith("dask")


@pytest.mark.parametrize(
    ("unit", "shown", "note"),
    [
        ("mil", "mil", ""),
        ("Angstrom", "angstrom", ""),  # napari's registry knows the lower case alone
        ("cell", "pixel", "napari does not know the unit 'cell' of Y, X: the layer is in pixels there"),
        ("2**9", "pixel", "napari does not know the unit '2**9' of Y, X: the layer is in pixels there"),
    ],
)
def test_unit_that_napari_does_not_know_becomes_a_note(model, tmp_path, unit, shown, note):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), imagej=True, resolution=(2, 2), metadata={"unit": unit})
    (layer,) = model.open(str(path), plugin=PLUGIN)
    assert [str(each) for each in layer.units] == [shown] * 2
    np.testing.assert_array_equal(layer.scale, (0.5, 0.5))
    assert layer_notes(layer) == ([note] if note else [])


def test_reader_is_offered_for_supported_paths(tmp_path):
    manager = PluginManager.instance()
    manager.discover()
    for name in ("a.tif", "A.TIFF", "b.svs", "c.btf", "d.ome.tif"):
        readers = {reader.plugin_name for reader in manager.iter_compatible_readers([str(tmp_path / name)])}
        assert PLUGIN in readers, name
    assert get_reader(str(tmp_path)) is None
    assert get_reader([str(tmp_path / "a.tif")]) is None
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr" / "zarr.json").touch()
    assert get_reader(str(tmp_path / "x.zarr")) is not None


@pytest.mark.parametrize(
    ("sample", "limits"),
    [
        (np.array([3, 4], np.uint8), (0, 255)),
        (np.array([np.nan, np.inf]), (0, 1)),
        (np.full(4, 5.0), (5, 6)),
        (np.array([-2.0, np.nan, 8.0]), (-2, 8)),
    ],
)
def test_contrast_limits(sample, limits):
    np.testing.assert_allclose(contrast_limits(sample), limits, atol=0.01)


@pytest.mark.parametrize(
    "pixels",
    [
        np.arange(600).reshape(20, 30),
        np.eye(30, dtype=bool),
        np.ones((20, 30), np.float16),
        np.zeros((2, 1, 2, 1, 20, 30), np.uint8),
    ],
    ids=["int64", "bool", "float16", "6 dimensions"],
)
def test_layers_without_words_in_ome_are_plain_tiffs(model, tmp_path, pixels):
    """napari takes this writer for every .tif that is saved without the name of another one."""
    path = str(tmp_path / "saved.tif")
    assert model.add_image(pixels).save(path) == [path]
    np.testing.assert_array_equal(np.squeeze(tifffile.imread(path)), np.squeeze(pixels))


def test_error_of_the_writer_is_seen(model, tmp_path):
    """napari hides a ValueError."""
    with pytest.raises(RuntimeError, match=r"cannot hold int64: write to \.ome\.zarr"):
        model.add_image(np.arange(600).reshape(20, 30)).save(str(tmp_path / "saved.ome.tif"), plugin=PLUGIN)
