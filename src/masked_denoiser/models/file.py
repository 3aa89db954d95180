"""Model files: `.safetensors` with the card in the metadata. Nothing in them is ever executed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from masked_denoiser.errors import ModelError
from masked_denoiser.models.card import Card
from masked_denoiser.network.build import build_network

_CARD = "masked_denoiser"

#: Of the header, which holds the card and a line for each tensor.
_MOST_HEADER = 16 * 2**20

_DTYPES = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its weights, in float32 on the CPU, and its card."""

    card: Card
    weights: dict[str, Tensor]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over architecture and weights: two models with one digest compute the same."""
        sha = hashlib.sha256(repr(self.card.architecture).encode())
        for name in sorted(self.weights):
            sha.update(name.encode())
            sha.update(self.weights[name].contiguous().numpy().tobytes())
        return sha.hexdigest()

    def build(self) -> nn.Module:
        """A network of its own with these weights, in evaluation mode."""
        network = build_network(self.card.architecture)
        check_weights(self.weights, network, self.card.name)
        network.load_state_dict(self.weights)
        return network.eval()

    def save(self, path: str | os.PathLike[str], dtype: torch.dtype = torch.float32) -> None:
        """Writes the model whole or not at all.

        Args:
            path: ends in `.safetensors`.
            dtype: how weights are stored; they are read back as float32.

        Raises:
            ModelError: if the name has another ending or the folder is missing.
        """
        target = Path(path)
        if target.suffix != ".safetensors":
            raise ModelError(f"{target.name} does not end in .safetensors; give the model that ending")
        if not target.parent.is_dir():
            raise ModelError(f"folder {target.parent} does not exist; make it first")
        tensors = {name: w.detach().to(dtype).contiguous() for name, w in self.weights.items()}
        partial = target.with_suffix(".partial")
        save_file(tensors, partial, metadata={_CARD: self.card.to_json()})
        partial.chmod(0o644)  # safetensors makes files that only their owner reads
        partial.replace(target)


def read_card(path: Path) -> Card:
    """The card of a model file, without reading its weights.

    Raises:
        ModelError: if the file is not a model of this program.
    """
    _check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as a model: {str(error)[:300]}") from error
    if _CARD not in metadata:
        raise ModelError(f"{path} holds tensors but no card; it was not written by this program")
    return Card.from_json(metadata[_CARD])


def read_model(path: Path) -> Model:
    """A model file, its weights as float32.

    Raises:
        ModelError: if the file is damaged, or its weights do not fit its architecture.
    """
    card = read_card(path)
    with torch.device("meta"):
        network = build_network(card.architecture)
    with safe_open(path, framework="pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        _check_shapes({name: tuple(s.get_shape()) for name, s in slices.items()}, network, str(path))
        for name, dtype in ((name, s.get_dtype()) for name, s in slices.items()):
            if dtype not in _DTYPES:
                raise ModelError(f"{path}: {name} is of type {dtype}, not one of {', '.join(_DTYPES)}")
        weights = {name: file.get_tensor(name).float() for name in slices}
    check_numbers(weights, str(path))
    return Model(card, weights)


def _check_header(path: Path) -> None:
    """The length of the header is the first thing in the file; the library would read up to 100 MB of it."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
    except OSError as error:
        raise ModelError(f"{path} cannot be read as a model: {str(error)[:300]}") from error
    if length > _MOST_HEADER:
        raise ModelError(
            f"{path} cannot be read as a model: it declares a header of {length} bytes, and {_MOST_HEADER} are allowed"
        )


def check_numbers(weights: dict[str, Tensor], name: str) -> None:
    """Refuses weights that would turn images into nothing.

    Raises:
        ModelError: naming a tensor that is no matrix of finite real numbers.
    """
    for key, tensor in weights.items():
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise ModelError(f"{name}: {key:.80} is of type {tensor.dtype}; the weights of a network are real numbers")
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{name}: {key:.80} holds NaN or infinity; the training broke, or the file is damaged")


def check_weights(weights: dict[str, Tensor], network: nn.Module, name: str) -> None:
    """Compares names and shapes.

    Raises:
        ModelError: naming the first few tensors that are missing, unknown or of another shape.
    """
    _check_shapes({key: tuple(t.shape) for key, t in weights.items()}, network, name)


def _check_shapes(given: dict[str, tuple[int, ...]], network: nn.Module, name: str) -> None:
    wanted = {key: tuple(t.shape) for key, t in network.state_dict().items()}
    problems = [f"{key:.80} is missing" for key in wanted if key not in given]
    problems += [f"{key:.80} is unknown" for key in given if key not in wanted]
    problems += [
        f"{key:.80} is {str(given[key])[:80]} instead of {shape}"
        for key, shape in wanted.items()
        if given.get(key, shape) != shape
    ]
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise ModelError(f"the weights of {name} do not fit their network: {'; '.join(problems[:4])}{more}")
