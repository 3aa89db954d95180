"""Readers of bioio (https://github.com/bioio-devs/bioio): packages such as bioio-czi, each a reader of some formats.

They are code that the user installed, and run only when a file is opened with one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from masked_denoiser.errors import ImageError
from masked_denoiser.images.axes import UNKNOWN
from masked_denoiser.images.metadata.units import unit_name
from masked_denoiser.images.readers.base import ReaderResult
from masked_denoiser.images.readers.plugins.calls import PluginCall
from masked_denoiser.images.readers.plugins.images import PluginImage, unique_names
from masked_denoiser.images.readers.plugins.pixels import read_level
from masked_denoiser.images.readers.registry import one_part
from masked_denoiser.images.source import AXES

#: Name that stands for the reader of bioio that recognizes a file.
ANY = "bioio"

_GROUP = "bioio.readers"

#: Names that bioio makes for channels without one, such as "Channel:0:1".
_NUMBERED = re.compile(r"(Channel:)?[\d:]+")


@dataclass(frozen=True)
class BioioReader:
    """Reader of bioio.

    Attributes:
        name: of the package, such as "bioio-czi".
    """

    name: str

    @property
    def description(self) -> str:
        """What opens the file, for messages."""
        return f"the bioio reader {self.name}"

    def accepts(self, where: str) -> bool:
        """Return whether the reader declares to read a file; the file is not opened."""
        with PluginCall(self.description, where):
            return where.lower().endswith(_suffixes(self.name))

    def recognizes(self, where: str) -> bool:
        """Return whether the reader, which looks at the file, recognizes it."""
        try:
            with PluginCall(self.description, where):
                return bool(_reader_class(self.name).is_supported_image(where))
        except ImageError:  # readers of bioio raise an error instead of returning False
            return False

    def list_parts(self, where: str) -> list[str]:
        """Return the names of the scenes of a file that has several, otherwise []."""
        with PluginCall(self.description, where):
            scenes = list(self._open(where).scenes)
        return unique_names(scenes) if len(scenes) > 1 else []

    def read(self, where: str, part: str, requested_axes: str | None) -> ReaderResult:
        """Open a scene.

        Raises:
            ImageError: if the reader fails, the file does not hold this scene, or the axes do not fit.
        """
        with PluginCall(self.description, where):
            opened = self._open(where)
            scene = one_part(Path(where), part, unique_names(list(opened.scenes)))
            opened.set_scene(scene)
            image = _image(opened, self.description, where)
        return image.result(requested_axes, where, (f"opened by {self.description}",))

    def _open(self, where: str) -> Any:
        from bioio import BioImage

        return BioImage(where, reader=_reader_class(self.name))


@dataclass(frozen=True)
class AnyBioio:
    """The reader of bioio that recognizes a file, whichever it is."""

    name: str = ANY
    description: str = "bioio"

    def accepts(self, where: str) -> bool:
        """Return whether a reader declares to read a file."""
        return any(True for _ in readers_for(where))

    def recognizes(self, where: str) -> bool:
        """Return whether a reader, which looks at the file, recognizes it."""
        return find_reader(where) is not None

    def list_parts(self, where: str) -> list[str]:
        """Return the names of the scenes of a file that has several, otherwise []."""
        return self._reader(where).list_parts(where)

    def read(self, where: str, part: str, requested_axes: str | None) -> ReaderResult:
        """Open a scene; `reader` of the result is the reader that was found.

        Raises:
            ImageError: if no reader recognizes the file; see `BioioReader.read`.
        """
        reader = self._reader(where)
        return replace(reader.read(where, part, requested_axes), reader=reader.name)

    def _reader(self, where: str) -> BioioReader:
        found = find_reader(where)
        if found is None:
            installed = ", ".join(bioio_readers()) or "none"
            raise ImageError(f"{where}: no reader of bioio recognizes it; installed are {installed}")
        return found


def is_installed() -> bool:
    """Return whether bioio is installed."""
    return find_spec("bioio") is not None


def bioio_readers() -> list[str]:
    """Return the names of the installed readers, sorted."""
    return sorted({entry.name for entry in entry_points(group=_GROUP)})


def readers_for(where: str) -> Iterator[BioioReader]:
    """Yield the readers that declare to read a file, those of its longest suffix and fewest other formats first."""
    accepting = [reader for reader in map(BioioReader, bioio_readers()) if _accepts(reader, where)]
    longest = {reader: max(len(s) for s in _suffixes(reader.name) if where.lower().endswith(s)) for reader in accepting}
    yield from sorted(accepting, key=lambda reader: (-longest[reader], len(_suffixes(reader.name)), reader.name))


def _accepts(reader: BioioReader, where: str) -> bool:
    """Return whether a reader declares to read a file; False for one that cannot be imported, unless it is named."""
    try:
        return reader.accepts(where)
    except ImageError:
        return False


def find_reader(where: str) -> BioioReader | None:
    """Return the first reader that recognizes a file; None if there is none."""
    return next((reader for reader in readers_for(where) if reader.recognizes(where)), None)


def _image(opened: Any, reader: str, where: str) -> PluginImage:
    """Return the image of the current scene, with its dimensions as the file has them."""
    native = str(opened.reader.dims.order)
    levels, dimensions = [], ""
    for level in opened.resolution_levels:
        opened.set_resolution_level(level)
        array, dimensions = _native_array(opened.xarray_dask_data, native)
        levels.append(read_level(array, reader, where).levels[0])
    opened.set_resolution_level(opened.resolution_levels[0])
    steps, units = _calibration(opened, dimensions)
    return PluginImage(
        opened.current_scene,
        tuple(levels),
        "".join(letter if letter in AXES else UNKNOWN for letter in dimensions),
        steps,
        (None,) * len(dimensions),
        units,
        channel_names=_channel_names(opened) if "C" in dimensions else (),
        notes=_notes(steps, units),
    )


def _channel_names(opened: Any) -> tuple[str, ...]:
    """Return the names of the channels; () if bioio only numbers them."""
    names = tuple(map(str, opened.channel_names or ()))
    return () if all(map(_NUMBERED.fullmatch, names)) else names


def _native_array(standard: Any, native: str) -> tuple[Any, str]:
    """Return an array without the dimensions of length 1 that bioio adds, and the names of its dimensions."""
    added = [name for name in standard.dims if name not in native and standard.sizes[name] == 1]
    array = standard.isel(dict.fromkeys(added, 0), drop=True)
    return array.data, "".join(map(str, array.dims))


def _calibration(opened: Any, dimensions: str) -> tuple[tuple[float | None, ...], tuple[str, ...]]:
    """Return pixel size and unit of each dimension; bioio gives times in seconds, and lengths often without a unit."""
    scale, properties = opened.scale, getattr(opened, "dimension_properties", None)
    steps = {letter: getattr(scale, letter, None) for letter in "TZYX"}
    units = {letter: unit_name(getattr(getattr(properties, letter, None), "unit", None)) for letter in "TZYX"}
    units["T"] = units["T"] or ("second" if steps["T"] else "")
    return (
        tuple(None if (step := steps.get(letter)) is None else float(step) for letter in dimensions),
        tuple(units.get(letter, "") for letter in dimensions),
    )


def _notes(steps: Sequence[float | None], units: Sequence[str]) -> tuple[str, ...]:
    without = any(step is not None and not unit for step, unit in zip(steps, units, strict=True))
    return ("the reader gives its pixel size without a unit",) if without else ()


@cache
def _suffixes(name: str) -> tuple[str, ...]:
    """Return the suffixes that a reader declares, in lower case with a dot."""
    declared = _metadata(name).get_supported_extensions()
    return tuple(dict.fromkeys(f".{suffix.lower().lstrip('.')}" for suffix in declared))


def _reader_class(name: str) -> Any:
    return _metadata(name).get_reader()


def _metadata(name: str) -> Any:
    return _entry(name).load().ReaderMetadata


def _entry(name: str) -> EntryPoint:
    return next(entry for entry in entry_points(group=_GROUP) if entry.name == name)
