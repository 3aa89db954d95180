"""Import of models from packages of bioimage.io, without running or unpacking what is in them.

A package that this program exported has a model file attached, which is copied to a temporary file of our own name and
read as any other. Nothing else in the package is read, except its description, to say what it is if it is of another
program.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo
from zlib import error as ZlibError  # noqa: N812 (an exception)

from masked_denoiser.errors import ModelError
from masked_denoiser.models.file import Model, read_model

#: File of a package with weights and card.
ATTACHED_MODEL = "masked-denoiser.safetensors"

#: Names of the description of a package.
_DESCRIPTIONS = ("bioimageio.yaml", "rdf.yaml")

#: Limits in bytes of the attached model and of the description, and of the number of files.
_MAX_MODEL, _MAX_DESCRIPTION, _MAX_FILES = 2**30, 2**20, 1000

#: Factor by which weights and text can be compressed; a bomb is compressed a thousand times.
_MAX_RATIO = 100

_CHUNK = 2**20


def read_package(path: Path) -> Model:
    """Return the model in a package of bioimage.io that this program exported.

    Raises:
        ModelError: if the file is no package, is damaged, declares more than the limits, or has a model of another
            architecture, naming its formats.
    """
    try:
        with ZipFile(path) as archive:
            files = _files(archive, path)
            if ATTACHED_MODEL not in files:
                raise ModelError(f"{path} {_describe_other(archive, files, path)}")
            with TemporaryDirectory() as folder:
                copy = Path(folder) / ATTACHED_MODEL
                copy.write_bytes(_read(archive, files[ATTACHED_MODEL], _MAX_MODEL, path))
                return _read_copy(copy, path)
    except (BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError, UnicodeError, ZlibError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"{path} cannot be read as a package of bioimage.io: {reason}") from error


def _read_copy(copy: Path, package: Path) -> Model:
    """Return the model in a temporary copy, with errors about the package, which users know."""
    try:
        return read_model(copy)
    except ModelError as error:
        text = str(error).replace(str(copy), ATTACHED_MODEL)
        raise ModelError(f"{package}: {text}") from error


def _files(archive: ZipFile, path: Path) -> dict[str, ZipInfo]:
    """Return the files of an archive by name; a name that occurs twice could be read differently by other programs."""
    entries = archive.infolist()
    if len(entries) > _MAX_FILES:
        raise ModelError(f"{path} has {len(entries)} files; packages of bioimage.io have at most {_MAX_FILES}")
    files = {entry.filename: entry for entry in entries}
    if len(files) < len(entries):
        raise ModelError(f"{path} has two files of one name; it is not opened for safety")
    return files


def _read(archive: ZipFile, entry: ZipInfo, limit: int, path: Path) -> bytes:
    """Return a file of an archive, reading no more than it declares, and nothing that declares too much."""
    name, declared = entry.filename[:80], entry.file_size
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED) or entry.flag_bits & 1:
        raise ModelError(f"{path}: {name} is encrypted, or compressed in an unusual way; it is not opened for safety")
    if declared > limit or declared > _MAX_RATIO * max(entry.compress_size, 1):
        raise ModelError(
            f"{path}: {name} declares {declared} bytes in {entry.compress_size}; it is not opened for safety"
        )
    parts, total = [], 0
    with archive.open(entry) as file:
        while part := file.read(_CHUNK):
            parts.append(part)
            total += len(part)
            if total > declared:
                raise ModelError(f"{path}: {name} has more than the {declared} bytes that it declares")
    return b"".join(parts)


def _describe_other(archive: ZipFile, files: dict[str, ZipInfo], path: Path) -> str:
    """Return what a package without an attached model holds, as the rest of a sentence."""
    name = next((name for name in _DESCRIPTIONS if name in files), None)
    if name is None:
        return f"is no package of bioimage.io: it has neither {' nor '.join(_DESCRIPTIONS)}"
    description = _parse(_read(archive, files[name], _MAX_DESCRIPTION, path), path)
    weights = description.get("weights")
    # Text only: the text of a nested list with YAML's aliases may be longer than the memory.
    formats = ", ".join(key[:40] for key in weights if isinstance(key, str)) if isinstance(weights, dict) else ""
    title = description.get("name")
    named = f" {title[:80]!r}" if isinstance(title, str) else ""
    return (
        f"has the model{named} of another program (weights: {formats or 'none'}); only packages "
        f"that `masked-denoiser models export` wrote can be imported, which have {ATTACHED_MODEL}"
    )


def _parse(text: bytes, path: Path) -> dict[str, Any]:
    try:
        from yaml import YAMLError, safe_load
    except ImportError as error:
        raise ModelError(
            f"{path} is a package of another program; to see what it holds: "
            "pip install 'napari-masked-denoiser[export]'"
        ) from error
    try:
        values = safe_load(text)
    except (YAMLError, RecursionError, UnicodeError, ValueError) as error:
        raise ModelError(f"{path}: its description is not YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: its description is not a list of names and values")
    return values
