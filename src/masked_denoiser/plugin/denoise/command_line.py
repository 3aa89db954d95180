"""Command line equivalent to the dock's form, and the part of a file that a layer shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from masked_denoiser.errors import FormError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.selection import open_part
from masked_denoiser.images.source import Source
from masked_denoiser.plugin.denoise.form import Form, default_path, output_path
from masked_denoiser.plugin.layers.source import CHANNEL_KEY


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

    file_path, axes, select = _locate_in_file(layer, path, part)
    output = output_path(form) or Path(default_path("zarr", layer.name, None, file_path, Path.home()))
    return denoise_command(
        file_path,
        output,
        model=form.model,
        device=form.device,
        options=form.options,
        axes=axes,
        select=select,
        scheduler=form.scheduler,
        quoting=system_quoting(),
    )


def file_source(layer: Any, path: Path | None, part: Source) -> Source:
    """Return the part of a file that a part of its layer shows, which the workers of a cluster can open.

    Raises:
        FormError: if the layer is neither the image in the file nor one of its channels.
    """
    file_path, axes, select = _locate_in_file(layer, path, part)
    source = open_part(file_path, axes=axes or None, selection=select)
    extra = [letter for letter in source.axes if letter not in part.axes]
    if set(part.axes) - set(source.axes) or any(source.sizes[letter] > 1 for letter in extra):
        source.close()
        raise FormError(
            f"layer '{layer.name}' has axes {part.axes}, {file_path.name} has {source.axes}; use Copy command instead"
        )
    return source


def _locate_in_file(layer: Any, path: Path | None, part: Source) -> tuple[Path, str, str]:
    """Return the file, its axes if they must be given, otherwise "", and the selection of the part."""
    if path is None:
        raise FormError(
            f"layer '{layer.name}' was not opened from a file; save it first (File > Save Selected Layers) and open it"
        )
    axes, channel = _axes_and_channel(layer, path, part)
    return path, axes, ",".join(filter(None, (channel, part.selection)))


def _axes_and_channel(layer: Any, path: Path, part: Source) -> tuple[str, str]:
    """Return the axes if they must be given, and the channel of the file if the layer is one, as a selection.

    Raises:
        FormError: if the layer is neither the image in the file nor one of its channels.
    """
    shape = _full_shape(layer)
    sizes = dict(zip(part.axes, shape, strict=True))
    with open_image(path) as file:
        if _sizes_above_one(sizes, part.rgb) == _sizes_above_one(file.sizes, file.rgb):
            return "", ""
        if shape == file.shape:
            return part.axes, ""
        channel = str(layer.metadata.get(CHANNEL_KEY, ""))
        channel_sizes = {letter: size for letter, size in file.sizes.items() if letter != channel[:1]}
        if channel and _sizes_above_one(sizes, part.rgb) == _sizes_above_one(channel_sizes, rgb=False):
            return "", channel
        raise FormError(
            f"layer '{layer.name}' has shape {shape}, but {path.name} has shape {file.shape} and axes {file.axes}: the "
            "layer is a part of the file, or was changed; save the layer first, then open that file"
        )


def _full_shape(layer: Any) -> tuple[int, ...]:
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(size) for size in data.shape)


def _sizes_above_one(sizes: dict[str, int], rgb: bool) -> dict[str, int]:
    """Return the sizes above 1 by axis; RGB samples are under "colour", since formats store them as S or C."""
    colour = next((letter for letter in "SC" if letter in sizes), "") if rgb else ""
    return {"colour" if letter == colour else letter: size for letter, size in sizes.items() if size > 1}
