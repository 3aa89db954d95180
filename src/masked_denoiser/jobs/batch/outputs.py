"""Which output each image of a list gets: all that can be refused is refused here, before any work."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from masked_denoiser.errors import ListError
from masked_denoiser.images.discovery import find_images, is_address, is_pattern, is_zarr, stem_of
from masked_denoiser.images.writers.output_path import TIFF_SUFFIXES, ZARR_SUFFIXES

#: The ending of outputs where none is asked for.
DEFAULT_ENDING = ".ome.zarr"

_ENDINGS = (*ZARR_SUFFIXES, *TIFF_SUFFIXES)


@dataclass(frozen=True)
class Pair:
    """An image, as a path or an address, and where its result goes."""

    input: str
    output: Path


def is_list(inputs: Sequence[str], output: str) -> bool:
    """Whether several images are meant, or one that goes into a folder under its own name."""
    if len(inputs) > 1 or is_pattern(inputs[0]) or _is_plain_folder(Path(inputs[0]).expanduser()):
        return True
    return output.endswith(("/", os.sep)) or _is_plain_folder(Path(output))


def plan_outputs(inputs: Sequence[str], folder: Path, ending: str = DEFAULT_ENDING, *, std: bool = False) -> list[Pair]:
    """The images that are meant, in order, and an output in `folder` for each: its name, with another ending.

    Args:
        inputs: files, folders, patterns and addresses, as for `find_images`.
        folder: where results go; it need not exist, but the folder that it is in must.
        ending: of the outputs, such as ".ome.zarr" or ".ome.tif".
        std: whether each also gets an output for its standard deviation.

    Raises:
        ImageError: if an input is not there, or a folder or a pattern gives no image.
        ListError: if the folder or the ending will not do, two images would get one output, or an output would be, hold
            or lie in an image of the list.
    """
    if ending not in _ENDINGS:
        raise ListError(f"outputs cannot end in {ending!r}; choose one of {', '.join(_ENDINGS)}")
    images = find_images(inputs)
    _check_folder(folder, inputs)
    pairs = [Pair(image, folder / f"{stem_of(image)}{ending}") for image in images]
    _check_distinct(pairs, std)
    _check_apart(pairs, std)
    return pairs


def make_folder(folder: Path) -> None:
    """Makes the folder of the outputs.

    Raises:
        ListError: if that is not allowed.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ListError(f"folder {folder} cannot be made ({error.strerror}); choose another one") from error


def _check_folder(folder: Path, inputs: Sequence[str]) -> None:
    if is_zarr(folder) or (folder.name.lower().endswith(_ENDINGS) and not folder.is_dir()):
        raise ListError(f"{folder} names one image, and several go into a folder: give one, such as {folder.stem}/")
    if folder.exists() and not folder.is_dir():
        raise ListError(f"{folder} is a file, and several images go into a folder: give another name")
    if not folder.resolve().parent.is_dir():
        raise ListError(f"{folder.resolve().parent} is not an existing folder: make it, or write elsewhere")
    if folder.exists() and not os.access(folder, os.W_OK):
        raise ListError(f"{folder} may not be written to: change its permissions, or write elsewhere")
    if any(_is_plain_folder(Path(text).expanduser()) and _key(Path(text)) == _key(folder) for text in inputs):
        raise ListError(f"{folder} is read and written: the next time, results would be denoised; write elsewhere")


def _check_distinct(pairs: Sequence[Pair], std: bool) -> None:
    first: dict[str, str] = {}
    for pair in pairs:
        for output in _outputs(pair, std):
            other = first.setdefault(_key(output), pair.input)
            if other != pair.input:
                raise ListError(
                    f"{other} and {pair.input} would both be written to {output}: rename one of them, or denoise them "
                    "into two folders"
                )


def _check_apart(pairs: Sequence[Pair], std: bool) -> None:
    inputs = {_key(Path(pair.input)): pair.input for pair in pairs if not is_address(pair.input)}
    around = {str(parent): text for key, text in inputs.items() for parent in PurePath(key).parents}
    for pair in pairs:
        for output in _outputs(pair, std):
            key = PurePath(_key(output))
            touched = around.get(str(key)) or next(
                (inputs[p] for p in map(str, (key, *key.parents)) if p in inputs), ""
            )
            if touched:
                raise ListError(f"output {output} is, holds or lies in the input {touched}: write to another folder")


def _outputs(pair: Pair, std: bool) -> Iterator[Path]:
    yield pair.output
    if std:
        from masked_denoiser.jobs.storage.output import std_path

        yield std_path(pair.output)


def _key(path: Path) -> str:
    """What two paths have in common that name one file on some system: many know no capitals."""
    return unicodedata.normalize("NFC", str(path.expanduser().resolve())).casefold()


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not is_zarr(path)
