"""Readers of napari plugins by npe2, without napari and Qt.

Plugins are arbitrary code. They run only when a file is opened with a reader that the user installed; the file never
names code to run. Manifests are read at the first use, and a plugin is imported only when it opens a file. A plugin may
itself import napari or Qt. Plugins of napari's first plugin engine (`napari_get_reader` hooks) are not found.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.base import ReaderResult
from masked_denoiser.images.readers.plugins.calls import PluginCall
from masked_denoiser.images.readers.plugins.images import PluginImage, as_channels
from masked_denoiser.images.readers.plugins.layer_data import read_layers
from masked_denoiser.images.readers.registry import one_part

if TYPE_CHECKING:
    from npe2 import PluginManager
    from npe2.manifest.contributions import ReaderContribution

#: Name of this package among the plugins of napari.
OWN_PLUGIN = "napari-masked-denoiser"

#: Name of napari's own readers of common formats, which are never chosen automatically.
BUILTIN_PLUGIN = "napari"

#: Reader of napari that runs Python scripts.
_RUNS_SCRIPTS = "napari.get_py_reader"


@dataclass(frozen=True)
class Npe2Reader:
    """Reader, or all readers, of a napari plugin.

    Attributes:
        name: of the plugin or, for one of its readers, of the command, "plugin.command".
    """

    name: str

    @property
    def description(self) -> str:
        """What opens the file, for messages."""
        return f"the napari plugin {self.name}"

    @property
    def plugin(self) -> str:
        """Name of the plugin."""
        return self.name.partition(".")[0]

    @property
    def patterns(self) -> tuple[str, ...]:
        """Patterns of the names of files that it declares to read."""
        return tuple(pattern for each in _contributions(self.name) for pattern in each.filename_patterns)

    def accepts(self, where: str) -> bool:
        """Return whether the plugin declares to read a file, folder or address; none of its code runs."""
        return bool(self._matching(where))

    def recognizes(self, where: str) -> bool:
        """Return whether one of its readers, which look at the file, does not refuse it."""
        try:
            with PluginCall(self.description, where):
                return any(_get_reader(each, where) is not None for each in self._matching(where))
        except ImageError:  # `read` raises it again, unless another reader is chosen
            return True

    def list_parts(self, where: str) -> list[str]:
        """Return the names of the images in a file; one, or none, if they are taken as one image."""
        images, _ = self._read(where)
        return [image.name for image in images] if len(images) > 1 and as_channels(images) is None else []

    def read(self, where: str, part: str, requested_axes: str | None) -> ReaderResult:
        """Open an image: one layer, or all layers as its channels if they only differ in their pixels.

        Raises:
            ImageError: if the plugin fails or gives no image, the file does not hold this image, or the axes do not
                fit.
        """
        images, notes = self._read(where)
        together = as_channels(images) if len(images) > 1 and not part else None
        if together is not None:
            names = ", ".join(together.channel_names)
            notes += (f"its layers are read as channels ({names}); for one of them, append its name, '::NAME'",)
        image = together or images[one_part(Path(where), part, [image.name for image in images])]
        return image.result(requested_axes, where, (f"opened by {self.description}", *notes))

    def _read(self, where: str) -> tuple[list[PluginImage], tuple[str, ...]]:
        """Return the images of a file, from the first reader of the plugin that does not refuse it."""
        with PluginCall(self.description, where):
            for each in self._matching(where):
                function = _get_reader(each, where)
                layers = function([where], stack=False) if function is not None else None
                if layers:
                    return read_layers(layers, self.description, where)
        declared = ", ".join(self.patterns[:8])
        reason = f"the file; it declares to read {declared}" if not self.accepts(where) else "it"
        raise ImageError(f"{where}: {self.description} refuses {reason}; choose another --reader")

    def _matching(self, where: str) -> list[ReaderContribution]:
        """Return its readers for a path, in the order of the manifest, as that of npe2 varies between processes."""
        matching = {each.command for each in plugin_manager().iter_compatible_readers([where])}
        return [each for each in _contributions(self.name) if each.command in matching]


def is_installed() -> bool:
    """Return whether npe2 is installed."""
    return find_spec("npe2") is not None


def reader_plugins() -> list[str]:
    """Return the names of the plugins that read files, except this package, sorted."""
    names = [manifest.name for manifest in plugin_manager().iter_manifests(disabled=False)]
    return sorted(name for name in names if name != OWN_PLUGIN and _contributions(name))


def has_reader(name: str) -> bool:
    """Return whether a plugin, or a command of one, is an installed reader."""
    return bool(_contributions(name))


def is_disabled(name: str) -> bool:
    """Return whether a plugin is disabled in this process."""
    return plugin_manager().is_disabled(name)


@cache
def plugin_manager() -> PluginManager:
    """Return the manager of all plugins, which is that of napari where this process runs napari."""
    from npe2 import PluginManager

    manager = PluginManager.instance()
    manager.discover()
    return manager


def _contributions(name: str) -> list[ReaderContribution]:
    """Return the readers of a plugin, or the one of a command, in the order of the manifest."""
    plugin, _, command = name.partition(".")
    manifests = [each for each in plugin_manager().iter_manifests() if each.name == plugin]
    readers = [each for manifest in manifests for each in manifest.contributions.readers or ()]
    return [each for each in readers if each.command != _RUNS_SCRIPTS and (not command or each.command == name)]


def _get_reader(contribution: ReaderContribution, where: str) -> Any:
    """Return the function that reads a file, or None if the reader refuses it."""
    registry = plugin_manager().commands
    return contribution.exec(kwargs={"path": [where], "stack": False, "_registry": registry})
