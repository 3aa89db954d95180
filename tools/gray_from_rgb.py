"""Convert an RGB general model to a gray one, as a start for training.

    python tools/gray_from_rgb.py general-rgb gray-start.safetensors

The first convolution of the gray network sums the weights of the colours and the last one averages them, so that it
starts with the mean output of the RGB network. The mean that the RGB network subtracts goes into the bias.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from masked_denoiser.models.catalogue import load_model
from masked_denoiser.models.file import Model
from masked_denoiser.network.ushape_config import UConfig


def main() -> None:
    """Read, convert and write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    gray_from_rgb(load_model(arguments.model)).save(arguments.output)


def gray_from_rgb(model: Model) -> Model:
    """Return the gray model; its card names the RGB model as its source."""
    config = model.card.architecture
    assert isinstance(config, UConfig)
    assert config.channels == 3
    weights = {key: tensor.float() for key, tensor in model.weights.items()}
    square = config.unshuffle**2
    stem = weights["stem.weight"]
    colours = stem[:, : 3 * square].reshape(len(stem), 3, square, *stem.shape[2:])
    weights["stem.bias"] = weights["stem.bias"] - _mean_contribution(colours, config.mean)
    weights["stem.weight"] = torch.cat([colours.sum(dim=1), stem[:, 3 * square :]], dim=1)
    for name in ("head.weight", "head.bias"):
        weights[name] = weights[name].reshape(3, square, *weights[name].shape[1:]).mean(dim=0)
    card = replace(
        model.card,
        name=f"{model.card.name}, gray",
        architecture=replace(config, channels=1, mean=(0.0,)),
        source=f"{model.card.name} {model.digest}",
    )
    return Model(card, {key: tensor.contiguous() for key, tensor in weights.items()})


def _mean_contribution(colours: Tensor, mean: tuple[float, ...]) -> Tensor:
    """Return what the mean colour adds to the output of the first convolution, [channels]."""
    return (colours * colours.new_tensor(mean)[None, :, None, None, None]).sum(dim=(1, 2, 3, 4))


if __name__ == "__main__":
    main()
