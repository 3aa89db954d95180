"""Models that the Fine-tune dock saves, in the Denoise docks of several viewers."""

from __future__ import annotations

from unittest.mock import MagicMock

from masked_denoiser.plugin.denoise.layer_chooser import LayerChoiceView, LayerChooser
from masked_denoiser.plugin.shared.signals import SIGNALS
from tests.plugin.conftest import save_tiny_model


def test_saved_model_is_listed_in_all_viewers_and_chosen_in_the_one_that_trained_it(models):
    from napari.components import ViewerModel

    viewers = [ViewerModel(), ViewerModel()]
    views = [MagicMock(spec=LayerChoiceView) for _ in viewers]
    never = lambda layer: False  # noqa: E731
    choosers = [LayerChooser(viewer, view, never, never) for viewer, view in zip(viewers, views, strict=True)]
    save_tiny_model(models, "mine", 1)
    SIGNALS.model_saved.emit("mine", viewers[1])
    for view, chosen in zip(views, ("", "mine"), strict=True):
        names, choice = view.show_models.call_args.args
        assert "mine" in names
        assert choice == chosen
    for chooser in choosers:
        chooser.disconnect()
