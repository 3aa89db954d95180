"""Outputs for a list of images, with all checks that are possible before any work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from masked_denoiser.errors import ListError
from masked_denoiser.images.discovery import find_images, is_address, is_dicom, is_image_folder, is_pattern, stem_of
from masked_denoiser.images.locator import is_match, split_locator
from masked_denoiser.images.suffixes import OUTPUT_SUFFIXES, suffix_of
from masked_denoiser.images.validation.file_identity import FileId, file_id, name_key
from masked_denoiser.images.zarr_files import is_zarr

#: Stands for the format of each image, where it can be written: NIfTI, DICOM and MRC; OME-Zarr for all others.
AUTO_ENDING = "auto"

_ENDINGS = tuple(suffix for suffixes in OUTPUT_SUFFIXES.values() for suffix in suffixes)
_OWN_ENDINGS = {
    ".nii": ".nii", ".nii.gz": ".nii.gz", ".hdr": ".nii.gz",
    **dict.fromkeys((".mrc", ".mrcs", ".map", ".rec", ".st", ".ali", ".mrc.gz", ".map.gz"), ".mrc"),
}  # fmt: skip
_OTHER_ENDING = ".ome.zarr"


@dataclass(frozen=True)
class Pair:
    """Image of a list, as a path or an address, and the path of its result."""

    input: str
    output: Path


def is_batch(inputs: Sequence[str], output: str, reader: str = "") -> bool:
    """Return whether the inputs are several images, or one image to be written into a folder under its own name.

    The output of a folder is a folder if its name has no suffix.

    Raises:
        ListError: if an input or the output is empty.
        ImageError: if the reader is not installed.
    """
    if not output or not all(inputs):
        raise ListError("an input or the output is empty, as of a variable that is not set; name it")
    if len(inputs) > 1 or is_pattern(inputs[0]) or _is_plain_folder(Path(inputs[0]).expanduser(), reader):
        return True
    folder = Path(output).expanduser()
    names_image = folder.name.lower().endswith(_ENDINGS)  # of which a shell may have completed the slash
    if output.endswith(("/", os.sep)) and not names_image:
        return True
    if _is_plain_folder(folder) and not _is_series(folder):
        return True
    return not Path(output).suffix and Path(inputs[0]).expanduser().is_dir()


def _is_series(output: Path) -> bool:
    """Return whether an output is named as a DICOM series, which is a folder that is one image."""
    return output.name.lower().endswith(OUTPUT_SUFFIXES["DICOM"])


def plan_outputs(
    inputs: Sequence[str], folder: Path, ending: str = AUTO_ENDING, *, std: bool = False, reader: str = ""
) -> list[Pair]:
    """Return the images in order, each with an output in `folder`: its name, with another suffix.

    Args:
        inputs: files, folders, patterns and addresses, as for `find_images`.
        folder: folder for the results; it need not exist, but its parent must.
        ending: suffix of the outputs, such as ".ome.zarr" or ".ome.tif"; "auto" for the format of each image.
        std: whether the standard deviation of each image is also written.
        reader: plugin that opens the images; see `find_images`.

    Raises:
        ImageError: if the reader is not installed, an input does not exist, or a folder or a pattern has no image.
        ListError: if the folder or the suffix is not valid, two images would have the same output, or an output would
            be, contain or be inside an image of the list.
    """
    if ending not in (AUTO_ENDING, *_ENDINGS):
        raise ListError(f"outputs cannot end in {ending!r}; choose one of {', '.join((AUTO_ENDING, *_ENDINGS))}")
    images = find_images(inputs, reader)
    _check_folder(folder, inputs, reader)
    pairs = [Pair(image, folder / f"{stem_of(image)}{_ending_of(image, ending, reader)}") for image in images]
    _check_distinct(pairs, std)
    _check_apart(pairs, std)
    _check_unmatched(pairs, std, inputs)
    return pairs


def _ending_of(image: str, ending: str, reader: str) -> str:
    """Return the suffix of an image's output; for "auto" that of its own format if that can be written."""
    if ending != AUTO_ENDING:
        return ending
    if is_address(image) or reader:
        return _OTHER_ENDING
    path = Path(split_locator(image)[0]).expanduser()
    if is_dicom(path):
        return OUTPUT_SUFFIXES["DICOM"][0]
    return _OWN_ENDINGS.get(suffix_of(path.name).lower(), _OTHER_ENDING)


def make_folder(folder: Path) -> None:
    """Create the folder of the outputs.

    Raises:
        ListError: if the folder cannot be created.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ListError(f"folder {folder} cannot be created ({error.strerror}); choose another one") from error


def _check_folder(folder: Path, inputs: Sequence[str], reader: str) -> None:
    if is_zarr(folder) or (folder.name.lower().endswith(_ENDINGS) and not folder.is_dir()):
        raise ListError(f"{folder} names one image, but several images need a folder: give one, such as {folder.stem}/")
    if folder.exists() and not folder.is_dir():
        raise ListError(f"{folder} is a file, but several images need a folder: give another name")
    if not folder.resolve().parent.is_dir():
        raise ListError(f"{folder.resolve().parent} is not an existing folder: create it, or write elsewhere")
    if folder.exists() and not os.access(folder, os.W_OK):
        raise ListError(f"{folder} is not writable: change its permissions, or write elsewhere")
    folders = [path for path in (Path(text).expanduser() for text in inputs) if _is_plain_folder(path, reader)]
    if any(name_key(path) == name_key(folder) or (folder.exists() and path.samefile(folder)) for path in folders):
        raise ListError(f"{folder} is both input and output: a second run would denoise the results; write elsewhere")


def _check_unmatched(pairs: Sequence[Pair], std: bool, inputs: Sequence[str]) -> None:
    """Raise ListError if a pattern of the inputs matches an output, which a second run would denoise again."""
    for pattern in filter(is_pattern, inputs):
        matched = next((o for pair in pairs for o in _outputs(pair, std) if is_match(o, pattern)), None)
        if matched:
            raise ListError(
                f"the result {matched} matches {pattern}, so that a second run would denoise the results; write to "
                "another folder"
            )


def _check_distinct(pairs: Sequence[Pair], std: bool) -> None:
    owners: dict[str, str] = {}
    for pair in pairs:
        for output in _outputs(pair, std):
            other = owners.setdefault(name_key(output), pair.input)
            if other != pair.input:
                raise ListError(
                    f"{other} and {pair.input} would both be written to {output}: rename one of them, or write them "
                    "to two folders"
                )


def _check_apart(pairs: Sequence[Pair], std: bool) -> None:
    located = {pair.input: Path(split_locator(pair.input)[0]) for pair in pairs if not is_address(pair.input)}
    inputs = {name_key(path): text for text, path in located.items()}
    parents = {str(parent): text for key, text in inputs.items() for parent in PurePath(key).parents}
    files = [path.expanduser().resolve() for path in located.values()]
    by_id = {identity: str(path) for path in files if (identity := file_id(path))}
    parents_by_id = {identity: str(path) for path in files for p in path.parents if (identity := file_id(p))}
    for pair in pairs:
        for output in _outputs(pair, std):
            key = PurePath(name_key(output))
            overlap = parents.get(str(key)) or next(
                (inputs[p] for p in map(str, (key, *key.parents)) if p in inputs), ""
            )
            overlap = overlap or _same_file(output, by_id, parents_by_id)
            if overlap:
                raise ListError(f"output {output} is, holds or lies in the input {overlap}: write to another folder")


def _same_file(output: Path, inputs: Mapping[FileId, str], parents: Mapping[FileId, str]) -> str:
    """Return the input that an output is, contains or lies in, whatever their paths; "" if there is none."""
    found = [file_id(path) for path in (output, *output.resolve().parents)]
    contains = parents.get(found[0]) if found[0] is not None else None
    return contains or next((inputs[identity] for identity in found if identity is not None and identity in inputs), "")


def _outputs(pair: Pair, std: bool) -> Iterator[Path]:
    yield pair.output
    if std:
        from masked_denoiser.jobs.storage.output import std_path

        yield std_path(pair.output)


def _is_plain_folder(path: Path, reader: str = "") -> bool:
    return path.is_dir() and not is_image_folder(path, reader)
