import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from masked_denoiser.errors import ModelError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.models.card import Card
from masked_denoiser.models.catalogue import AUTO, DEFAULT, check_new_name, find_model, list_models, load_model
from masked_denoiser.models.file import Model, read_card, read_model
from masked_denoiser.models.reference import export_checkpoint, import_checkpoint
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.masks import HashedTokenMask
from masked_denoiser.network.swin import MaskedSwin
from masked_denoiser.network.ushape_config import UConfig
from tests.network import plain

PAPER_LIKE = SwinConfig(embed=12, depths=(2, 3), heads=(2, 3))
PLAIN_GRAY = SwinConfig(
    channels=1, embed=8, depths=(2,), heads=(4,), first_kernel=3, residual="1conv", body_skip=True,
    global_skip=True, mean=(0.0,), attention_mask=0.0, mlp_ratio=1.5, window=4,
)  # fmt: skip


def reference_state(config, seed=0):
    """Return random weights in the layout of published files, including index and mask buffers."""
    torch.manual_seed(seed)
    state = {key: torch.randn_like(value) * 0.2 for key, value in MaskedSwin(config).state_dict().items()}
    area = config.window**2
    for group, depth in enumerate(config.depths):
        for block in range(depth):
            prefix = f"layers.{group}.residual_group.blocks.{block}."
            state[prefix + "attn.relative_position_index"] = torch.zeros(area, area, dtype=torch.int64)
            if block % 2:
                state[prefix + "attn_mask"] = torch.zeros(64, area, area)
    return state


@pytest.mark.parametrize("config", [PAPER_LIKE, PLAIN_GRAY])
@pytest.mark.parametrize("layout", ["params", "params_ema", "bare"])
def test_imported_checkpoint_matches_the_reference(tmp_path, config, layout):
    state = reference_state(config)
    other = reference_state(config, seed=1)
    content = {"params": {"params": state}, "params_ema": {"params": other, "params_ema": state}, "bare": state}[layout]
    torch.save(content, tmp_path / "reference.pth")
    model = import_checkpoint(tmp_path / "reference.pth")
    assert model.card.architecture == config

    image = np.random.default_rng(0).random((config.channels, 16, 24))
    mask = HashedTokenMask(config.attention_mask, 0, 0, ((0, 0),)) if config.attention_mask else None
    with torch.inference_mode():
        ours = model.build()(torch.from_numpy(image[None]).float(), mask)[0].numpy()
    oracle = plain.network(
        image,
        state,
        depths=config.depths,
        heads=config.heads,
        window=config.window,
        mean=config.mean,
        global_skip=config.global_skip,
        body_skip=config.body_skip,
        mask=config.attention_mask,
    )
    assert np.abs(oracle).max() > 0.5
    assert np.abs(ours - oracle).max() <= 1e-5 * max(1.0, np.abs(oracle).max())


def test_pixel_shuffle_last_layer_is_imported(tmp_path):
    state = reference_state(PAPER_LIKE)
    moved = {key.replace("conv_last", "upsample.0"): value for key, value in state.items()}
    torch.save({"params": moved}, tmp_path / "a.pth")
    assert torch.equal(import_checkpoint(tmp_path / "a.pth").weights["conv_last.weight"], state["conv_last.weight"])


def without(state, part):
    return {key: value for key, value in state.items() if part not in key}


class Harmful:
    def __reduce__(self):
        return (print, ("code in a checkpoint was run",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (without(reference_state(PAPER_LIKE), "conv_first"), "no tensor 'conv_first.weight'"),
        (without(reference_state(PAPER_LIKE), "layers.0.residual_group.blocks.1.norm1"), "norm1.weight is missing"),
        (without(reference_state(PAPER_LIKE), "layers.1.residual_group.blocks.1."), "gaps"),
        (reference_state(PAPER_LIKE) | {"extra.weight": torch.zeros(1)}, "extra.weight is unknown"),
        (reference_state(PAPER_LIKE) | {"conv_last.weight": torch.zeros(48, 12, 3, 3)}, "48 channels of 3"),
        (reference_state(PAPER_LIKE) | {"conv_first.weight": torch.zeros(12, 3, 5, 5)}, "first_kernel is 5"),
        ({"epoch": 3}, "no tensors"),
        ([1, 2], "a list"),
    ],
)
def test_incompatible_checkpoint_names_the_tensor(tmp_path, content, words):
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(ModelError, match=words):
        import_checkpoint(tmp_path / "bad.pth")


def test_code_in_a_checkpoint_is_not_executed(tmp_path, capsys):
    path = tmp_path / "harmful.pth"
    torch.save({"params": Harmful()}, path, pickle_module=pickle)
    with pytest.raises(ModelError, match="more than tensors"):
        import_checkpoint(path)
    assert "was run" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_damaged_checkpoints_are_refused(tmp_path, content):
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(ModelError, match=r"bad.pth"):
        import_checkpoint(tmp_path / "bad.pth")


def test_model_file_round_trip(tmp_path):
    model = tiny_model()
    model.save(tmp_path / "a.safetensors")
    again = read_model(tmp_path / "a.safetensors")
    assert again.card == model.card
    assert again.digest == model.digest
    assert all(torch.equal(again.weights[key], value) for key, value in model.weights.items())
    assert tiny_model(seed=1).digest != model.digest
    export_checkpoint(model, tmp_path / "a.pth")
    assert import_checkpoint(tmp_path / "a.pth", name="tiny").digest == model.digest


def test_damaged_models_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    tiny_model().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ModelError, match="cannot be read"):
        read_model(path)
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match="no card"):
        read_model(path)
    incomplete = {name: w for name, w in tiny_model().weights.items() if name != "conv_last.bias"}
    save_file(incomplete, path, metadata={"masked_denoiser": tiny_model().card.to_json()})
    with pytest.raises(ModelError, match=r"conv_last\.bias is missing"):
        read_model(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "no architecture"),
        ('{"architecture": {}, "format": 99}', "format 99"),
        (json.dumps({"architecture": {}, "format": 1}), "lacks or misuses"),
    ],
)
def test_damaged_cards_are_refused(text, words):
    with pytest.raises(ModelError, match=words):
        Card.from_json(text)


def test_catalogue_finds_bundled_and_own_models(tmp_path):
    assert DEFAULT in [entry.name for entry in list_models(tmp_path)]
    assert read_card(find_model(DEFAULT)).licence != "unknown"
    tiny_model().save(tmp_path / "mine.safetensors")
    assert load_model("mine", tmp_path).card == tiny_model().card
    assert find_model(str(tmp_path / "mine.safetensors")) == tmp_path / "mine.safetensors"
    with pytest.raises(ModelError, match="did you mean mine"):
        find_model("mien", tmp_path)
    with pytest.raises(ModelError, match="does not exist"):
        find_model("nowhere.pth", tmp_path)


def test_only_swin_networks_are_exported(tmp_path):
    model = Model(Card("u", UConfig(widths=(8,), blocks=(1,), attention=1, heads=2)), {})
    with pytest.raises(ModelError, match="no Swin network"):
        export_checkpoint(model, tmp_path / "u.pth")
    assert not list(tmp_path.iterdir())


def test_names_with_suffixes_are_found_and_reserved_ones_refused(tmp_path):
    tiny_model().save(tmp_path / "model_best.pth.safetensors")
    assert find_model("model_best.pth", tmp_path) == tmp_path / "model_best.pth.safetensors"
    for name in (AUTO, DEFAULT):
        with pytest.raises(ModelError, match="choose another name"):
            check_new_name(name)
    check_new_name("mine")
    with pytest.raises(ModelError, match="no home folder"):
        find_model("~nobody-has-this-name/a.pth", tmp_path)


def test_loaded_weights_are_independent_of_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    tiny_model().save(path)
    model = read_model(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size - 1024)
        file.write(bytes(1024))
    assert model.digest == tiny_model().digest
