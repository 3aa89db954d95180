"""Tests of the background task of the live view, without a viewer."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import masked_denoiser as md
from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.plugin.live.cell_cache import CellCache, LiveLevel
from masked_denoiser.plugin.live.cells import View
from masked_denoiser.plugin.live.engine import LiveEngine, LiveImage
from masked_denoiser.tiling.plan import Span

#: With the exact halo, rectangles give the same pixels as the whole image, apart from the last bit.
OPTIONS = Options(noise="none", intensity=(0.0, 255.0), halo="exact")


def image_of(array: np.ndarray, axes: str, cache_bytes: int = 10**8, averaged: bool = False) -> LiveImage:
    cache = CellCache(cache_bytes)
    sources = [open_image(array, axes=axes)]
    return LiveImage(sources, [LiveLevel(0, array, sources[0].axes, cache)], averaged, cache)


def look(engine: LiveEngine, view: View, until: int | None = None) -> list:
    """Return the events of a view until it is denoised, or as many as given."""
    cancel, events = threading.Event(), []
    engine.look_at(view)
    for event in engine.run(cancel):
        events.append(event)
        if event.share == 1.0 or len(events) == until:
            cancel.set()
    return events


@pytest.mark.parametrize(
    ("shape", "axes", "view"),
    [
        ((300, 330), "YX", View(0, (), Span(100, 290), Span(140, 330))),
        ((300, 330, 3), "YXS", View(0, (), Span(0, 130), Span(0, 10))),
        ((2, 3, 140, 150), "CZYX", View(0, (("C", 1), ("Z", 2)), Span(20, 140), Span(0, 150))),
    ],
)
def test_view_is_denoised_like_job(models, shape, axes, view):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    live = image_of(image, axes)
    name = "tiny-rgb" if axes.endswith("S") else "tiny-gray"
    events = look(LiveEngine(live, name, "cpu", OPTIONS), view)
    assert events[-1].share == 1.0
    whole = md.denoise(image, model=name, axes=axes, options=OPTIONS, device="cpu")
    index = dict(view.position) | {"Y": view.rows.index, "X": view.columns.index}
    key = tuple(index.get(letter, slice(None)) for letter in axes)
    shown = live.levels[0][key]
    assert np.abs(shown.astype(int) - whole[key]).max() <= 1  # rounding
    assert (shown != image[key]).mean() > 0.5
    outside = live.levels[0][tuple(0 if letter in "CZ" else slice(None) for letter in axes)]
    if "Z" in axes:
        np.testing.assert_array_equal(outside, image[0, 0])


def test_new_view_is_denoised_before_rest_of_old_one(models, monkeypatch):
    monkeypatch.setattr("masked_denoiser.plugin.live.engine._INITIAL_SPEED", 1.0)
    monkeypatch.setattr("masked_denoiser.plugin.live.engine._RECTANGLE_SECONDS", 0.0)  # single cells
    image = np.random.default_rng(0).integers(0, 256, (512, 512), dtype=np.uint8)
    live = image_of(image, "YX")
    engine = LiveEngine(live, "tiny-gray", "cpu", OPTIONS)
    cancel = threading.Event()
    old, new = View(0, (), Span(0, 384), Span(0, 512)), View(0, (), Span(384, 512), Span(0, 512))
    engine.look_at(old)
    for event in engine.run(cancel):
        if event.share and engine._view is old:
            engine.look_at(new)
        elif event.share == 1.0:
            cancel.set()
    missing = live.cache.missing(0, (), range(4), range(4))
    assert not missing[3].any()
    assert (~missing[:3]).sum() == 1  # the one that was being denoised when the view changed
    assert not missing[1, 1:3].all()  # and it is one of the nearest to the centre


def test_view_larger_than_cache_ends(models):
    image = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    live = image_of(image, "YX", cache_bytes=20_000)
    events = look(LiveEngine(live, "tiny-gray", "cpu", OPTIONS), View(0, (), Span(0, 300), Span(0, 300)))
    assert events[-1].share == 1.0
    assert live.cache.nbytes <= 20_000


def test_image_without_noise_is_shown_unchanged(models):
    ramp = np.tile(np.linspace(0, 60000, 300).astype(np.uint16), (300, 1))
    live = image_of(ramp, "YX")
    events = look(LiveEngine(live, "tiny-gray", "cpu", Options()), View(0, (), Span(0, 300), Span(0, 300)))
    assert events[-1].text.startswith("the original is shown")
    assert not events[-1].changed
    np.testing.assert_array_equal(live.levels[0][...], ramp)


@pytest.mark.parametrize("averaged", [False, True])
def test_structure_at_full_resolution_is_structure_in_overviews(models, averaged):
    """What a job leaves alone is not removed from a lower level, however noisy that looks."""
    ramp = np.tile(np.linspace(0, 60000, 600).astype(np.uint16), (600, 1))
    noise = np.random.default_rng(0).integers(0, 60000, (300, 300), dtype=np.uint16)
    cache = CellCache(10**8)
    levels = [LiveLevel(number, array, "YX", cache) for number, array in enumerate((ramp, np.zeros_like(noise)))]
    live = LiveImage([open_image(array, axes="YX") for array in (ramp, noise)], levels, averaged, cache)
    events = look(LiveEngine(live, "tiny-gray", "cpu", Options()), View(1, (), Span(0, 300), Span(0, 300)))
    assert events[-1].text.startswith("the original is shown: ")
    np.testing.assert_array_equal(levels[1][...], noise if averaged else np.zeros_like(noise))


def test_interrupted_view_is_denoised_when_it_is_shown_again(models, monkeypatch):
    monkeypatch.setattr("masked_denoiser.plugin.live.engine._INITIAL_SPEED", 1.0)
    monkeypatch.setattr("masked_denoiser.plugin.live.engine._RECTANGLE_SECONDS", 0.0)  # single cells
    live = image_of(np.random.default_rng(0).integers(0, 256, (512, 512), dtype=np.uint8), "YX")
    engine, view = LiveEngine(live, "tiny-gray", "cpu", OPTIONS), View(0, (), Span(0, 512), Span(0, 512))
    cancel, shares = threading.Event(), []
    engine.look_at(view)
    for event in engine.run(cancel):
        shares.append(event.share)
        if event.share == 1.0:
            cancel.set()
        elif event.share is not None and len(shares) == 4:
            engine.look_at(None)
            threading.Timer(0.3, engine.look_at, (view,)).start()
    assert shares[-1] == 1.0


def test_wrong_model_is_reported(models):
    image = np.zeros((64, 64), np.uint8)
    engine = LiveEngine(image_of(image, "YX"), "no such model", "cpu", OPTIONS)
    with pytest.raises(MaskedDenoiserError, match="no such model"):
        look(engine, View(0, (), Span(0, 64), Span(0, 64)))
