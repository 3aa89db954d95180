"""Field for the output of a job."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QLineEdit, QPushButton, QVBoxLayout, QWidget

from masked_denoiser.plugin.denoise.form import Output, default_path
from masked_denoiser.plugin.shared.form_widgets import combo, row

#: Kinds of output by their label.
_OUTPUTS: dict[str, Output] = {"New layer": "memory", "OME-Zarr on disk": "zarr", "OME-TIFF on disk": "tiff"}
#: Filters of the file dialog.
_FILTERS: dict[Output, str] = {"zarr": "OME-Zarr (*.ome.zarr *.zarr)", "tiff": "OME-TIFF (*.ome.tif *.ome.tiff *.tif)"}


class OutputChoice(QWidget):
    """Choice of a new layer, or of a file or folder. Whether it may be overwritten is asked when the job starts."""

    def __init__(self) -> None:
        super().__init__()
        self.kind, self.path = combo(list(_OUTPUTS)), QLineEdit()
        self.kind.setToolTip("A new layer is in memory. An output on disk has any size, and its job can be resumed.")
        self._browse_button = QPushButton("...")
        self._browse_button.setMaximumWidth(32)
        self._browse_button.setToolTip("Choose the file")
        self._path_row = row(self.path, self._browse_button)
        self._name = "image"
        self._input: Path | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.kind)
        layout.addWidget(self._path_row)
        self.kind.currentIndexChanged.connect(self._kind_changed)
        self._browse_button.clicked.connect(self._choose)
        self._kind_changed()

    @property
    def output(self) -> Output:
        """Where the result is written."""
        return _OUTPUTS[self.kind.currentText()]

    def suggest(self, name: str, input: Path | None) -> None:
        """Suggest a path for a layer of this name and file."""
        self._name, self._input = name, input
        self._kind_changed()

    def _kind_changed(self, _index: int = 0) -> None:
        self._path_row.setVisible(self.output != "memory")
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
