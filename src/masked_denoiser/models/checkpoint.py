"""Safe reader of torch checkpoints, which executes no code and trusts no declared size.

`weights_only=True` prevents code from running, but still allocates whatever tensor a few bytes describe. The file is
therefore checked first: it must be a zip archive of uncompressed entries whose pickle refers to tensors only.
"""

from __future__ import annotations

import pickletools
import struct
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, is_zipfile

import torch
from torch import Tensor

from masked_denoiser.errors import ModelError

#: Limit of the pickle that describes the tensors; a network of a thousand layers needs about one MiB.
_MAX_DESCRIPTION_BYTES = 16 * 2**20

#: Globals that the pickle of a dictionary of tensors refers to.
_STORAGES = {f"torch {kind}Storage" for kind in ("BFloat16", "Bool", "Byte", "Double", "Float", "Half", "Int", "Long")}
_ALLOWED_GLOBALS = _STORAGES | {
    "collections Counter",  # in the state of learning rate schedules
    "collections OrderedDict",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
}

#: Errors that torch raises for damaged files.
_DAMAGE_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    UnpicklingError,
    ValueError,
    struct.error,
)


def read_checkpoint(path: Path) -> Any:
    """Return what `torch.save` wrote: dictionaries and lists of tensors, on the CPU.

    Raises:
        ModelError: if the file does not exist, is damaged, contains anything but tensors, or declares more bytes than
            it has.
    """
    if not path.is_file():
        problem = "is no file" if path.exists() else "does not exist"
        raise ModelError(f"{path} {problem}; check the path")
    try:
        path.open("rb").close()  # `is_zipfile` would hide why it cannot
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if not is_zipfile(path):
        raise ModelError(
            f"{path} cannot be read as a checkpoint: it is damaged, or older than torch 1.6; save it again with torch"
        )
    try:
        _check_description(_read_description(path), path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except (BadZipFile, *_DAMAGE_ERRORS) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"{path} cannot be read as a checkpoint: {reason}") from error
    _check_tensors(content, path)
    return content


def _read_description(path: Path) -> bytes:
    """Return the pickle that describes the tensors, after checking that the archive is not a zip bomb."""
    with ZipFile(path) as archive:
        entries = archive.infolist()
        if any("/code/" in entry.filename for entry in entries):
            raise ModelError(
                f"{path} is TorchScript, which contains a program; it is not opened for safety; import the "
                ".safetensors file of the model, or a checkpoint with the state_dict() of its network"
            )
        if any(entry.compress_type != ZIP_STORED for entry in entries):
            raise ModelError(f"{path} is compressed, which torch never does; it is not opened for safety")
        declared, actual = sum(entry.file_size for entry in entries), path.stat().st_size
        if declared > actual:
            raise ModelError(f"{path} declares {declared} bytes but has {actual}; it is not opened for safety")
        descriptions = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
        if len(descriptions) != 1 or descriptions[0].file_size > _MAX_DESCRIPTION_BYTES:
            raise ModelError(f"{path} cannot be read as a checkpoint: it does not describe its tensors as torch does")
        return archive.read(descriptions[0])


def _check_description(description: bytes, path: Path) -> None:
    """Raise ModelError if the pickle refers to anything but tensors; its opcodes are listed, not executed."""
    for opcode, argument, _ in pickletools.genops(description):
        is_global = opcode.name in ("GLOBAL", "INST")
        if (is_global and argument not in _ALLOWED_GLOBALS) or opcode.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            raise ModelError(
                f"{path} holds more than tensors ({str(argument)[:80]!r}), or is not a checkpoint; "
                "it is not opened for safety; save only the state_dict() of the network, with torch.save"
            )


def _check_tensors(content: Any, path: Path) -> None:
    """Raise ModelError for tensors larger than their storage: with strides of zero, a copy would fill the memory."""
    seen, pending = set(), [content]
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor) and value.numel() * value.itemsize > value.untyped_storage().nbytes():
            raise ModelError(f"{path} has a tensor of {tuple(value.shape)} that it does not hold; the file is damaged")
        if isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list | tuple | set):
            pending += value
