"""Command line equivalent to the dock's form, and the part of a file that a layer shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from masked_denoiser.errors import FormError, ImageError
from masked_denoiser.images.locator import join_locator
from masked_denoiser.images.open import open_image
from masked_denoiser.images.readers.plugins.npe2_reader import BUILTIN_PLUGIN
from masked_denoiser.images.selection import open_part
from masked_denoiser.images.source import Source
from masked_denoiser.plugin.denoise.form import Form, default_path, output_path
from masked_denoiser.plugin.layers.source import CHANNEL_KEY, other_plugin


def command_text(form: Form, layer: Any, path: Path | None, part: Source) -> str:
    """Return the command line, for the shell of this system.

    Args:
        form: fields of the dock; instead of a result in memory the command writes an OME-Zarr next to the input.
        layer: the chosen layer.
        path: file that the layer was opened from.
        part: image to denoise, cropped from the layer.

    Raises:
        FormError: if the layer is neither the image in the file nor one of its channels.
    """
    from masked_denoiser.jobs.shell_command import denoise_command, system_quoting

    found = _locate_in_file(layer, path, part)
    output = output_path(form) or Path(default_path("zarr", layer.name, None, found.path, Path.home()))
    return denoise_command(
        Path(found.locator),
        output,
        model=form.model,
        device=form.device,
        options=form.options,
        axes=found.axes,
        reader=found.reader,
        select=found.select,
        scheduler=form.scheduler,
        quoting=system_quoting(),
    )


def file_source(layer: Any, path: Path | None, part: Source) -> Source:
    """Return the part of a file that a part of its layer shows, which the workers of a cluster can open.

    Raises:
        FormError: if the layer is neither the image in the file nor one of its channels.
    """
    found = _locate_in_file(layer, path, part)
    source = open_part(found.locator, axes=found.axes or None, selection=found.select, reader=found.reader)
    extra = [letter for letter in source.axes if letter not in part.axes]
    if set(part.axes) - set(source.axes) or any(source.sizes[letter] > 1 for letter in extra):
        source.close()
        raise FormError(
            f"layer '{layer.name}' has axes {part.axes}, {found.path.name} has {source.axes}; use Copy command instead"
        )
    return source


@dataclass(frozen=True)
class _Place:
    """Where the image of a layer is in its file.

    Attributes:
        path: of the file.
        locator: the path, with the name of the image in a file that holds several.
        reader: plugin that opens it; "" for the readers of this package.
        axes: its axes if they must be given, otherwise "".
        select: the part to denoise, as a selection.
    """

    path: Path
    locator: str
    reader: str = ""
    axes: str = ""
    select: str = ""


def _locate_in_file(layer: Any, path: Path | None, part: Source) -> _Place:
    """Return the file of a layer, and the selection of a part of the layer."""
    if path is None:
        raise FormError(
            f"layer '{layer.name}' was not opened from a file; save it first (File > Save Selected Layers) and open it"
        )
    place, file = _open(layer, path)
    with file:
        axes, channel = _axes_and_channel(layer, file, part)
    return replace(place, axes=axes, select=",".join(filter(None, (channel, part.selection))))


def _open(layer: Any, path: Path) -> tuple[_Place, Source]:
    """Return where the image of a layer is, and open it, by the plugin that opened the layer.

    The readers of this package come before those of napari itself, and after a plugin that needs napari. In a file of
    several images, which is an error without the name of one, the image has the name of the layer.

    Raises:
        ImageError: if no reader opens it.
    """
    plugin = other_plugin(layer)
    readers = dict.fromkeys(("", plugin) if plugin == BUILTIN_PLUGIN else (plugin, ""))
    names = (str(path), join_locator(path, layer.name))
    errors = []
    for locator, reader in ((name, reader) for reader in readers for name in names):
        try:
            source = open_image(locator, reader=reader)
        except ImageError as error:
            errors.append(error)
        else:
            return _Place(path, locator, source.reader), source
    raise errors[0]


def _axes_and_channel(layer: Any, file: Source, part: Source) -> tuple[str, str]:
    """Return the axes if they must be given, and the channel of the file if the layer is one, as a selection.

    Raises:
        FormError: if the layer is neither the image in the file nor one of its channels.
    """
    shape = _full_shape(layer)
    sizes = dict(zip(part.axes, shape, strict=True))
    if _sizes_above_one(sizes, part.rgb) == _sizes_above_one(file.sizes, file.rgb):
        return "", ""
    if shape == file.shape:
        return part.axes, ""
    channel = _channel(layer, file)
    channel_sizes = {letter: size for letter, size in file.sizes.items() if letter != channel[:1]}
    if channel and _sizes_above_one(sizes, part.rgb) == _sizes_above_one(channel_sizes, rgb=False):
        return "", channel
    raise FormError(
        f"layer '{layer.name}' has shape {shape}, but {file.name} has shape {file.shape} and axes {file.axes}: the "
        "layer is a part of the file, or was changed; save the layer first, then open that file"
    )


def _channel(layer: Any, file: Source) -> str:
    """Return the channel of a file that a layer is, by its metadata or its name; "" if neither says."""
    if not other_plugin(layer):
        return str(layer.metadata.get(CHANNEL_KEY, ""))
    return f"C={file.channel_names.index(layer.name)}" if layer.name in file.channel_names else ""


def _full_shape(layer: Any) -> tuple[int, ...]:
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(size) for size in data.shape)


def _sizes_above_one(sizes: dict[str, int], rgb: bool) -> dict[str, int]:
    """Return the sizes above 1 by axis; RGB samples are under "colour", since formats store them as S or C."""
    colour = next((letter for letter in "SC" if letter in sizes), "") if rgb else ""
    return {"colour" if letter == colour else letter: size for letter, size in sizes.items() if size > 1}
