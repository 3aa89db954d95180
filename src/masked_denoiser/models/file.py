"""Model files: `.safetensors` with the card in the metadata; nothing in them is executed."""

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

from masked_denoiser.atomic_file import replaced_atomically
from masked_denoiser.errors import ModelError
from masked_denoiser.models.card import Card
from masked_denoiser.network.build import NetworkConfig, build_network
from masked_denoiser.network.ushape_config import UConfig

#: Key of the card in the metadata of a model file.
_CARD_KEY = "masked_denoiser"

#: Limit of the header, which contains the card and an entry for each tensor.
_MAX_HEADER_BYTES = 16 * 2**20

#: Names of the accepted weight types in safetensors.
_ALLOWED_DTYPES = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True, eq=False)
class Model:
    """Card and weights of a network; the weights are float32 on the CPU."""

    card: Card
    weights: dict[str, Tensor]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of architecture and weights: models with equal digests compute the same."""
        sha = hashlib.sha256(repr(self.card.architecture).encode())
        for name in sorted(self.weights):
            sha.update(name.encode())
            sha.update(self.weights[name].contiguous().numpy().tobytes())
        return sha.hexdigest()

    def build(self) -> nn.Module:
        """Return a new network with these weights, in evaluation mode, on the CPU."""
        # The random weights, which are replaced, must not advance torch's generator, which others may have seeded.
        with torch.random.fork_rng(devices=()), torch.device("cpu"):
            network = build_network(self.card.architecture)
        check_weights(self.weights, network, self.card.name)
        network.load_state_dict(self.weights)
        return network.eval()

    def save(self, path: str | os.PathLike[str], dtype: torch.dtype = torch.float32, *, overwrite: bool = True) -> None:
        """Write the model atomically.

        Args:
            path: file to write, ending in `.safetensors`.
            dtype: type of the stored weights, which are always read as float32.
            overwrite: whether an existing file is replaced.

        Raises:
            ModelError: if the file has another suffix, its folder does not exist, its path is not UTF-8, it exists and
                must not be replaced, a weight is NaN or infinite, or the card could not be read again.
        """
        target = Path(path)
        check_model_path(target)
        if not target.parent.is_dir():
            raise ModelError(f"folder {target.parent} does not exist; create it first")
        _check_readable(self.card, target.name)
        tensors = {name: w.detach().to(dtype).contiguous() for name, w in self.weights.items()}
        check_numbers(tensors, target.name)
        try:
            with replaced_atomically(target, overwrite) as temporary:
                save_file(tensors, temporary, metadata={_CARD_KEY: self.card.to_json()})
                temporary.chmod(0o644)  # safetensors creates files that only their owner can read
        except FileExistsError as error:
            raise ModelError(f"{target} exists; choose another name") from error


def _check_readable(card: Card, name: str) -> None:
    """Raise ModelError for a card that could not be read again."""
    try:
        Card.from_json(card.to_json())
    except ModelError as error:
        raise ModelError(f"{name} cannot be saved: {error}") from error


def check_model_path(path: Path) -> None:
    """Check the path of a model file that will be written.

    Raises:
        ModelError: if it has another suffix, or is not UTF-8, so that safetensors could write it but not open it.
    """
    if path.suffix != ".safetensors":
        raise ModelError(f"{path.name} does not end in .safetensors; use a file name with that suffix")
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        raise ModelError(f"the path {str(path)!r} is not UTF-8; choose another name or folder for the model") from error


def read_card(path: Path) -> Card:
    """Return the card of a model file without reading its weights.

    Raises:
        ModelError: if the file is not a model of this program.
    """
    _check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as a model: {str(error)[:300]}") from error
    if _CARD_KEY not in metadata:
        raise ModelError(
            f"{path} has tensors but no card; it was not written by this program; if it has the weights of a "
            "SwinIR network, save them with torch.save as .pth, and give that to: masked-denoiser models import"
        )
    try:
        return Card.from_json(metadata[_CARD_KEY])
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def read_model(path: Path) -> Model:
    """Read a model file, converting its weights to float32.

    Raises:
        ModelError: if the file is damaged, or its weights do not match its architecture.
    """
    card = read_card(path)
    with safe_open(path, framework="pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        _check_count(len(slices), card.architecture, path)
        with torch.device("meta"):
            network = build_network(card.architecture)
        _check_shapes({name: tuple(s.get_shape()) for name, s in slices.items()}, network, str(path))
        for name, dtype in ((name, s.get_dtype()) for name, s in slices.items()):
            if dtype not in _ALLOWED_DTYPES:
                raise ModelError(f"{path}: {name} is of type {dtype}, not one of {', '.join(_ALLOWED_DTYPES)}")
        # Copies: tensors of the file are views of its memory map, which change or crash when the file does.
        weights = {name: file.get_tensor(name).to(torch.float32, copy=True) for name in slices}
    check_numbers(weights, str(path))
    return Model(card, weights)


def _check_header(path: Path) -> None:
    """Raise ModelError if the first 8 bytes declare a large header, of which safetensors would read up to 100 MB."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
    except OSError as error:
        raise ModelError(f"{path} cannot be read as a model: {str(error)[:300]}") from error
    if length > _MAX_HEADER_BYTES:
        raise ModelError(
            f"{path} cannot be read as a model: it declares a header of {length} bytes, over {_MAX_HEADER_BYTES}"
        )


def _check_count(tensors: int, config: NetworkConfig, path: Path) -> None:
    """Raise ModelError for fewer tensors than blocks, before the network of a card of a few bytes is built."""
    blocks = sum(config.blocks) + config.attention if isinstance(config, UConfig) else config.blocks
    if tensors < blocks:
        raise ModelError(
            f"the weights of {path} do not match their network: {tensors} tensors are too few for {blocks} blocks; "
            "the file is incomplete"
        )


def check_numbers(weights: dict[str, Tensor], name: str) -> None:
    """Check that all weights are dense tensors of finite real numbers.

    Raises:
        ModelError: if a tensor is not, naming it.
    """
    for key, tensor in weights.items():
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise ModelError(f"{name}: {key:.80} is of type {tensor.dtype}; the weights of a network are real numbers")
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{name}: {key:.80} holds NaN or infinity; the training broke, or the file is damaged")


def check_weights(weights: dict[str, Tensor], network: nn.Module, name: str) -> None:
    """Compare the names and shapes of weights with those of a network.

    Raises:
        ModelError: if tensors are missing, unknown or of another shape, naming the first few.
    """
    _check_shapes({key: tuple(t.shape) for key, t in weights.items()}, network, name)


def _check_shapes(actual: dict[str, tuple[int, ...]], network: nn.Module, name: str) -> None:
    expected = {key: tuple(t.shape) for key, t in network.state_dict().items()}
    problems = [f"{key:.80} is missing" for key in expected if key not in actual]
    problems += [f"{key:.80} is unknown" for key in actual if key not in expected]
    problems += [
        f"{key:.80} is {str(actual[key])[:80]} instead of {shape}"
        for key, shape in expected.items()
        if actual.get(key, shape) != shape
    ]
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise ModelError(f"the weights of {name} do not match their network: {'; '.join(problems[:4])}{more}")
