"""Result layers: what is seen is the result, in the right place, and the chosen image stays chosen."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from masked_denoiser.plugin.denoise.results.result_layers import ResultLayers
from masked_denoiser.plugin.denoise.task import LayerUpdate

PIXELS = np.random.default_rng(0).integers(0, 255, (64, 64)).astype("uint8")


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def results(viewer: ViewerModel) -> ResultLayers:
    results = ResultLayers(viewer)
    viewer.layers.events.removed.connect(lambda event: results.layer_removed(event.value))
    return results


def show(results: ResultLayers, layer: Any, update: LayerUpdate, output: Path | None = None) -> None:
    results.begin(layer, output)
    results.show(update)
    results.end()


def preview(offset: tuple[float, ...] = (0.0, 0.0)) -> LayerUpdate:
    return LayerUpdate("preview", (PIXELS[:32, :32],), offset)


def result() -> LayerUpdate:
    return LayerUpdate("result", (PIXELS,))


def test_one_of_original_preview_and_result_is_visible(viewer: ViewerModel, results: ResultLayers) -> None:
    source, other = (viewer.add_image(PIXELS, name=name, blending="additive") for name in ("source", "other"))
    show(results, source, preview())
    assert [layer.name for layer in viewer.layers] == ["source", "source preview", "other"]
    assert visible(viewer) == ["source preview", "other"]
    assert viewer.layers["source preview"].bounding_box.visible
    show(results, source, result())
    assert visible(viewer) == ["source denoised", "other"]
    show(results, source, preview((10.0, 10.0)))
    assert visible(viewer) == ["source preview", "other"]
    results.show_original(source, True)
    assert visible(viewer) == ["source", "other"]
    results.show_original(source, False)
    assert len(visible(viewer)) == 2
    assert not source.visible
    assert other.visible


def visible(viewer: ViewerModel) -> list[str]:
    return [layer.name for layer in viewer.layers if layer.visible]


def test_original_returns_when_its_results_are_removed(viewer: ViewerModel, results: ResultLayers) -> None:
    source = viewer.add_image(PIXELS, name="source")
    show(results, source, preview())
    show(results, source, result())
    viewer.layers.remove("source preview")
    assert not source.visible
    viewer.layers.remove("source denoised")
    assert source.visible
    source.visible = False  # by the user
    show(results, source, preview())
    viewer.layers.remove("source preview")
    assert not source.visible


@pytest.mark.parametrize("selected", [["a"], ["a", "b"], []])
def test_selection_is_kept(viewer: ViewerModel, results: ResultLayers, selected: list[str]) -> None:
    a, _ = viewer.add_image(PIXELS, name="a"), viewer.add_image(PIXELS, name="b")
    viewer.layers.selection = {viewer.layers[name] for name in selected}
    active = viewer.layers.selection.active
    for update in (preview(), preview((5.0, 5.0)), result(), result()):
        show(results, a, update)
        assert {layer.name for layer in viewer.layers.selection} == set(selected)
        assert viewer.layers.selection.active is active


def test_reused_layer_takes_the_whole_placement(viewer: ViewerModel, results: ResultLayers, tmp_path: Path) -> None:
    source = viewer.add_image(PIXELS, name="source")
    output = tmp_path / "x.ome.zarr"
    show(results, source, LayerUpdate("result", (PIXELS[20:40, 30:50],), (20.0, 30.0)), output)
    shown = viewer.layers["source denoised"]
    np.testing.assert_allclose(shown.data_to_world((0, 0)), source.data_to_world((20, 30)))
    source.scale, source.rotate, source.shear, source.translate = (0.25, 0.5), 30, [0.2], (5, 7)
    source.affine = np.array([[0, 2, 1], [3, 0, 4], [0, 0, 1.0]])
    source.units = ("um", "um")
    show(results, source, result(), output)
    assert viewer.layers["source denoised"] is shown
    assert shown.units == source.units
    for pixel in ((0, 0), (10, 63)):
        np.testing.assert_allclose(shown.data_to_world(pixel), source.data_to_world(pixel))
    show(results, source, preview((10.0, 12.0)))
    source.scale = (-1, 4)
    show(results, source, preview((3.0, 5.0)))
    previewed = viewer.layers["source preview"]
    np.testing.assert_allclose(previewed.data_to_world((1, 2)), source.data_to_world((4, 7)))


def test_flipped_output_lies_on_its_input(viewer: ViewerModel, results: ResultLayers, tmp_path: Path) -> None:
    source = viewer.add_image(PIXELS, name="source", scale=(-2, 3), translate=(1, 1), rotate=20)
    update = LayerUpdate("result", (PIXELS[10:30, 5:35][::-1],), (10.0, 5.0), flipped=(0,))
    show(results, source, update, tmp_path / "x.ome.zarr")
    shown = viewer.layers["source denoised"]
    np.testing.assert_allclose(shown.data_to_world((19, 0)), source.data_to_world((10, 5)))
    np.testing.assert_allclose(shown.data_to_world((0, 29)), source.data_to_world((29, 34)))


def test_other_input_gets_its_own_layer(viewer: ViewerModel, results: ResultLayers, tmp_path: Path) -> None:
    first = viewer.add_image(PIXELS, name="first", colormap="green")
    second = viewer.add_image(PIXELS, name="second", scale=(3, 3), colormap="magenta")
    for layer in (first, second):
        show(results, layer, result(), tmp_path / "x.ome.zarr")
    assert [layer.name for layer in viewer.layers] == ["first", "second", "second denoised"]
    assert viewer.layers["second denoised"].colormap.name == "magenta"
    assert visible(viewer) == ["first", "second denoised"]


def test_result_appears_when_its_input_is_removed(viewer: ViewerModel, results: ResultLayers) -> None:
    source = viewer.add_image(PIXELS, name="source")
    show(results, source, result())
    results.show_original(source, True)
    assert results.shows_original(source)
    viewer.layers.remove(source)
    assert visible(viewer) == ["source denoised"]


def test_result_says_what_was_done(viewer: ViewerModel, results: ResultLayers) -> None:
    source = viewer.add_image(PIXELS, name="source", metadata={"mine": 1})
    show(results, source, LayerUpdate("result", (PIXELS,), record={"model": "general-gray"}))
    assert viewer.layers["source denoised"].metadata == {"mine": 1, "masked_denoiser": {"model": "general-gray"}}
    show(results, viewer.layers["source denoised"], preview())
    assert "masked_denoiser" not in viewer.layers["source denoised preview"].metadata


def test_result_follows_an_input_that_is_placed_anew(viewer: ViewerModel, results: ResultLayers) -> None:
    source = viewer.add_image(PIXELS, name="source")
    results.begin(source, None)
    results.show(preview((10.0, 20.0)))
    source.scale, source.translate = (0.5, 0.25), (100.0, 0.0)
    results.end()
    placed = viewer.layers["source preview"]
    np.testing.assert_allclose(source.world_to_data(placed.data_to_world((0, 0))), (10, 20))
    np.testing.assert_allclose(source.world_to_data(placed.data_to_world((31, 31))), (41, 51))


def test_layer_has_its_name_again_when_a_job_completes_it(viewer: ViewerModel, results: ResultLayers) -> None:
    source = viewer.add_image(PIXELS, name="source")
    results.begin(source, None)
    results.show(preview())
    results.mark_incomplete()
    results.end()
    layer = viewer.layers["source preview (incomplete)"]
    show(results, source, preview())
    assert layer.name == "source preview"
    layer.name = "mine"  # a name of the user is kept
    show(results, source, preview())
    assert layer.name == "mine"


def test_removed_result_is_freed(viewer: ViewerModel, results: ResultLayers) -> None:
    show(results, viewer.add_image(PIXELS, name="source"), result())
    pixels = weakref.ref(viewer.layers["source denoised"])
    viewer.layers.remove("source denoised")
    gc.collect()
    assert pixels() is None


def test_a_result_returns_when_what_was_shown_instead_is_removed(viewer: ViewerModel, results: ResultLayers) -> None:
    source = viewer.add_image(PIXELS, name="source")
    show(results, source, result())
    results.show_separately(source, LayerUpdate("live", (PIXELS,)))
    assert visible(viewer) == ["source live view"]
    viewer.layers.remove("source live view")
    assert visible(viewer) == ["source denoised"]


def test_result_is_not_what_was_removed(viewer: ViewerModel, results: ResultLayers) -> None:
    source = viewer.add_image(PIXELS, name="source")
    show(results, source, result())
    show(results, source, LayerUpdate("residual", (PIXELS.astype(np.float32),), limits=(-1.0, 1.0)))
    assert visible(viewer) == ["source removed"]
    results.show_original(source, True)
    results.show_original(source, False)
    assert visible(viewer) == ["source denoised"]


def test_removed_layers_are_released(viewer: ViewerModel, results: ResultLayers) -> None:
    """napari keeps the layer that was active last."""
    source, other = viewer.add_image(PIXELS, name="source"), viewer.add_image(PIXELS, name="other")
    show(results, source, result())
    results.show_original(source, True)
    references = [weakref.ref(source), weakref.ref(viewer.layers["source denoised"])]
    viewer.layers.remove(source)
    viewer.layers.remove("source denoised")
    viewer.layers.selection = {other}
    del source
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_docks_of_one_viewer_have_jobs_of_their_own(viewer: ViewerModel) -> None:
    first, second = viewer.add_image(PIXELS, name="first"), viewer.add_image(PIXELS, name="second")
    docks = ResultLayers(viewer), ResultLayers(viewer)
    docks[0].begin(first, None)
    docks[1].begin(second, None)
    docks[1].show(result())
    docks[1].end()
    docks[0].show(result())
    docks[0].end()
    assert visible(viewer) == ["first denoised", "second denoised"]


def test_dock_that_is_opened_again_knows_the_results(viewer: ViewerModel) -> None:
    source = viewer.add_image(PIXELS, name="source")
    show(ResultLayers(viewer), source, result())
    assert ResultLayers(viewer).has_results(source)
    assert not ResultLayers(ViewerModel()).has_results(source)
    reference = weakref.ref(viewer.layers["source denoised"])
    assert ResultLayers(viewer).is_result(reference())
