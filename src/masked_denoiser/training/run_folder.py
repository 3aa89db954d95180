"""A training's folder: checkpoint, recipe, log, and the last validation picture."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from masked_denoiser.errors import TrainingError
from masked_denoiser.evaluation.pictures import save_png
from masked_denoiser.training.events import Stepped, Trained, Validated
from masked_denoiser.training.recipe import TrainingRecipe


class _Board(Protocol):
    """What is used of a TensorBoard writer."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def close(self) -> None: ...


@dataclass
class RunFolder:
    """Writes what happens, as it happens, to `log.jsonl` and to TensorBoard if that is wanted.

    A training that went on from a checkpoint may log some steps twice: the later line counts.
    """

    folder: Path
    board: _Board | None = None
    _log: Any = field(default=None, init=False)

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint lies."""
        return self.folder / "checkpoint.pt"

    def recipe(self) -> TrainingRecipe | None:
        """Return the recipe of the training that the folder holds; None if it holds none.

        Raises:
            TrainingError: if it is damaged.
        """
        path = self.folder / "recipe.json"
        return TrainingRecipe.from_json(path.read_text()) if path.is_file() else None

    def begin(self, recipe: TrainingRecipe, *, anew: bool, tensorboard: bool = False) -> None:
        """Opens the log; `anew` first removes what an earlier training left.

        Raises:
            TrainingError: if the folder cannot be written, or TensorBoard is wanted and not installed.
        """
        if tensorboard:
            _find_tensorboard()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if anew:
                _clear(self.folder)
            (self.folder / "recipe.json").write_text(recipe.to_json() + "\n")
            self._log = (self.folder / "log.jsonl").open("a")
        except OSError as error:
            raise TrainingError(f"{self.folder} cannot be written ({error.strerror}); choose another output") from error
        if tensorboard:
            self.board = _find_tensorboard()(str(self.folder / "tensorboard"))

    def add(self, event: Any) -> None:
        """Writes an event; those that are no figures are left out."""
        match event:
            case Stepped():
                self._line(step=event.step, loss=event.loss, rate=event.rate, seconds=round(event.seconds, 2))
                self._scalar("loss", event.loss, event.step)
                self._scalar("learning rate", event.rate, event.step)
            case Validated():
                self._line(step=event.step, psnr=event.psnr, ssim=event.ssim, best=event.best)
                for noise, value in event.psnr.items():
                    self._scalar(f"PSNR/{noise}", value, event.step)
                save_png(self.folder / "validation.png", event.picture)
            case Trained():
                self._line(step=event.step, ended=event.why, best_step=event.best_step)

    def close(self) -> None:
        """Leaves the folder as it is, for later."""
        if self._log is not None:
            self._log.close()
        if self.board is not None:
            self.board.close()

    def _line(self, **values: Any) -> None:
        self._log.write(json.dumps(values) + "\n")
        self._log.flush()

    def _scalar(self, tag: str, value: float, step: int) -> None:
        if self.board is not None:
            self.board.add_scalar(tag, value, step)


def _clear(folder: Path) -> None:
    """Removes what an earlier training left in its folder, and nothing else that may lie there."""
    for name in ("checkpoint.pt", "checkpoint.pt.creating", "log.jsonl", "recipe.json", "validation.png"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)


def _find_tensorboard() -> Any:
    """TensorBoard's writer, from torch.

    Raises:
        TrainingError: if TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise TrainingError(
            'TensorBoard is not installed; pip install "napari-masked-denoiser[train]", or leave --tensorboard out'
        ) from error
    return SummaryWriter
