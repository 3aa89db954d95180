"""The command line of what the dock would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from masked_denoiser.errors import FormError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.selection import open_part
from masked_denoiser.images.source import Source
from masked_denoiser.plugin.denoise.form import Form, default_path, output_path
from masked_denoiser.plugin.layers.source import CHANNEL


def command_text(form: Form, layer: Any, path: Path | None, part: Source) -> str:
    """The line, for a POSIX shell.

    Args:
        form: the fields of the dock; a result for memory goes to an OME-Zarr beside the input.
        layer: the chosen layer.
        path: the file that it came from.
        part: what the job is about, cut out of the layer.

    Raises:
        FormError: if the layer is not what a file holds.
    """
    from masked_denoiser.jobs.shell_command import denoise_command
    from masked_denoiser.jobs.spec.options import Options

    place, axes, select = _in_file(layer, path, part)
    output = output_path(form) or Path(default_path("zarr", layer.name, place, Path.home()))
    return denoise_command(
        place,
        output,
        model=form.model,
        device=form.device,
        options=Options(**form.settings()),
        axes=axes,
        select=select,
        scheduler=form.scheduler,
    )


def file_source(layer: Any, path: Path | None, part: Source) -> Source:
    """The part of the file that a layer, or a part of it, shows: what the workers of a cluster can open.

    Raises:
        FormError: if the layer is not what a file holds.
    """
    place, axes, select = _in_file(layer, path, part)
    source = open_part(place, axes=axes or None, selection=select)
    more = [letter for letter in source.axes if letter not in part.axes]
    if set(part.axes) - set(source.axes) or any(source.sizes[letter] > 1 for letter in more):
        source.close()
        raise FormError(
            f"layer '{layer.name}' has axes {part.axes}, and {place.name} has {source.axes}; use Copy command instead"
        )
    return source


def _in_file(layer: Any, path: Path | None, part: Source) -> tuple[Path, str, str]:
    """File, axes that must be told, and the part of the file."""
    if path is None:
        raise FormError(
            f"layer '{layer.name}' lies in no file; save it first (File > Save Selected Layers), then open it"
        )
    axes, channel = _as_in_file(layer, path, part)
    return path, axes, ",".join(filter(None, (channel, part.selection)))


def _as_in_file(layer: Any, path: Path, part: Source) -> tuple[str, str]:
    """The axes that must be told, if they must, and the channel of the file that the layer is, if it is one.

    Raises:
        FormError: if the layer is neither the image of the file nor one of its channels.
    """
    shape = _shape(layer)
    sizes = dict(zip(part.axes, shape, strict=True))
    with open_image(path) as file:
        if _long(sizes, part.rgb) == _long(file.sizes, file.rgb):
            return "", ""
        if shape == file.shape:
            return part.axes, ""
        channel = str(layer.metadata.get(CHANNEL, ""))
        rest = {letter: side for letter, side in file.sizes.items() if letter != channel[:1]}
        if channel and _long(sizes, part.rgb) == _long(rest, rgb=False):
            return "", channel
        raise FormError(
            f"layer '{layer.name}' has shape {shape}, and {path.name} holds {file.shape} with axes {file.axes}: it is "
            "only a part of it, or was changed; save the layer first, then open it"
        )


def _shape(layer: Any) -> tuple[int, ...]:
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(side) for side in data.shape)


def _long(sizes: dict[str, int], rgb: bool) -> dict[str, int]:
    """Axes that are longer than 1; colour is one axis, whatever a format calls it."""
    colour = next((letter for letter in "SC" if letter in sizes), "") if rgb else ""
    return {"colour" if letter == colour else letter: side for letter, side in sizes.items() if side > 1}
