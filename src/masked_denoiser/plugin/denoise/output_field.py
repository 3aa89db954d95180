"""The dock's choice of where a result goes."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QLineEdit, QPushButton, QVBoxLayout, QWidget

from masked_denoiser.plugin.denoise.form import Output, default_path
from masked_denoiser.plugin.shared.form_widgets import combo, row

_OUTPUTS: dict[str, Output] = {"New layer": "memory", "OME-Zarr on disk": "zarr", "OME-TIFF on disk": "tiff"}
_FILTERS: dict[Output, str] = {"zarr": "OME-Zarr (*.ome.zarr *.zarr)", "tiff": "OME-TIFF (*.ome.tif *.ome.tiff *.tif)"}


class OutputChoice(QWidget):
    """A new layer, or a file or folder with its path. Whether it may be overwritten is asked later."""

    def __init__(self) -> None:
        super().__init__()
        self.kind, self.path = combo(list(_OUTPUTS)), QLineEdit()
        self.kind.setToolTip("A new layer lives in memory. An output on disk may have any size, and its job can go on.")
        self._browse = QPushButton("...")
        self._browse.setMaximumWidth(32)
        self._browse.setToolTip("Choose the file")
        self._where = row(self.path, self._browse)
        self._name = "image"
        self._input: Path | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.kind)
        layout.addWidget(self._where)
        self.kind.currentIndexChanged.connect(self._kind_changed)
        self._browse.clicked.connect(self._choose)
        self._kind_changed()

    @property
    def output(self) -> Output:
        """Where the result goes."""
        return _OUTPUTS[self.kind.currentText()]

    def suggest(self, name: str, input: Path | None) -> None:
        """Begins the path anew, for another layer."""
        self._name, self._input = name, input
        self._kind_changed()

    def _kind_changed(self, _index: int = 0) -> None:
        self._where.setVisible(self.output != "memory")
        self.path.setText(default_path(self.output, self._name, self._input, Path.home()))
        self.path.setToolTip(self.path.text())

    def _choose(self, _checked: bool = False) -> None:
        chosen, _ = QFileDialog.getSaveFileName(
            self,
            "Write the result to",
            self.path.text(),
            _FILTERS[self.output],
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if chosen:
            self.path.setText(chosen)
            self.path.setToolTip(chosen)
