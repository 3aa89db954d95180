"""Folder of a training: checkpoint, recipe, log, and the last validation picture."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from masked_denoiser.atomic_file import replaced_atomically
from masked_denoiser.errors import RecipeError, TrainingError
from masked_denoiser.evaluation.pictures import save_png
from masked_denoiser.training.checkpoint import read_identity
from masked_denoiser.training.events import Stepped, Trained, Validated
from masked_denoiser.training.fingerprint import recipe_of_identity
from masked_denoiser.training.recipe import TrainingRecipe


class _SummaryWriter(Protocol):
    """Part of TensorBoard's writer that is used."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def close(self) -> None: ...


@dataclass
class RunFolder:
    """Folder of a training, whose events are logged in `log.jsonl` and optionally in TensorBoard.

    A resumed training may log some steps twice; the later line is valid.
    """

    folder: Path
    tensorboard: _SummaryWriter | None = None
    _log_file: Any = field(default=None, init=False)

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint."""
        return self.folder / "checkpoint.pt"

    def recipe(self) -> TrainingRecipe | None:
        """Return the recipe in the folder; None if there is no training to resume.

        If it is damaged, return the settings that the checkpoint fixes, with defaults for all others.

        Raises:
            TrainingError: if both are damaged.
        """
        path = self.folder / "recipe.json"
        if not path.is_file():
            return None
        try:
            return TrainingRecipe.from_json(path.read_text(errors="replace"))
        except (TrainingError, RecipeError):
            if not self.checkpoint.is_file():
                return None  # `prepare_training` reports that there is nothing to resume
            return recipe_of_identity(read_identity(self.checkpoint))

    def open(self, recipe: TrainingRecipe, *, clear: bool, tensorboard: bool = False) -> None:
        """Write the recipe and open the log.

        Args:
            recipe: how to train.
            clear: first remove the files of an earlier training.
            tensorboard: also log to TensorBoard.

        Raises:
            TrainingError: if the folder cannot be written, or TensorBoard is not installed.
        """
        writer = _summary_writer() if tensorboard else None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if clear:
                _clear(self.folder)
            with replaced_atomically(self.folder / "recipe.json") as temporary:
                temporary.write_text(recipe.to_json() + "\n")
            self._log_file = _open_log(self.folder / "log.jsonl")
        except OSError as error:
            raise TrainingError(f"{self.folder} cannot be written ({error.strerror}); choose another output") from error
        if writer is not None:
            self.tensorboard = writer(str(self.folder / "tensorboard"))

    def log(self, event: Any) -> None:
        """Log an event with figures; other events are ignored."""
        match event:
            case Stepped():
                self._write_line(step=event.step, loss=event.loss, rate=event.rate, seconds=round(event.seconds, 2))
                self._scalar("loss", event.loss, event.step)
                self._scalar("learning rate", event.rate, event.step)
            case Validated():
                self._write_line(step=event.step, psnr=event.psnr, ssim=event.ssim, best=event.best)
                for noise, value in event.psnr.items():
                    self._scalar(f"PSNR/{noise}", value, event.step)
                save_png(self.folder / "validation.png", event.picture)
            case Trained():
                self._write_line(step=event.step, ended=event.why, best_step=event.best_step)

    def close(self) -> None:
        """Close the log and TensorBoard's writer."""
        if self._log_file is not None:
            self._log_file.close()
        if self.tensorboard is not None:
            self.tensorboard.close()

    def _write_line(self, **values: Any) -> None:
        self._log_file.write(json.dumps(values) + "\n")
        self._log_file.flush()

    def _scalar(self, tag: str, value: float, step: int) -> None:
        if self.tensorboard is not None:
            self.tensorboard.add_scalar(tag, value, step)


def _open_log(path: Path) -> IO[str]:
    """Open the log to append to it, on a new line if a killed training left an incomplete one."""
    log = path.open("a+")
    log.seek(max(0, log.tell() - 1))
    if log.read(1) not in ("", "\n"):
        log.write("\n")
    return log


def _clear(folder: Path) -> None:
    """Remove the files of an earlier training, and no others, from its folder."""
    names = ("checkpoint.pt", "log.jsonl", "recipe.json", "validation.png")
    for path in (*(folder / name for name in names), *folder.glob(".*.creating")):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)


def _summary_writer() -> Any:
    """Return the class of TensorBoard's writer, from torch.

    Raises:
        TrainingError: if TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise TrainingError(
            'TensorBoard is not installed; pip install "napari-masked-denoiser[train]", or omit --tensorboard'
        ) from error
    return SummaryWriter
