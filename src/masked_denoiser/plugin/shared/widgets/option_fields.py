"""Form fields generated from the table of options."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox, SpinBox
from magicgui.widgets.bases import ValueWidget

from masked_denoiser.jobs.spec.options import Option


def make_field(option: Option) -> ValueWidget[Any]:
    """Return the widget of an option: a check box, a spin box or a combo box."""
    common = {"value": option.default, "tooltip": sentence(option.help)}
    if isinstance(option.default, bool):
        return CheckBox(text=option.label, **common)
    if option.limits is not None:
        lowest, highest, step = option.limits
        if isinstance(option.default, float):
            return FloatSpinBox(min=lowest, max=highest, step=step, **common)
        return SpinBox(min=int(lowest), max=int(highest), step=int(step), **common)
    return ComboBox(choices=[(label, word) for word, label in option.choices.items()], **common)


def sentence(help: str) -> str:
    """Return a help text as a sentence; the values "auto" and "none" at its start keep their case."""
    capital = help if help.startswith(("auto ", "none ")) else help[:1].upper() + help[1:]
    return f"{capital}."
