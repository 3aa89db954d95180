"""Checkpoints of torch, opened so that nothing in them can run, and no size in them is taken on trust.

`weights_only=True` keeps code from running, but it still builds whatever tensor a few bytes describe. So the file is
looked through first: a zip archive that stores its entries as they are, in which the description names tensors alone.
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

#: Bytes that describe the tensors; a network of a thousand layers needs one.
_MOST_DESCRIPTION = 16 * 2**20

#: All that dictionaries of tensors are made of.
_STORAGES = {f"torch {kind}Storage" for kind in ("BFloat16", "Bool", "Byte", "Double", "Float", "Half", "Int", "Long")}
_NAMES = _STORAGES | {
    "collections OrderedDict",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
}

_DAMAGED = (
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
    """What `torch.save` wrote: tensors on the CPU in dictionaries and lists.

    Raises:
        ModelError: if the file does not exist, is damaged, holds more than tensors, or declares more than it holds.
    """
    if not path.is_file():
        raise ModelError(f"{path} does not exist; check the path")
    if not is_zipfile(path):
        raise ModelError(
            f"{path} cannot be read as a checkpoint: it is damaged, or older than torch 1.6; save it again with torch"
        )
    try:
        _check_description(_description(path), path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except (BadZipFile, *_DAMAGED) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"{path} cannot be read as a checkpoint: {reason}") from error
    _check_tensors(content, path)
    return content


def _description(path: Path) -> bytes:
    """The entry that describes the tensors, once the archive is known to be no bomb."""
    with ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != ZIP_STORED for entry in entries):
            raise ModelError(f"{path} is compressed, which torch never does; it is not opened for safety")
        declared, there = sum(entry.file_size for entry in entries), path.stat().st_size
        if declared > there:
            raise ModelError(f"{path} declares {declared} bytes and has {there}; it is not opened for safety")
        described = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
        if len(described) != 1 or described[0].file_size > _MOST_DESCRIPTION:
            raise ModelError(f"{path} cannot be read as a checkpoint: it does not describe its tensors as torch does")
        return archive.read(described[0])


def _check_description(description: bytes, path: Path) -> None:
    """Every name in it; the opcodes are listed, and never followed."""
    for opcode, argument, _ in pickletools.genops(description):
        named = opcode.name in ("GLOBAL", "INST")
        if (named and argument not in _NAMES) or opcode.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            raise ModelError(
                f"{path} holds more than tensors ({str(argument)[:80]!r}), or is no checkpoint; "
                "it is not opened for safety"
            )


def _check_tensors(content: Any, path: Path) -> None:
    """A tensor may repeat its bytes without end by strides of zero; a copy of it would fill the memory."""
    seen, waiting = set(), [content]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor) and value.numel() * value.itemsize > value.untyped_storage().nbytes():
            raise ModelError(f"{path} has a tensor of {tuple(value.shape)} that it does not hold; it is damaged")
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple | set):
            waiting += value
