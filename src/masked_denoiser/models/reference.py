"""Import of published checkpoints: SwinIR and masked SwinIR denoisers, as KAIR and other trainers save them (`.pth`).

Such a file contains tensors and no description, so the architecture is inferred from names and shapes.
Four settings leave no trace in the tensors (body skip, global skip, mean, attention mask): they are inferred from the
first convolution, 1x1 in the masked network and 3x3 in SwinIR, unless the caller gives them. Files that this program
exported also contain the card, which states them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from math import inf, isqrt, nextafter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from masked_denoiser.atomic_file import replaced_atomically
from masked_denoiser.errors import ConfigError, ModelError
from masked_denoiser.messages import clean_text
from masked_denoiser.models.card import Card
from masked_denoiser.models.checkpoint import read_checkpoint
from masked_denoiser.models.checkpoint_layout import find_weights
from masked_denoiser.models.file import Model, check_numbers, check_weights
from masked_denoiser.network.build import NetworkConfig, build_network
from masked_denoiser.network.config import RGB_MEAN, Residual, SwinConfig

#: Buffers in published files that follow from the architecture, and are ignored.
_DERIVED_BUFFERS = re.compile(r"(^|\.)(relative_position_index|attn_mask|mean)$")

#: Key of the card in an exported file, next to the weights; other programs read `params` only.
_CARD_KEY = "masked_denoiser"

#: Key of a tensor of a block, with the numbers of its group and block.
_BLOCK_KEY = re.compile(r"^layers\.(\d{1,9})\.residual_group\.blocks\.(\d{1,9})\.")


def import_checkpoint(
    path: str | Path,
    *,
    name: str | None = None,
    ema: bool = True,
    global_skip: bool | None = None,
    attention_mask: float | None = None,
    licence: str = "",
) -> Model:
    """Read a reference checkpoint.

    Args:
        path: `.pth` file, read with `weights_only=True`, so that no code in it can run.
        name: name of the model; that of the file by default.
        ema: whether to take the averaged weights (such as `params_ema`) of a file that has both.
        global_skip: whether the network predicts a correction; by default false for a 1x1 first
            convolution (the masked network) and true for 3x3 (SwinIR). The skip around the groups is absent in
            the former and present in the latter.
        attention_mask: share of masked tokens; by default 0.75 for 1x1 and 0 for 3x3.
        licence: licence of the weights, as their authors state it; by default that of the card, else "unknown".

    Raises:
        ModelError: if the file cannot be read or belongs to another kind of network, naming what does not match.
    """
    path = Path(path)
    shown = clean_text(path.name)
    content = read_checkpoint(path)
    tensors, where = _find_weights(content, path.name, ema)
    weights = {key: t.float() for key, t in tensors.items() if not _DERIVED_BUFFERS.search(key)}
    check_numbers(weights, path.name)
    exported = _exported_card(content, path.name)
    if exported is not None and (global_skip is not None or attention_mask is not None):
        raise ModelError(f"{path.name} states its network itself; omit --global-skip and --attention-mask")
    config = _stated_config(exported) or _with_stored_mean(infer_config(weights, path.name), tensors, path.name)
    if global_skip is not None:
        config = replace(config, global_skip=global_skip)
    if attention_mask is not None:
        config = replace(config, attention_mask=attention_mask)
    card = exported or Card(
        name=name or path.stem,
        architecture=config,
        description=f"Imported from {shown}{where}; global skip {config.global_skip} and attention mask "
        f"{config.attention_mask} are not recorded in such files and were inferred or given.",
        source=shown,
    )
    card = replace(card, name=name or path.stem, architecture=config, licence=licence or card.licence)
    with torch.device("meta"):  # fails here, not in the middle of a job
        check_weights(weights, build_network(config), path.name)
    return Model(card, weights)


def export_checkpoint(model: Model, path: str | Path) -> None:
    """Write the weights in KAIR's layout (`params`), for other programs, and the card for `import_checkpoint`.

    Raises:
        ModelError: if the network is not a Swin network, which other programs do not have.
    """
    if not isinstance(model.card.architecture, SwinConfig):
        raise ModelError(f"{model.card.name} is no Swin network; only Swin networks can be exported for other programs")
    with replaced_atomically(Path(path)) as temporary, temporary.open("wb") as file:
        torch.save({"params": model.weights, _CARD_KEY: model.card.to_json()}, file)


def settings_without_tensors(config: SwinConfig) -> str:
    """Return the settings of a network that its tensors do not show, which users of another program must set."""
    mean = ", ".join(f"{value:g}" for value in config.mean)
    return (
        f"first convolution added after the groups: {config.body_skip}; input added to the output: "
        f"{config.global_skip}; mean: {mean}; masked attention tokens: {config.attention_mask:.0%}"
    )


def infer_config(weights: dict[str, Tensor], name: str = "the checkpoint") -> SwinConfig:
    """Infer the architecture from the names and shapes of its tensors.

    Raises:
        ModelError: if a tensor is missing or has an impossible shape, naming it.
    """
    first = _tensor_shape(weights, "conv_first.weight", 4, name)
    table = _tensor_shape(weights, "layers.0.residual_group.blocks.0.attn.relative_position_bias_table", 2, name)
    hidden = _tensor_shape(weights, "layers.0.residual_group.blocks.0.mlp.fc1.weight", 2, name)
    last = _tensor_shape(weights, "conv_last.weight", 4, name)
    embed, channels, kernel, _ = first
    if last[0] != channels:
        raise ModelError(f"{name}: conv_last makes {last[0]} channels of {channels}; import plain denoisers only")
    depths = _depths(weights, name)
    masked = kernel == 1
    try:
        return SwinConfig(
            channels=channels,
            embed=embed,
            depths=depths,
            heads=tuple(_heads(weights, group, name) for group in range(len(depths))),
            window=(isqrt(table[0]) + 1) // 2,
            mlp_ratio=_mlp_ratio(hidden[0], embed),
            first_kernel=kernel,
            residual=_residual_kind(weights, name),
            body_skip=not masked,
            global_skip=not masked,
            qkv_bias="layers.0.residual_group.blocks.0.attn.qkv.bias" in weights,
            mean=RGB_MEAN if channels == 3 else (0.0,) * channels,
            attention_mask=0.75 if masked else 0.0,
        )
    except ConfigError as error:
        raise ModelError(f"{name}: {error}") from error


def _mlp_ratio(hidden: int, embed: int) -> float:
    """Return a ratio that gives a hidden width again: `int(ratio * embed)` is one less for some widths."""
    ratio = hidden / embed
    return ratio if int(embed * ratio) == hidden else nextafter(ratio, inf)


def _exported_card(content: Any, name: str) -> Card | None:
    """Return the card in a file that this program exported; None in others."""
    text = content.get(_CARD_KEY) if isinstance(content, dict) else None
    if not isinstance(text, str):
        return None
    try:
        return Card.from_json(text)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error


def _stated_config(card: Card | None) -> SwinConfig | None:
    """Return the configuration in the card of an exported file; None if there is none."""
    return card.architecture if card is not None and isinstance(card.architecture, SwinConfig) else None


def _with_stored_mean(config: SwinConfig, tensors: dict[str, Tensor], name: str) -> SwinConfig:
    """Return a configuration with the mean that some trainers store as a buffer, if it fits the channels.

    Raises:
        ModelError: if it is not in [0, 1], so that it belongs to images of another scale.
    """
    stored = tensors.get("mean")
    if stored is None or stored.numel() != config.channels:
        return config
    mean = tuple(stored.double().flatten().tolist())
    if not all(0 <= value <= 1 for value in mean):
        raise ModelError(f"{name}: its mean is {mean}, not in [0, 1]; scale it, or remove it from the file")
    same = np.array_equal(np.array(mean, np.float32), np.array(config.mean, np.float32))
    return config if same else replace(config, mean=mean)


def _find_weights(content: Any, name: str, ema: bool) -> tuple[dict[str, Tensor], str]:
    """Return the weights in a checkpoint by their published names, and where in it they were found."""
    found = find_weights(content, name, ema=ema)
    tensors = found.tensors
    # Some denoisers were saved with a pixel shuffle by one, the identity, as their last layer.
    renames = {"upsample.0.weight": "conv_last.weight", "upsample.0.bias": "conv_last.bias"}
    if "conv_last.weight" not in tensors:
        tensors = {renames.get(key, key): t for key, t in tensors.items()}
    return tensors, found.description


def _tensor_shape(weights: dict[str, Tensor], key: str, dimensions: int, name: str) -> tuple[int, ...]:
    if key not in weights:
        raise ModelError(f"{name} has no tensor {key!r}; it is not a SwinIR denoiser")
    shape = tuple(weights[key].shape)
    if len(shape) != dimensions or 0 in shape:
        raise ModelError(f"{name}: {key} has shape {shape}, but {dimensions} dimensions were expected")
    return shape


def _depths(weights: dict[str, Tensor], name: str) -> tuple[int, ...]:
    """Return the number of blocks in each group, from the numbers in the tensor names."""
    blocks = {(int(m[1]), int(m[2])) for key in weights if (m := _BLOCK_KEY.match(key))}
    counts = Counter(group for group, _ in blocks)
    depths = tuple(counts[group] for group in range(len(counts)))  # 0 if a group is missing
    if blocks != {(g, b) for g, depth in enumerate(depths) for b in range(depth)}:
        raise ModelError(f"{name}: its block numbers have gaps; the file is incomplete")
    return depths


def _heads(weights: dict[str, Tensor], group: int, name: str) -> int:
    key = f"layers.{group}.residual_group.blocks.0.attn.relative_position_bias_table"
    return _tensor_shape(weights, key, 2, name)[1]


def _residual_kind(weights: dict[str, Tensor], name: str) -> Residual:
    if "conv_after_body.weight" in weights:
        return "1conv"
    _tensor_shape(weights, "conv_after_body.0.weight", 4, name)
    return "3conv"


def parameter_count(config: NetworkConfig) -> int:
    """Return the number of trainable parameters of an architecture, without allocating them."""
    with torch.device("meta"):
        return sum(p.numel() for p in build_network(config).parameters())
