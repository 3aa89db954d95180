"""Tests of the noise card."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from napari.layers import Image

from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.noise_card.panel import NoiseCard

TIMEOUT = 60_000


@pytest.fixture
def card(models, qtbot):
    state = SimpleNamespace(layer=None, form=Form(model="general-gray", device="cpu"))
    card = NoiseCard(lambda: state.layer, lambda: state.form)
    qtbot.addWidget(card)
    card.state_of_test = state
    yield card
    card.stop()


def show(card, qtbot, pixels):
    card.state_of_test.layer = Image(pixels)
    card.expand(animate=False)
    qtbot.waitUntil(lambda: not card.presenter.busy and card.state.text() == "", timeout=TIMEOUT)


def test_noise_is_measured_in_units_of_image(card, qtbot):
    y, x = np.mgrid[:400, :400]
    clean = 2000 + 800 * np.sin(x / 40) * np.cos(y / 50)
    rng = np.random.default_rng(0)
    show(card, qtbot, rng.normal(clean, 40).astype(np.uint16))
    assert "oderate noise" in card.verdict.text() or "eak noise" in card.verdict.text()
    sigma = float(re.search(r"standard deviation.*?<td>([\d.]+)", card.figures.text())[1])
    assert sigma == pytest.approx(40, rel=0.1)
    dots = card.plot.listDataItems()[0].getData()
    assert np.median(dots[1]) == pytest.approx(1600, rel=0.25)
    assert (dots[0].min(), dots[0].max()) == pytest.approx((1300, 2700), rel=0.2)
    assert card.plan.text().startswith("Each pixel is ")


def test_card_offers_to_denoise_what_job_would_leave(card, qtbot):
    ramp = np.tile(np.linspace(0, 60000, 300).astype(np.uint16), (300, 1))
    show(card, qtbot, ramp)
    assert not card.anyway_button.isHidden()
    with qtbot.waitSignal(card.denoise_anyway, timeout=1000):
        card.anyway_button.click()


def test_card_follows_layer_and_reports_errors(card, qtbot):
    card.expand(animate=False)
    assert card.state.text() == "open an image to see its noise"
    show(card, qtbot, np.random.default_rng(0).normal(100, 10, (200, 200)).astype(np.float32))
    first = card.figures.text()
    card.state_of_test.layer = Image(np.random.default_rng(0).normal(100, 3, (200, 200)).astype(np.float32))
    qtbot.waitUntil(lambda: card.figures.text() != first and not card.presenter.busy, timeout=TIMEOUT)
    card.state_of_test.form = Form(model="no-such-model")
    qtbot.waitUntil(lambda: "no-such-model" in card.state.text(), timeout=TIMEOUT)


def test_slider_and_field_agree(card, qtbot):
    with qtbot.waitSignal(card.strength_changed, timeout=1000) as emitted:
        card.slider.setValue(15)
    assert emitted.args == [1.5]
    card.show_strength(0.8)
    assert (card.slider.value(), card.strength_label.text()) == (8, "0.8")


def test_folding_the_card_does_not_measure_again(card, qtbot, monkeypatch):
    show(card, qtbot, np.random.default_rng(0).normal(100, 10, (300, 300)).astype(np.float32))
    measured = []
    monkeypatch.setattr("masked_denoiser.plugin.noise_card.presenter.measure_card", lambda *_: measured.append(1))
    for _ in range(2):
        card.collapse(animate=False)
        card.expand(animate=False)
        card.presenter.process_events()
    assert not measured
    assert not card.presenter.busy


def test_settings_that_are_changed_and_changed_back_are_measured(card, qtbot):
    card.state_of_test.layer = Image(np.random.default_rng(0).normal(100, 10, (300, 300)).astype(np.float32))
    form = card.state_of_test.form
    card.expand(animate=False)
    qtbot.waitUntil(lambda: card.state.text() == "trying treatments on a sample ...", timeout=TIMEOUT)
    card.state_of_test.form = Form(model="tiny-gray", device="cpu")
    card.presenter.process_events()
    card.state_of_test.form = form
    qtbot.waitUntil(lambda: not card.presenter.busy and card.state.text() == "", timeout=TIMEOUT)
    assert not card.plan.isHidden()
