"""List of models in the Denoise dock, without a viewer."""

from __future__ import annotations

from masked_denoiser.plugin.denoise.widgets.model_field import ModelField


def test_new_list_keeps_descriptions_and_choice(qtbot):
    field = ModelField()
    qtbot.addWidget(field.combo)
    qtbot.addWidget(field.description)
    field.show_models(["auto", "one"], "one")
    field.describe({"auto": "by image", "one": "for tissue"})
    field.show_models(["auto", "mine", "one"], "")
    assert (field.combo.currentText(), field.description.text()) == ("one", "for tissue")
    field.show_models(["auto", "mine", "one"], "mine")
    assert (field.combo.currentText(), field.description.text()) == ("mine", "")
    field.combo.setCurrentText("auto")
    assert field.description.text() == "by image"
