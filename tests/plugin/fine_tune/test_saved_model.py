"""Signal of a saved model, which tells the docks of all viewers in which one it was trained."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from masked_denoiser.plugin.fine_tune import presenter as module
from masked_denoiser.plugin.fine_tune.presenter import FineTunePresenter
from masked_denoiser.plugin.fine_tune.view import FineTuneView
from masked_denoiser.plugin.shared.signals import SIGNALS


def test_saved_model_names_the_viewer_that_trained_it(models, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari.components import ViewerModel

    viewer, saved = ViewerModel(), []

    def receive(name: str, trained_in: object) -> None:
        saved.append((name, trained_in))

    presenter = FineTunePresenter(viewer, MagicMock(spec=FineTuneView))
    presenter._result = MagicMock()
    monkeypatch.setattr(module, "save_model", lambda view, model, name: "mine")
    SIGNALS.model_saved.connect(receive)
    try:
        assert presenter.save() == "mine"
    finally:
        SIGNALS.model_saved.disconnect(receive)
        presenter.stop()
    ((name, trained_in),) = saved
    assert name == "mine"
    assert trained_in is viewer
