"""Export of a model in the format of another program."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from masked_denoiser.atomic_file import replaced_atomically
from masked_denoiser.errors import ModelError
from masked_denoiser.models.catalogue import load_model
from masked_denoiser.models.export.bioimageio_package import write_package
from masked_denoiser.models.export.check import takes_noise_map
from masked_denoiser.models.export.onnx_file import write_onnx
from masked_denoiser.models.export.torchscript import write_torchscript
from masked_denoiser.models.file import Model
from masked_denoiser.models.reference import export_checkpoint, settings_without_tensors
from masked_denoiser.network.config import SwinConfig


def _write_checkpoint(model: Model, path: Path) -> float:
    export_checkpoint(model, path)
    return 0.0  # the weights themselves; there is no other program here that computes with them


#: Suffix and writer of each format. Writers check what they wrote, and return its largest difference from the network.
_FORMATS: dict[str, tuple[str, Callable[[Model, Path], float]]] = {
    "onnx": (".onnx", write_onnx),
    "torchscript": (".pt", write_torchscript),
    "bioimageio": (".bioimageio.zip", write_package),
    "checkpoint": (".pth", _write_checkpoint),
}


_EXISTS = "{} exists; choose another name, or remove it"


@dataclass(frozen=True)
class Export:
    """An exported model.

    Attributes:
        path: file that was written.
        difference: largest difference of its results from those of the network, in units in which white is 1; 0 for a
            checkpoint, which has the weights only.
        notes: what to know about it, in sentences.
    """

    path: Path
    difference: float
    notes: tuple[str, ...] = ()


def export_model(
    model: Model | str | os.PathLike[str], to: str, output: str | os.PathLike[str] | None = None
) -> Export:
    """Write a model for other programs, and check that it computes the same there.

    Args:
        model: a model, its name, or its file.
        to: "onnx"; "torchscript"; "bioimageio" for a package of bioimage.io with both; or "checkpoint" for the weights
            alone, in KAIR's layout.
        output: file to write; by default the name of the model with the suffix of the format, in the current folder.

    Raises:
        ModelError: if the format is unknown, the file exists, its folder is missing, a package is not installed (extra
            `export`), or the results differ from those of this program; then no file is left.
    """
    if to not in _FORMATS:
        raise ModelError(f"there is no format {to!r:.80}; choose one of: {', '.join(_FORMATS)}")
    suffix, write = _FORMATS[to]
    model = model if isinstance(model, Model) else load_model(os.fspath(model))
    path = Path(f"{model.card.name}{suffix}" if output is None else output)
    ending = f".{suffix.rpartition('.')[2]}"
    if path.suffix != ending:
        raise ModelError(f"{path.name} does not end in {ending}; use a file name with that suffix")
    if path.exists():
        raise ModelError(_EXISTS.format(path))
    if not path.parent.is_dir():
        raise ModelError(f"folder {path.parent} does not exist; create it first")
    try:
        with replaced_atomically(path, overwrite=False) as temporary:
            difference = write(model, temporary)
    except FileExistsError as error:  # written by another process meanwhile
        raise ModelError(_EXISTS.format(path)) from error
    return Export(path, difference, tuple(_notes(model, to, difference)))


def _notes(model: Model, to: str, difference: float) -> Iterator[str]:
    """Yield what users of an export should know."""
    config = model.card.architecture
    if isinstance(config, SwinConfig) and to == "checkpoint":
        yield f"set these in the other program, as the weights do not show them: {settings_without_tensors(config)}"
        return
    yield f"checked: its results differ from those of the network by at most {difference:.1g}, where white is 1"
    yield f"any height and width; the model pads to multiples of {config.grid} pixels by itself"
    if takes_noise_map(model):
        how = {
            "onnx": "the optional input noise_std is the standard deviation of the noise",
            "torchscript": "forward(image) judges the noise by itself; with_noise_std(image, noise_std) is given it",
        }
        yield how.get(to, "the package judges the noise by itself")
    if config.attention_mask:
        yield f"{config.attention_mask:.0%} of the tokens are masked, by their position in the given image or tile"
