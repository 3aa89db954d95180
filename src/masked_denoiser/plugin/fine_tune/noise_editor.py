"""A noise recipe from a menu with sliders, or as text."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtCore import Signal as QtSignal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFormLayout, QLabel, QLineEdit, QVBoxLayout, QWidget
from superqt import QLabeledDoubleRangeSlider

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.plugin.shared.form_widgets import combo

#: The last entry of the menu.
_OWN = "own recipe"


class NoiseEditor(QWidget):
    """The menu of noise families, a slider with two handles for each number, and the recipe as text.

    Two handles apart make a range, from which each patch draws; together they make one number.
    """

    #: The recipe is another one.
    changed = QtSignal()

    def __init__(self) -> None:
        super().__init__()
        self.family, self.recipe, self.problem = combo([]), QLineEdit("gaussian(sigma=15)"), QLabel()
        self.recipe.setToolTip(
            "What is added to each patch, such as poisson(alpha=2) + correlated(sigma=20), gaussian(sigma=0..50) for a "
            "range, or one_of(gaussian, none). `masked-denoiser noise list` lists all."
        )
        self.problem.setWordWrap(True)
        self.problem.setStyleSheet("color: #ff6b6b")
        self.problem.hide()
        self._sliders = QWidget()
        self._rows = QFormLayout(self._sliders)
        self._rows.setContentsMargins(0, 0, 0, 0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.family, self._sliders, self.recipe, self.problem):
            layout.addWidget(widget)
        self._by_name: dict[str, QLabeledDoubleRangeSlider] = {}
        self._loaded = False
        self.recipe.textEdited.connect(self._typed)
        self.family.currentTextChanged.connect(self._chosen)

    def load(self) -> None:
        """Fills the menu; the families load torch, which the worker has done by then."""
        if self._loaded:
            return
        from masked_denoiser.noise.synthetic.families import FAMILIES

        self._loaded = True
        self.family.blockSignals(True)
        self.family.addItems([*FAMILIES, _OWN])
        for number, family in enumerate(FAMILIES.values()):
            self.family.setItemData(number, family.text, Qt.ItemDataRole.ToolTipRole)
        self.family.setCurrentText("gaussian")
        self.family.blockSignals(False)
        self._make_sliders("gaussian")

    def values(self) -> dict[str, QLabeledDoubleRangeSlider]:
        """The sliders by the name of their number."""
        return dict(self._by_name)

    def say(self, problem: str) -> None:
        """What is wrong with the recipe; nothing if it is empty."""
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))

    def _chosen(self, family: str) -> None:
        if family == _OWN:
            self._clear()
            self.recipe.setFocus()
            return
        self._make_sliders(family)
        self._slid()

    def _make_sliders(self, family: str) -> None:
        from masked_denoiser.noise.synthetic.families import FAMILIES

        self._clear()
        for parameter in FAMILIES[family].parameters:
            low, high = parameter.usual or (parameter.smallest, parameter.largest)
            slider = QLabeledDoubleRangeSlider(Qt.Orientation.Horizontal)
            slider.setDecimals(3 if high <= 1 else 1)
            slider.setRange(low, high)  # type: ignore[arg-type]  # superqt types this one as for whole numbers
            slider.setValue((parameter.default, parameter.default))
            slider.setToolTip(f"{parameter.text}. Two handles apart make a range, from which each patch draws.")
            slider.valueChanged.connect(self._slid)
            self._by_name[parameter.name] = slider
            self._rows.addRow(parameter.name, slider)

    def _clear(self) -> None:
        self._by_name = {}
        while self._rows.rowCount():
            self._rows.removeRow(0)

    def _slid(self, _value: object = None) -> None:
        numbers = [f"{name}={_span(*slider.value())}" for name, slider in self.values().items()]
        family = self.family.currentText()
        self.recipe.setText(f"{family}({', '.join(numbers)})" if numbers else family)
        self.say("")
        self.changed.emit()

    def _typed(self, text: str) -> None:
        """What is typed has no sliders of its own."""
        from masked_denoiser.noise.synthetic.parse import parse_noise

        self.family.blockSignals(True)
        self.family.setCurrentText(_OWN)
        self.family.blockSignals(False)
        self._clear()
        try:
            parse_noise(text)
        except MaskedDenoiserError as error:
            self.say(str(error))
            return
        self.say("")
        self.changed.emit()


def _span(low: float, high: float) -> str:
    return f"{low:.4g}" if f"{low:.4g}" == f"{high:.4g}" else f"{low:.4g}..{high:.4g}"
