"""Editor of a noise recipe: a menu of noise families with sliders, and the recipe as text."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtCore import Signal as QtSignal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFormLayout, QLabel, QLineEdit, QVBoxLayout, QWidget
from superqt import QLabeledDoubleRangeSlider

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.plugin.shared.widgets.form_widgets import combo

#: First entry of the menu, with no recipe.
_INHERITED = "as the model was trained"
#: Last entry of the menu, for a recipe that was typed.
_CUSTOM = "custom recipe"


class NoiseEditor(QWidget):
    """Editor of a noise recipe: a menu of families, a range slider for each parameter, and the recipe as text.

    Separate handles of a slider make a range, from which each patch draws a value; equal ones make a constant. No text
    stands for the noise with which the model was trained.
    """

    #: Emitted when the recipe has changed and is valid.
    changed = QtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.family, self.recipe, self.problem = combo([]), QLineEdit(), QLabel()
        self.recipe.setPlaceholderText("the noise of the model's own training")
        self.recipe.setToolTip(
            "Noise added to each patch, such as poisson(alpha=2) + correlated(sigma=20), gaussian(sigma=0..50) for a "
            "range, or one_of(gaussian, none). `masked-denoiser noise list` lists all."
        )
        self.problem.setWordWrap(True)
        self.problem.setStyleSheet("color: #ff6b6b")
        self.problem.hide()
        self._slider_form = QWidget()
        self._rows = QFormLayout(self._slider_form)
        self._rows.setContentsMargins(0, 0, 0, 0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.family, self._slider_form, self.recipe, self.problem):
            layout.addWidget(widget)
        self._sliders_by_name: dict[str, QLabeledDoubleRangeSlider] = {}
        self._loaded = False
        self.recipe.textEdited.connect(self._recipe_edited)
        self.family.currentTextChanged.connect(self._family_chosen)

    def load(self) -> None:
        """Fill the menu; call it when a background task has imported torch, which the families need."""
        if self._loaded:
            return
        from masked_denoiser.noise.synthetic.families import FAMILIES

        self._loaded = True
        self.family.blockSignals(True)
        self.family.addItems([_INHERITED, *FAMILIES, _CUSTOM])
        tooltip = "A model for many kinds of noise remains one; other noise makes it better at that noise only"
        for number, text in enumerate([tooltip, *(family.description for family in FAMILIES.values())]):
            self.family.setItemData(number, text, Qt.ItemDataRole.ToolTipRole)
        self.family.blockSignals(False)

    def sliders(self) -> dict[str, QLabeledDoubleRangeSlider]:
        """Return the sliders by name of their parameter."""
        return dict(self._sliders_by_name)

    def show_problem(self, problem: str) -> None:
        """Show what is wrong with the recipe; "" hides the message."""
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))

    def _family_chosen(self, family: str) -> None:
        if family == _CUSTOM:
            self._clear()
            self.recipe.setFocus()
            return
        if family == _INHERITED:
            self._clear()
            self._show_recipe("")
            return
        self._make_sliders(family)
        self._slider_moved()

    def _make_sliders(self, family: str) -> None:
        from masked_denoiser.noise.synthetic.families import FAMILIES

        self._clear()
        for parameter in FAMILIES[family].parameters:
            low, high = parameter.slider_range or (parameter.minimum, parameter.maximum)
            slider = QLabeledDoubleRangeSlider(Qt.Orientation.Horizontal)
            slider.setDecimals(3 if high <= 1 else 1)
            slider.setRange(low, high)  # type: ignore[arg-type]  # superqt types this one as for whole numbers
            slider.setValue((parameter.default, parameter.default))
            slider.setToolTip(f"{parameter.description}. Separate handles make a range, from which each patch draws.")
            slider.valueChanged.connect(self._slider_moved)
            self._sliders_by_name[parameter.name] = slider
            self._rows.addRow(parameter.name, slider)

    def _clear(self) -> None:
        self._sliders_by_name = {}
        while self._rows.rowCount():
            self._rows.removeRow(0)

    def _slider_moved(self, _value: object = None) -> None:
        values = [f"{name}={_format_range(*slider.value())}" for name, slider in self.sliders().items()]
        family = self.family.currentText()
        self._show_recipe(f"{family}({', '.join(values)})" if values else family)

    def _show_recipe(self, recipe: str) -> None:
        self.recipe.setText(recipe)
        self.show_problem("")
        self.changed.emit()

    def _recipe_edited(self, text: str) -> None:
        """Select the entry without sliders, and check the recipe."""
        from masked_denoiser.noise.synthetic.parse import parse_noise

        self.family.blockSignals(True)
        self.family.setCurrentText(_CUSTOM if text.strip() else _INHERITED)
        self.family.blockSignals(False)
        self._clear()
        try:
            if text.strip():
                parse_noise(text)
        except MaskedDenoiserError as error:
            self.show_problem(str(error))
            return
        self.show_problem("")
        self.changed.emit()


def _format_range(low: float, high: float) -> str:
    return f"{low:.4g}" if f"{low:.4g}" == f"{high:.4g}" else f"{low:.4g}..{high:.4g}"
