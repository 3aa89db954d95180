"""Hostile models and checkpoints: code execution, excessive memory and invalid networks."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from safetensors.torch import save_file

from masked_denoiser.cli.main import main
from masked_denoiser.errors import ModelError, TrainingError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.models.card import Card
from masked_denoiser.models.checkpoint import read_checkpoint
from masked_denoiser.models.file import read_model
from masked_denoiser.models.reference import import_checkpoint
from masked_denoiser.network.build import build_network
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.training.checkpoint import new_state
from masked_denoiser.training.recipe import FINE_TUNE


def _model(folder: Path, weights: dict[str, Any] | None = None, **changes: Any) -> Path:
    """Write a model file with a changed card; changes of `architecture` are merged."""
    model = tiny_model()
    card = json.loads(model.card.to_json())
    card["architecture"] |= changes.pop("architecture", {})
    path = folder / "a.safetensors"
    save_file(model.weights | (weights or {}), path, metadata={"masked_denoiser": json.dumps(card | changes)})
    return path


NAN = tiny_model().weights["conv_last.bias"] * torch.nan


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": {"embed": 10**9, "heads": [1]}}, "embed is 1000000000, over 4096"),
        ({"architecture": {"depths": [10**6]}}, r"depths is \(1000000,\), over 64"),
        ({"architecture": {"depths": [1] * 1000, "heads": [2] * 1000}}, "1000 groups are more than 32"),
        ({"architecture": {"window": 4096}}, "window is 4096, over 32"),
        ({"architecture": {"mlp_ratio": float("inf")}}, "mlp_ratio is inf, over 16"),
        ({"architecture": {"mlp_ratio": float("nan")}}, "mlp_ratio is nan, over 16"),
        ({"architecture": {"kind": "u", "widths": [8] * 99}}, "unknown network settings"),
        ({"name": "../../x"}, r"a model cannot be called '../../x'"),
        ({"name": 3}, "the model's card has name 3"),
        ({"description": "\x1b[2J"}, "more than plain text in description"),
        ({"data": [1]}, r"has data \[1\]"),
        ({"training": {"recipe": {"noise": ["\x1b[2J"]}}}, "more than plain text in training"),
        ({"training": {"\x1b[31m": 1}}, "more than plain text in training"),
        ({"version": 10**30}, "does not fit into 64 bits"),
        ({"weights": {"conv_last.bias": NAN}}, "conv_last.bias holds NaN or infinity"),
        ({"weights": {"conv_last.bias": NAN.nan_to_num().int()}}, "conv_last.bias is of type I32"),
    ],
)
def test_invalid_models_are_refused_before_allocation(changes: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises((ModelError, ValueError), match=words):
        read_model(_model(tmp_path, **changes))


def test_large_network_without_weights_takes_no_memory(tmp_path: Path) -> None:
    """Each of 2048 blocks had an index table of 8 MiB in memory, even without weights."""
    large = SwinConfig(embed=4, depths=(64,) * 32, heads=(1,) * 32, window=32, residual="1conv", mlp_ratio=1.0)
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"masked_denoiser": Card("large", large).to_json()})
    with pytest.raises(ModelError, match="1 tensors are too few for 2048 blocks"):
        read_model(path)
    with torch.device("meta"):
        network = build_network(replace(large, depths=(2,), heads=(1,)))
    assert {buffer.device.type for buffer in network.buffers()} == {"meta"}


def test_blocks_of_a_network_share_their_index_table() -> None:
    network = build_network(SwinConfig(embed=4, depths=(2, 2), heads=(1, 1), window=4))
    tables = [buffer for name, buffer in network.named_buffers() if name.endswith("relative_position_index")]
    assert len(tables) == 1, "named_buffers names shared ones once"


@pytest.mark.parametrize("number", ["100000000", "9" * 5000], ids=["large", "huge"])
def test_group_numbers_with_gaps_are_refused_at_once(number: str, tmp_path: Path) -> None:
    weights = dict(tiny_model().weights)
    weights[f"layers.{number}.residual_group.blocks.0.norm1.weight"] = torch.ones(12)
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=r"block numbers have gaps|is unknown"):
        import_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_broken_weights_are_not_written(dtype: torch.dtype, tmp_path: Path) -> None:
    model = tiny_model()
    path = tmp_path / "a.safetensors"
    model.save(path)
    before = path.read_bytes()
    for value in (torch.nan, torch.inf):
        broken = replace(model, weights=model.weights | {"conv_last.bias": torch.full((3,), value)})
        with pytest.raises(ModelError, match=r"conv_last\.bias holds NaN or infinity"):
            broken.save(path, dtype)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


def test_oversized_header_is_refused(tmp_path: Path) -> None:
    path = _model(tmp_path)
    path.write_bytes((2**40).to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(ModelError, match="declares a header of 1099511627776 bytes"):
        read_model(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, '"\\ud800"', "NaN" * 3])
def test_hostile_json_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="is not JSON"):
        Card.from_json(text)


class Command:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.path}'",)


def _state() -> Any:
    return new_state(tiny_model(), FINE_TUNE, torch.device("cpu"))


def test_commands_in_checkpoints_do_not_run(tmp_path: Path) -> None:
    path, run = tmp_path / "a.pth", tmp_path / "code was run"
    torch.save({"params": tiny_model().weights, "extra": Command(run)}, path, pickle_module=pickle)
    with pytest.raises(ModelError, match="holds more than tensors"):
        import_checkpoint(path)
    with pytest.raises(TrainingError, match="holds more than tensors"):
        _state().load(path, "identity")
    assert not run.exists()
    torch.load(path, weights_only=False)
    assert run.exists(), "the checkpoint is harmless, so nothing was tested"


class Allocates:
    def __reduce__(self) -> Any:
        return torch.Tensor, (10**12,)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (Allocates(), "holds more than tensors"),
        (torch.zeros(1).expand(10**12), "has a tensor of .1000000000000,. that it does not hold"),
        (torch.sparse_coo_tensor(size=(10**6, 10**6), check_invariants=True), "holds more than tensors"),
    ],
    ids=["a tensor without data", "strides of zero", "sparse"],
)
def test_tensors_larger_than_their_file_are_refused(content: Any, words: str, tmp_path: Path) -> None:
    torch.save({"conv_first.weight": content}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=words):
        import_checkpoint(tmp_path / "a.pth")


def test_compressed_archive_is_refused(tmp_path: Path) -> None:
    torch.save(tiny_model().weights, tmp_path / "a.pth")
    with ZipFile(tmp_path / "a.pth") as whole, ZipFile(tmp_path / "b.pth", "w", ZIP_DEFLATED) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    with pytest.raises(ModelError, match="is compressed, which torch never does"):
        read_checkpoint(tmp_path / "b.pth")


def test_imports_stay_in_the_user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masked_denoiser.cli.commands.models.user_folder", lambda: tmp_path / "data" / "models")
    torch.save({"params": tiny_model().weights}, tmp_path / "a.pth")
    for name in ("../../x", "/x", "a\\b", ""):
        code = main(["models", "import", str(tmp_path / "a.pth"), "--name", name])
        assert code == (1 if name else 0)  # without a name, the file name is used
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"a.pth", "data/models/a.safetensors"}
