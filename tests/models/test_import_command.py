"""Import of models by the command: what is kept, what is refused, and that no file is replaced unasked."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from masked_denoiser.cli.main import main
from masked_denoiser.errors import ModelError, TrainingError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.models import catalogue
from masked_denoiser.models.card import Card
from masked_denoiser.models.catalogue import find_model
from masked_denoiser.models.export.api import export_model
from masked_denoiser.models.file import Model, read_card, read_model
from masked_denoiser.models.random_weights import random_model
from masked_denoiser.models.reference import import_checkpoint
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.training.data.dataset import TrainingImages
from masked_denoiser.training.prepare import prepare_training
from masked_denoiser.training.recipe import FINE_TUNE


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is that of the user's models."""
    folder = tmp_path / "models"
    for module in ("masked_denoiser.models.catalogue", "masked_denoiser.cli.commands.models"):
        monkeypatch.setattr(f"{module}.user_folder", lambda: folder)
    return folder


def saved(path: Path, **changes: Any) -> Path:
    model = tiny_model()
    Model(replace(model.card, **changes), model.weights).save(path)
    return path


@pytest.mark.parametrize("changes", [{"body_skip": True}, {"attention_mask": 0.5}, {"mean": (0.1, 0.2, 0.3)}])
def test_exported_checkpoints_come_back_as_they_were(tmp_path: Path, changes: dict[str, Any]) -> None:
    tiny = tiny_model()
    architecture = replace(tiny.card.architecture, **changes)
    model = Model(replace(tiny.card, architecture=architecture, licence="CC0-1.0"), tiny.weights)
    exported = export_model(model, "checkpoint", tmp_path / "a.pth")
    assert "masked attention tokens" in exported.notes[0]
    again = import_checkpoint(tmp_path / "a.pth", name=model.card.name)
    assert again.digest == model.digest
    assert again.card == model.card


def test_stored_mean_is_used(tmp_path: Path) -> None:
    state = tiny_model().weights | {"mean": torch.tensor([0.125, 0.25, 0.5]).view(1, 3, 1, 1)}
    torch.save({"params": state}, tmp_path / "a.pth")
    assert import_checkpoint(tmp_path / "a.pth").card.architecture.mean == (0.125, 0.25, 0.5)


@pytest.mark.parametrize("mean", [(114.4, 111.4, 103.0), (float("nan"),) * 3])
def test_mean_of_another_scale_is_refused(tmp_path: Path, mean: tuple[float, ...]) -> None:
    torch.save({"params": tiny_model().weights | {"mean": torch.tensor(mean)}}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=r"a\.pth: its mean is .*, not in \[0, 1\]"):
        import_checkpoint(tmp_path / "a.pth")


def test_stored_default_mean_changes_no_digest(tmp_path: Path) -> None:
    for name, more in (("a.pth", {}), ("b.pth", {"mean": torch.tensor([0.4488, 0.4371, 0.4040])})):
        torch.save({"params": tiny_model().weights | more}, tmp_path / name)
    assert import_checkpoint(tmp_path / "a.pth").digest == import_checkpoint(tmp_path / "b.pth").digest


def test_exported_checkpoint_is_not_described_again(tmp_path: Path) -> None:
    export_model(tiny_model(), "checkpoint", tmp_path / "a.pth")
    with pytest.raises(ModelError, match="states its network itself"):
        import_checkpoint(tmp_path / "a.pth", attention_mask=0.1)


def test_every_hidden_width_is_imported(tmp_path: Path) -> None:
    config = SwinConfig(embed=60, depths=(1,), heads=(6,), mlp_ratio=2.05000001)  # int(60 * (123 / 60)) is 122
    torch.save({"params": random_model(config).weights}, tmp_path / "a.pth")
    model = import_checkpoint(tmp_path / "a.pth")
    assert model.weights["layers.0.residual_group.blocks.0.mlp.fc1.weight"].shape == (123, 60)
    model.build()


def test_options_of_checkpoints_are_refused_for_files_with_a_card(models: Path, tmp_path: Path, capsys: Any) -> None:
    path = saved(tmp_path / "a.safetensors")
    options = ["--attention-mask", "0.1", "--global-skip", "yes", "--no-ema"]
    assert main(["models", "import", str(path), *options]) == 1
    assert "omit --no-ema and --global-skip and --attention-mask" in capsys.readouterr().err
    assert main(["models", "import", str(path), "--licence", "CC-BY-4.0", "--name", "mine"]) == 0
    assert read_card(models / "mine.safetensors").licence == "CC-BY-4.0"


@pytest.mark.parametrize("name", ["general-rgb", "auto"])
def test_bundled_models_cannot_be_hidden(models: Path, tmp_path: Path, name: str) -> None:
    models.mkdir()
    path, target = saved(tmp_path / "a.safetensors"), models / f"{name}.safetensors"
    assert main(["models", "import", str(path), "--output", str(target)]) == 1
    with pytest.raises(ModelError, match="choose another name"):
        prepare_training(TrainingImages([]), FINE_TUNE, output=target)
    assert list(models.iterdir()) == []
    assert main(["models", "import", str(path), "--output", str(tmp_path / f"{name}.safetensors")]) == 0


@pytest.mark.parametrize("name", ["bad\x07name", "mod\udce8le", "a\\b", "n" * 241, ".", " "])
def test_impossible_names_are_refused_before_a_training(models: Path, tmp_path: Path, name: str, capsys: Any) -> None:
    path = saved(tmp_path / "a.safetensors")
    assert main(["models", "import", str(path), "--name", name]) == 1
    assert "cannot be called" in capsys.readouterr().err
    with pytest.raises((ModelError, TrainingError)):
        prepare_training(TrainingImages([]), FINE_TUNE, output=tmp_path / f"{name}.safetensors")


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_file_names_that_are_not_utf8_need_another_name(models: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / os.fsdecode(b"mod\xe8le.pth")
    torch.save({"params": tiny_model().weights}, str(tmp_path / "a.pth"))
    (tmp_path / "a.pth").rename(path)
    assert main(["models", "import", str(path)]) == 1
    assert main(["models", "import", str(path), "--name", "modèle"]) == 0
    assert main(["models", "info", "modèle"]) == 0
    assert "Imported from mod\ufffdle.pth" in capsys.readouterr().out


def test_model_that_appears_meanwhile_is_kept(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.mkdir()
    path, target = saved(tmp_path / "a.safetensors"), models / "mine.safetensors"
    original = Model.save

    def save_late(model: Model, *arguments: Any, **named: Any) -> None:
        target.write_text("of another process")
        original(model, *arguments, **named)

    monkeypatch.setattr(Model, "save", save_late)
    assert main(["models", "import", str(path), "--name", "mine"]) == 1
    assert target.read_text() == "of another process"
    assert list(models.iterdir()) == [target]
    assert main(["models", "import", str(path), "--name", "mine", "--overwrite"]) == 0
    assert read_model(target).card.name == "mine"


def test_suffixes_are_known_in_capitals(models: Path, tmp_path: Path) -> None:
    saved(tmp_path / "a.safetensors").rename(tmp_path / "A.SafeTensors")
    torch.save({"params": tiny_model().weights}, tmp_path / "epoch=1.CKPT")
    for name in ("A.SafeTensors", "epoch=1.CKPT"):
        assert find_model(tmp_path / name) == tmp_path / name
        assert catalogue.load_model(tmp_path / name).digest == tiny_model().digest
        assert main(["models", "import", str(tmp_path / name)]) == 0


def test_torchscript_is_named(tmp_path: Path) -> None:
    model = random_model(SwinConfig(embed=8, depths=(1,), heads=(2,), window=4))
    path = export_model(model, "torchscript", tmp_path / "a.pt").path
    with pytest.raises(ModelError, match="is TorchScript, which contains a program"):
        import_checkpoint(path)


def newer_model(folder: Path, **changes: Any) -> Path:
    """Write a model whose card has another architecture."""
    path = saved(folder / "a.safetensors")
    card = json.loads(read_card(path).to_json())
    other = json.dumps(card | {"architecture": card["architecture"] | changes})
    data, old = path.read_bytes(), json.dumps(read_card(path).to_json())[1:-1].encode()
    assert old in data
    header = data[8 : 8 + int.from_bytes(data[:8], "little")].replace(old, json.dumps(other)[1:-1].encode())
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + int.from_bytes(data[:8], "little") :])
    return path


@pytest.mark.parametrize("changes", [{"kind": "hat"}, {"embed": -12, "mlp_ratio": -2.0, "residual": "1conv"}])
def test_models_of_a_newer_version_do_not_hide_others(models: Path, changes: dict[str, Any], capsys: Any) -> None:
    models.mkdir()
    saved(models / "z.safetensors")
    path = newer_model(models, **changes)
    with pytest.raises(ModelError, match=r"a\.safetensors: the model's card: .*update the program"):
        read_card(path)
    assert main(["models", "list"]) == 0
    assert "z   " in capsys.readouterr().out


def test_card_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="more than plain text"):
        saved(tmp_path / "a.safetensors", description="\x1b[31m")
    assert list(tmp_path.iterdir()) == []


def test_names_are_checked_by_bytes() -> None:
    Card("é" * 120, tiny_model().card.architecture)
    with pytest.raises(ModelError, match="1 to 240 bytes"):
        Card("é" * 121, tiny_model().card.architecture)
