"""The models at hand: those bundled with the program and those in the user's folder."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from masked_denoiser.models.file import Model

#: The models for RGB and for gray images that are used when none is named.
DEFAULT, DEFAULT_GRAY = "general-rgb", "general-gray"

#: Whichever of the two suits an image.
AUTO = "auto"

_BUNDLED = Path(__file__).parent / "bundled"


@dataclass(frozen=True)
class Entry:
    """A model file and the name it answers to."""

    name: str
    path: Path
    bundled: bool


def user_folder() -> Path:
    """Where the user's own models live; it need not exist."""
    from platformdirs import user_data_path  # not needed for a model that is given by its path

    return user_data_path("masked-denoiser", appauthor=False) / "models"


def list_models(folder: Path | None = None) -> list[Entry]:
    """Bundled and user models by name; a user's model hides a bundled one of the same name.

    Args:
        folder: the user's folder; `user_folder()` by default.
    """
    places = ((_BUNDLED, True), (folder or user_folder(), False))
    found = {
        path.stem: Entry(path.stem, path, bundled)
        for place, bundled in places
        for path in sorted(place.glob("*.safetensors"))
    }
    return sorted(found.values(), key=lambda e: (not e.bundled, e.name))


def find_model(name: str | Path, folder: Path | None = None) -> Path:
    """The file of a model given by name or by path.

    Raises:
        ModelError: if there is none, with the names that come close.
    """
    from masked_denoiser.errors import ModelError

    path = Path(name).expanduser()
    if path.suffix in (".safetensors", ".pth", ".pt"):
        if path.is_file():
            return path
        raise ModelError(f"model file {path} does not exist; check the path, or name one of: {_names(folder)}")
    by_name = {entry.name: entry.path for entry in list_models(folder)}
    if str(name) in by_name:
        return by_name[str(name)]
    near = get_close_matches(str(name), by_name, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {_names(folder)}"
    raise ModelError(f"no model is called {str(name)!r}; {hint}, or give the path of a .safetensors file")


def suited(name: str | Path, rgb: bool) -> str | Path:
    """The name of a model: for "auto" that of the default for RGB or for gray images."""
    if name != AUTO:
        return name
    return DEFAULT if rgb else DEFAULT_GRAY


def load_model(name: str | Path = DEFAULT, folder: Path | None = None) -> Model:
    """A bundled or user model by name, or a file (`.safetensors`, or a reference `.pth`).

    Raises:
        ModelError: if there is none, or the file cannot be used.
    """
    from masked_denoiser.models.file import read_model
    from masked_denoiser.models.reference import import_checkpoint

    path = find_model(name, folder)
    return read_model(path) if path.suffix == ".safetensors" else import_checkpoint(path)


def _names(folder: Path | None) -> str:
    return ", ".join(entry.name for entry in list_models(folder)) or "none"
