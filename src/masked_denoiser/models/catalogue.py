"""Catalogue of the available models: bundled ones and those in the user's folder."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from masked_denoiser.models.file import Model

#: Default models for RGB and for gray images.
DEFAULT, DEFAULT_GRAY = "general-rgb", "general-gray"

#: Name that stands for the default model of an image, RGB or gray.
AUTO = "auto"

#: Suffixes that tell the path of a model file from the name of a model.
MODEL_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")

_BUNDLED_FOLDER = Path(__file__).parent / "bundled"


@dataclass(frozen=True)
class Entry:
    """Model file with the name it is loaded by."""

    name: str
    path: Path
    bundled: bool


def user_folder() -> Path:
    """Return the folder of the user's own models, which may not exist."""
    from platformdirs import user_data_path  # imported late: a model given by its path does not need it

    return user_data_path("masked-denoiser", appauthor=False) / "models"


def list_models(folder: Path | None = None) -> list[Entry]:
    """Return bundled and user models by name; a user's model hides a bundled one of the same name.

    Args:
        folder: folder of the user's models; `user_folder()` by default.
    """
    folders = ((_BUNDLED_FOLDER, True), (folder or user_folder(), False))
    entries = {
        path.stem: Entry(path.stem, path, bundled)
        for directory, bundled in folders
        for path in sorted(directory.glob("*.safetensors"))
    }
    return sorted(entries.values(), key=lambda e: (not e.bundled, e.name))


def find_model(name: str | Path, folder: Path | None = None) -> Path:
    """Return the file of a model given by name or by path.

    Raises:
        ModelError: if there is no such model; the message suggests similar names.
    """
    from masked_denoiser.errors import ModelError

    by_name = {entry.name: entry.path for entry in list_models(folder)}
    if str(name) in by_name:
        return by_name[str(name)]
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise ModelError(f"model file {name}: there is no home folder of that user; give the whole path") from error
    if path.suffix.lower() in MODEL_SUFFIXES:
        if path.is_file():
            return path
        raise ModelError(f"model file {path} does not exist; check the path, or use one of: {_known_names(folder)}")
    close_names = get_close_matches(str(name), by_name, n=1)
    hint = f"did you mean {close_names[0]}?" if close_names else f"there are: {_known_names(folder)}"
    raise ModelError(f"no model is called {str(name)!r}; {hint}, or give the path of a .safetensors file")


def check_new_name(name: str) -> None:
    """Check the name under which a model of the user is stored.

    Raises:
        ModelError: if it is that of a bundled model, which it would hide everywhere, or stands for the default models.
    """
    from masked_denoiser.errors import ModelError

    bundled = {path.stem for path in _BUNDLED_FOLDER.glob("*.safetensors")}
    if name == AUTO or name in bundled:
        what = "stands for the default models" if name == AUTO else "is a bundled model, which yours would replace"
        raise ModelError(f"the name {name!r} {what}; choose another name")


def check_new_path(path: Path) -> None:
    """Check the path of a new model file; a file in the user's folder is found by its name.

    Raises:
        ModelError: if the file cannot be a model, or is in the user's folder and has a reserved name.
    """
    from masked_denoiser.models.card import check_name
    from masked_denoiser.models.file import check_model_path

    check_model_path(path)
    check_name(path.stem)
    try:
        folder = user_folder()
    except ImportError:  # of platformdirs, on a machine that only trains and has no folder of a user
        return
    if path.resolve().parent == folder.resolve():
        check_new_name(path.stem)


def resolve_auto(name: str | Path, rgb: bool) -> str | Path:
    """Return the name of a model, replacing "auto" by the default for RGB or for gray images."""
    if name != AUTO:
        return name
    return DEFAULT if rgb else DEFAULT_GRAY


def load_model(name: str | Path = DEFAULT, folder: Path | None = None) -> Model:
    """Load a bundled or user model by name, or a model file (`.safetensors`, or a reference `.pth`).

    Raises:
        ModelError: if there is no such model, or its file cannot be used.
    """
    from masked_denoiser.models.file import read_model
    from masked_denoiser.models.reference import import_checkpoint

    path = find_model(name, folder)
    return read_model(path) if path.suffix.lower() == ".safetensors" else import_checkpoint(path)


def _known_names(folder: Path | None) -> str:
    return ", ".join(entry.name for entry in list_models(folder)) or "no models"
