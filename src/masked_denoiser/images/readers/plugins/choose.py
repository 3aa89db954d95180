"""Choice among the readers of other packages: by the name that the user gives, or automatically.

Automatically, a file that the readers of this package do not know is opened by the napari plugin that napari remembers
for it, else by the only plugin that recognizes it, else by the reader of bioio that does. Napari's own readers are used
only where they are named or remembered. Nothing is chosen among several plugins, nor for a file with a suffix of this
package, which is more likely broken: the error lists the plugins.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.base import ReaderResult
from masked_denoiser.images.readers.plugins import bioio_reader, npe2_reader
from masked_denoiser.images.readers.plugins.bioio_reader import AnyBioio, BioioReader
from masked_denoiser.images.readers.plugins.napari_settings import ReaderChoices, read_choices
from masked_denoiser.images.readers.plugins.npe2_reader import BUILTIN_PLUGIN, Npe2Reader
from masked_denoiser.images.suffixes import suffix_of

_INSTALL = "pip install 'napari-masked-denoiser[readers]'"

#: Readers of formats that no reader of this package knows, by the suffix of the file.
_KNOWN_READERS = {
    "bioio-bioformats": (".dm3", ".dm4", ".flex", ".ics", ".ids", ".lei", ".mvd2", ".oir", ".sld", ".zvi"),
    "bioio-dv": (".dv", ".r3d"),
    "bioio-imageio": (".avi", ".exr", ".jp2", ".mov", ".mp4", ".pgm", ".ppm"),
    "bioio-imzml": (".imzml",),
    "bioio-sldy": (".sldy",),
    "bioio-vsi": (".vsi",),
}  # fmt: skip


class PluginReader(Protocol):
    """Reader of another package."""

    @property
    def name(self) -> str:
        """Name by which it is chosen."""

    @property
    def description(self) -> str:
        """What opens the file, for messages."""

    def accepts(self, where: str) -> bool:
        """Return whether it declares to read a file, folder or address, by its name."""

    def recognizes(self, where: str) -> bool:
        """Return whether it recognizes a file, folder or address by its content."""

    def list_parts(self, where: str) -> list[str]:
        """Return the names of the images in a file that holds several, otherwise []."""

    def read(self, where: str, part: str, requested_axes: str | None) -> ReaderResult:
        """Open an image."""


def find_plugin(name: str) -> PluginReader:
    """Return an installed reader.

    Args:
        name: a napari plugin, a command of one, a reader of bioio, or "bioio" for the one that recognizes the file.

    Raises:
        ImageError: that lists the installed readers, or names what is missing.
    """
    if npe2_reader.is_installed() and npe2_reader.has_reader(name):
        reader = Npe2Reader(name)
        if npe2_reader.is_disabled(reader.plugin) or reader.plugin in _choices().disabled:
            raise ImageError(f"reader {name} is disabled in napari's settings; enable it there, or choose another one")
        return reader
    if bioio_reader.is_installed() and name in bioio_reader.bioio_readers():
        return BioioReader(name)
    if bioio_reader.is_installed() and name == bioio_reader.ANY:
        return AnyBioio()
    raise ImageError(f"reader {name!r} is not installed; {_installed_readers()}")


def choose_plugin(path: Path) -> PluginReader | None:
    """Return the reader of a file or folder that this package does not know; None if there is none.

    Raises:
        ImageError: that lists several candidates, or if the only one fails.
    """
    where = str(path)
    plugins = [plugin for plugin in _plugins_for(path) if plugin.recognizes(where)]
    if len(plugins) > 1:
        names = ", ".join(plugin.name for plugin in plugins)
        raise ImageError(
            f"{path}: can be read by several plugins ({names}); choose one with --reader {plugins[0].name}"
        )
    if plugins:
        return plugins[0]
    return bioio_reader.find_reader(where) if bioio_reader.is_installed() and path.is_file() else None


def read_with(reader: PluginReader, where: str, part: str = "", requested_axes: str | None = None) -> ReaderResult:
    """Open an image with a reader of another package.

    Args:
        reader: the reader.
        where: path or address.
        part: name of the image in the file; "" for its only one.
        requested_axes: axes that the user gave; None for those of the file.

    Raises:
        ImageError: if the reader fails or gives no image, or the image or the axes do not fit.
    """
    found = reader.read(where, part, requested_axes)
    result = replace(found, part=part, reader=found.reader or reader.name)
    if "://" in where:
        return replace(result, name=where, url=where)
    path = Path(where)
    return replace(result, name=path.name, path=path)


def reader_hint(path: Path) -> str:
    """Return which reader may open a file that was not recognized, as part of a sentence; "" if unknown.

    Readers of bioio, which must be imported to ask them, are not asked about a damaged file of a format of ours.
    """
    installed = [plugin.name for plugin in _plugins_for(path)]
    if bioio_reader.is_installed() and not suffix_of(path.name):
        installed += [reader.name for reader in bioio_reader.readers_for(str(path))]
    if installed:
        return f", or name a reader: --reader {' or '.join(installed)}"
    name = next((name for name, suffixes in _KNOWN_READERS.items() if path.name.lower().endswith(suffixes)), "")
    return f", or install a reader of such files: pip install bioio {name}" if name else ""


def read_automatically(path: Path, part: str, requested_axes: str | None) -> ReaderResult | None:
    """Open an image that the readers of this package do not know; None if no other reader recognizes it.

    Raises:
        ImageError: see `choose_plugin` and `read_with`.
    """
    reader = choose_plugin(path)
    if reader is None:
        return None
    result = read_with(reader, str(path), part, requested_axes)
    return replace(result, notes=(*result.notes, *_choices().notes))


def _plugins_for(path: Path) -> list[PluginReader]:
    """Return the napari plugins that declare to read a file, or the one that is remembered for it."""
    if not npe2_reader.is_installed():
        return []
    choices, where = _choices(), str(path)
    accepting = [name for name in npe2_reader.reader_plugins() if Npe2Reader(name).accepts(where)]
    allowed = [name for name in accepting if name not in choices.disabled]
    remembered = choices.plugin_for(path)
    if remembered in allowed:
        return [Npe2Reader(remembered)]
    return [Npe2Reader(name) for name in allowed if name != BUILTIN_PLUGIN]


def _choices() -> ReaderChoices:
    return read_choices() if npe2_reader.is_installed() else ReaderChoices()


def _installed_readers() -> str:
    names = npe2_reader.reader_plugins() if npe2_reader.is_installed() else []
    if bioio_reader.is_installed():
        names += bioio_reader.bioio_readers()
    missing = [module for module, here in (("npe2", npe2_reader), ("bioio", bioio_reader)) if not here.is_installed()]
    needed = f"; {' and '.join(missing)} are not installed: {_INSTALL}" if missing else ""
    return f"installed are {', '.join(names) or 'none'}{needed}"
