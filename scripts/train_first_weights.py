"""Trains the first `paper-rgb` weights: the paper's network and masks, as far as a time budget goes.

    python scripts/train_first_weights.py DATA... --minutes 110 --checkpoint runs/first.pt

Run again with the same arguments, it goes on from the checkpoint. A finished run becomes the first
leg of a longer one with `--start MODEL.safetensors --masked-from 0.5` and a checkpoint of its own.
What differs from the paper (Chen et al., CVPR 2023) because an evening on a CPU is a thousandth of
its training: batch 8 instead of 64, a one-cycle learning rate to 1e-3 instead of 1e-4, bfloat16
autocast, and pixel masks phased in: the share of patches that are masked (each by 80-90 %) grows
from `--masked-from` to `--masked` over the first half. The attention mask is on from the first step
to the last, as it is at inference.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from masked_denoiser.models.card import Card
from masked_denoiser.models.file import Model, read_model
from masked_denoiser.network.config import PAPER
from masked_denoiser.network.masks import RandomTokenMask, mask_pixels
from masked_denoiser.network.swin import MaskedSwin

PATCH, BATCH, SIGMA, DECAY = 64, 8, 15.0, 0.999


@dataclass
class State:
    """All that a resumed run needs."""

    network: MaskedSwin
    average: MaskedSwin
    adam: torch.optim.Adam
    generator: torch.Generator
    step: int = 0
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        """Writes the checkpoint whole or not at all."""
        content = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "adam": self.adam.state_dict(),
            "generator": self.generator.get_state(),
            "position": torch.tensor([float(self.step), self.seconds]),
        }
        torch.save(content, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)

    def load(self, path: Path) -> None:
        """Goes back to a checkpoint."""
        content: dict[str, Any] = torch.load(path, weights_only=True)
        self.network.load_state_dict(content["network"])
        self.average.load_state_dict(content["average"])
        self.adam.load_state_dict(content["adam"])
        self.generator.set_state(content["generator"])
        self.step, self.seconds = int(content["position"][0]), float(content["position"][1])


def new_state(seed: int) -> State:
    """Untrained weights, drawn from `seed`."""
    torch.manual_seed(seed)
    network, average = MaskedSwin(PAPER), MaskedSwin(PAPER)
    average.load_state_dict(network.state_dict())
    adam = torch.optim.Adam(network.parameters())
    return State(network, average, adam, torch.Generator().manual_seed(seed))


def start(state: State, path: Path) -> None:
    """Begins with a model's weights instead of random ones."""
    weights = {name: tensor.float() for name, tensor in read_model(path).weights.items()}
    for network in (state.network, state.average):
        network.load_state_dict(weights)


def read_images(folders: list[Path]) -> list[Tensor]:
    """Every image of the folders as [3, H, W] uint8."""
    paths = sorted(p for f in folders for p in f.iterdir() if p.suffix in (".jpg", ".png", ".tif"))
    arrays = [np.asarray(Image.open(p).convert("RGB")) for p in paths]
    return [torch.from_numpy(a.copy()).permute(2, 0, 1).contiguous() for a in arrays]


def draw_batch(images: list[Tensor], generator: torch.Generator) -> Tensor:
    """Random patches, flipped and turned: [BATCH, 3, PATCH, PATCH] in [0, 1]."""

    def below(n: int) -> int:
        return int(torch.randint(n, (1,), generator=generator))

    patches = []
    for _ in range(BATCH):
        image = images[below(len(images))]
        y, x = (below(side - PATCH + 1) for side in image.shape[1:])
        patch = image[:, y : y + PATCH, x : x + PATCH].rot90(below(4), (1, 2))
        patches.append(patch.flip(2) if below(2) else patch)
    return torch.stack(patches).float() / 255


def learning_rate(progress: float) -> float:
    """As a part of the peak: linear warm-up over the first twentieth, then a cosine to nearly zero."""
    if progress < 0.05:
        return progress / 0.05 + 0.01
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (progress - 0.05) / 0.95)) + 1e-3


def masked_share(progress: float, args: argparse.Namespace) -> float:
    """The share of patches with masked pixels, growing over the first half."""
    return float(args.masked_from + (args.masked - args.masked_from) * min(1.0, 2 * progress))


def train_step(state: State, images: list[Tensor], progress: float, share: float, peak: float) -> float:
    """One step of Adam on one batch; returns its L1 loss."""
    g = state.generator
    clean = draw_batch(images, g)
    noisy = (clean + torch.randn(clean.shape, generator=g) * (SIGMA / 255)).clamp(0, 1)
    masked, _ = mask_pixels(noisy, 0.8, 0.9, g)
    chosen = torch.rand(BATCH, 1, 1, 1, generator=g) < share
    for group in state.adam.param_groups:
        group["lr"] = peak * learning_rate(progress)
    with torch.autocast("cpu", torch.bfloat16):
        out = state.network(torch.where(chosen, masked, noisy), RandomTokenMask(PAPER.attention_mask, g))
    loss = (out.float() - clean).abs().mean()
    state.adam.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
    state.adam.step()
    update_average(state)
    return float(loss.detach())


@torch.no_grad()
def update_average(state: State) -> None:
    """Exponential moving average of the weights, short while there is little to average."""
    decay = min(DECAY, (1 + state.step) / (10 + state.step))
    for slow, fast in zip(state.average.parameters(), state.network.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)


def export(state: State, args: argparse.Namespace) -> None:
    """Writes the averaged weights with a card that says what they are, float16 on disk."""
    training = {
        "recipe": "scripts/train_first_weights.py; the paper's network and masks, a thousandth of its steps",
        "steps": state.step,
        "hours_on_cpu": round(state.seconds / 3600, 2),
        "hardware": f"{args.threads} to 2 threads of a shared server CPU, bfloat16 autocast",
        "batch": BATCH,
        "patch": PATCH,
        "noise": f"gaussian(sigma={SIGMA:g})",
        "loss": "L1",
        "optimiser": f"Adam, one cycle to {args.peak:g}, {args.minutes:g} minutes planned",
        "ema": DECAY,
        "attention_mask": PAPER.attention_mask,
        "input_mask": "80-90 % of the pixels, in a share of the patches that grows "
        f"from {args.masked_from:g} to {args.masked:g}",
        "paper": "200 000 steps of batch 64 at 1e-4, every patch masked",
        "seed": args.seed,
    }
    if args.start:
        training["earlier"] = read_model(args.start).card.training
    card = Card(
        name=args.export.stem,
        architecture=PAPER,
        description="The network of Chen et al. 2023, trained for an evening on a CPU: a first model, to be replaced.",
        training=training,
        data=[
            "BSDS500 train and test, 400 photographs (no licence stated; research use is customary)",
            "Data Science Bowl 2018 stage 1, 107 stained tissue images (CC0)",
        ],
        licence="BSD-3-Clause",
        version="0",
        source="trained from random weights for napari-masked-denoiser",
    )
    Model(card, state.average.state_dict()).save(args.export, torch.float16)
    print(f"wrote {args.export}, step {state.step}")


def main() -> None:
    """Trains until the budget of training time is used up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--minutes", type=float, default=110.0)
    parser.add_argument("--masked", type=float, default=0.5, help="final share of patches with masked pixels")
    parser.add_argument("--masked-from", type=float, default=0.0, help="share of patches with masked pixels at first")
    parser.add_argument("--peak", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument(
        "--start", type=Path, help="begin with the weights of this model; its card becomes a leg of ours"
    )
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/first.pt"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--export", type=Path, help="train no more: write the averaged weights as a model")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    state = new_state(args.seed)
    if args.start:
        start(state, args.start)
    if args.checkpoint.exists():
        state.load(args.checkpoint)
    if args.export:
        export(state, args)
        return
    images = read_images(args.data)
    losses: list[float] = []
    while (progress := state.seconds / (60 * args.minutes)) < 1.0:
        began = time.monotonic()
        losses.append(train_step(state, images, progress, masked_share(progress, args), args.peak))
        state.step += 1
        state.seconds += time.monotonic() - began
        if state.step % 20 == 0:
            state.save(args.checkpoint)
            row = {"step": state.step, "minutes": round(state.seconds / 60, 1), "loss": np.mean(losses[-20:]).round(5)}
            print(json.dumps(row), flush=True)
    state.save(args.checkpoint)


if __name__ == "__main__":
    main()
