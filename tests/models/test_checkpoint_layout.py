"""Weights are found in the dictionaries of any trainer, and after any prefix."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from masked_denoiser.cli.main import main
from masked_denoiser.errors import ModelError
from masked_denoiser.evaluation.tile_error import tiny_model
from masked_denoiser.models.checkpoint_layout import find_weights
from masked_denoiser.models.file import read_model
from masked_denoiser.models.reference import import_checkpoint

PLAIN, AVERAGED = tiny_model(0).weights, tiny_model(1).weights
OPTIMISER = {"state": {0: {"exp_avg": torch.zeros(3), "step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}
KEYS = st.sampled_from(
    ["params", "state_dict", "model", "model_state_dict", "net", "net_g", "generator", "weights", "best", "0", "a.b"]
)
PREFIXES = st.sampled_from(["module", "_orig_mod", "model", "net", "network", "generator", "denoiser", "net_g"])


def prefixed(weights, prefix):
    return {prefix + key: tensor for key, tensor in weights.items()}


def same(weights, expected):
    return weights.keys() == expected.keys() and all(torch.equal(weights[key], t) for key, t in expected.items())


@given(st.lists(KEYS, max_size=3), st.lists(PREFIXES, max_size=3), st.booleans())
def test_nested_and_prefixed_weights_are_found(keys, segments, with_others):
    content = prefixed(PLAIN, "".join(f"{segment}." for segment in segments))
    if with_others:
        content |= {"loss.vgg.weight": torch.zeros(2)} if segments else {}
    for key in reversed(keys):
        content = {"epoch": 3, "optimizer": OPTIMISER, key: content, "scores": [1.0, 2.0]}
    found = find_weights(content, "a.pth")
    assert same(found.tensors, PLAIN)
    assert not found.averaged
    assert all(part in found.place for part in (*keys, *segments))


PAIRS = {
    "BasicSR": ({"params": PLAIN, "params_ema": AVERAGED}, "params", "params_ema"),
    "two files": ({"net_g": PLAIN, "net_g_ema": AVERAGED}, "net_g", "net_g_ema"),
    "in depth": ({"a": {"model": PLAIN}, "ema": {"b": {"model": AVERAGED}}}, "a / model", "ema / b / model"),
    "one dictionary": (prefixed(PLAIN, "a.") | prefixed(AVERAGED, "ema_model.module."), "a.", "ema_model.module."),
    "averaged inside": (PLAIN | prefixed(AVERAGED, "ema."), "at the top", "ema."),
    "of torch": (
        {"net": PLAIN, "b": {"n_averaged": torch.tensor(5)} | prefixed(AVERAGED, "module.")}, "net", "b / module.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "plain", "averaged"), PAIRS.values(), ids=PAIRS)
def test_averaged_weights_are_preferred_and_named(content, plain, averaged):
    found = find_weights(content, "a.pth")
    assert same(found.tensors, AVERAGED)
    assert found.description == f", averaged weights {averaged!r} (not {plain!r})"
    other = find_weights(content, "a.pth", ema=False)
    assert same(other.tensors, PLAIN)
    assert other.description == f", weights {plain!r} (not {averaged!r})"


def test_wrappers_inside_names_are_removed():
    content = {key.replace("layers.0.", "layers.0._orig_mod.module."): tensor for key, tensor in PLAIN.items()}
    assert content.keys() != PLAIN.keys()
    assert same(find_weights(content, "a.pth").tensors, PLAIN)


def test_parameters_are_imported_as_plain_tensors(tmp_path):
    parameters = {key: torch.nn.Parameter(tensor.half()) for key, tensor in PLAIN.items()}
    torch.save({"model": parameters}, tmp_path / "a.pth")
    assert not any(tensor.requires_grad for tensor in import_checkpoint(tmp_path / "a.pth").weights.values())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"epoch": 3, "lr": 0.1},
            "a.pth holds no tensors with names, but a dictionary with the keys 'epoch', 'lr'; g",
        ),
        ([PLAIN["conv_first.weight"]], "holds no tensors with names, but a list; give the state_dict"),
        (
            {"state_dict": {"encoder.0.weight": torch.zeros(1)}, "optimizer": OPTIMISER, "ema": {"w": torch.zeros(1)}},
            "a.pth has no tensor 'conv_first.weight'; it is not a SwinIR denoiser: 'state_dict' has 1 tensors "
            "('encoder.0.weight'), 'ema' has 1 tensors ('w')",
        ),
    ],
)
def test_error_lists_what_was_found(content, words):
    with pytest.raises(ModelError) as caught:
        find_weights(content, "a.pth")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_command_says_which_weights_were_taken(tmp_path, capsys):
    torch.save({"params": PLAIN, "params_ema": AVERAGED}, tmp_path / "a.pth")
    assert main(["models", "import", str(tmp_path / "a.pth"), "--output", str(tmp_path / "b.safetensors")]) == 0
    assert "Imported from a.pth, averaged weights 'params_ema' (not 'params'); global skip" in capsys.readouterr().out
    assert same(read_model(tmp_path / "b.safetensors").weights, AVERAGED)
