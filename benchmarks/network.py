"""How fast networks are, against the plain formulation of the paper's network in the same run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from tifffile import imread
from torch import Tensor, nn

from benchmarks.measure import matrix_peak, seconds
from benchmarks.plain import plain
from masked_denoiser.evaluation.metrics import psnr
from masked_denoiser.inference.precision import Precision
from masked_denoiser.inference.runner import ModelRunner, computing
from masked_denoiser.models.catalogue import load_model
from masked_denoiser.models.file import Model
from masked_denoiser.network.masks import HashedTokenMask, RandomTokenMask
from masked_denoiser.samples import sample_path
from masked_denoiser.training.recipe import PAPER_RECIPE

#: Operations of the paper's network as the plain formulation does them, for each pixel.
_PAPER_FLOP = 1.92e6


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was run.
        plain, ours: seconds of the plain formulation in float32, and of ours.
        megapixels: that were worked on.
        difference: largest between the two results.
        lost: dB of PSNR that half precision loses on the sample slide; None for float32.
        peak_share: operations of the plain formulation a second, over the machine's matrix peak in that precision.
    """

    what: str
    plain: float
    ours: float
    megapixels: float
    difference: float
    lost: float | None
    peak_share: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the ratio and the rate."""
        return asdict(self) | {"times": self.plain / self.ours, "megapixels_a_second": self.megapixels / self.ours}


def network_rows(sides: tuple[int, ...], device: torch.device, precisions: tuple[Precision, ...]) -> list[Row]:
    """The paper's network against its plain formulation, then the default model against the paper's network."""
    peaks = {kind: matrix_peak(device, getattr(torch, kind)) for kind in precisions}
    model = load_model("paper-rgb")
    ours = model.build().to(device).eval()
    slow = plain(ours).to(device)
    tokens = HashedTokenMask(model.card.architecture.attention_mask, 0, 0, ((0, 0),))
    rows = []
    for side in sides:
        image = _image(side, device)
        runs = 2 if side <= 512 else 1  # a large image of the plain formulation takes a minute or two
        outs: list[Tensor] = []
        before = seconds(partial(_keep, outs, slow, image, tokens), device, runs)
        reference = outs[0]
        for kind in precisions:
            out = _run(ours, image, tokens, kind)
            after = seconds(partial(_run, ours, image, tokens, kind), device, runs)
            share = _PAPER_FLOP * side**2 / after / peaks[kind]
            name = f"paper's network, {side} x {side}, {kind}"
            lost = None if kind == "float32" else _lost(model, device, kind)
            rows.append(Row(name, before, after, side**2 / 1e6, _apart(out, reference), lost, share))
    fast = load_model("general-rgb").build().to(device).eval()
    image = _image(min(sides), device)
    before = seconds(partial(_run, ours, image, tokens, "float32"), device)
    after = seconds(partial(_run, fast, image, None, "float32"), device)
    name = "general-rgb against our paper's network, float32"
    return [*rows, Row(name, before, after, image[0, 0].numel() / 1e6, float("nan"), None, None)]


def training_rows(device: torch.device) -> list[Row]:
    """A step of the paper's recipe, with fewer patches: 8 of 64 x 64 pixels."""
    ours = load_model("paper-rgb").build().to(device).train()
    slow = plain(ours).to(device).train()
    images = torch.rand(8, 3, PAPER_RECIPE.patch, PAPER_RECIPE.patch, device=device)
    rows = []
    before = seconds(partial(_step, slow, images, "float32"), device)
    kinds: tuple[Precision, ...] = ("float32", "bfloat16")
    for kind in kinds:
        after = seconds(partial(_step, ours, images, kind), device)
        megapixels = images[:, 0].numel() / 1e6
        rows.append(Row(f"training step, paper's recipe, {kind}", before, after, megapixels, float("nan"), None, None))
    return rows


def _run(network: nn.Module, image: Tensor, tokens: HashedTokenMask | None, kind: Precision) -> Tensor:
    with torch.inference_mode(), computing(image.device, kind):
        out: Tensor = network(image, tokens)
    return out.float()


def _keep(outs: list[Tensor], network: nn.Module, image: Tensor, tokens: HashedTokenMask) -> None:
    outs.append(_run(network, image, tokens, "float32"))


def _step(network: nn.Module, images: Tensor, kind: Precision) -> None:
    """Forward and backward; what the optimiser does is the same for both."""
    tokens = RandomTokenMask(PAPER_RECIPE.attention_mask[0], torch.Generator(images.device).manual_seed(0))
    with torch.autocast(images.device.type, torch.bfloat16, enabled=kind == "bfloat16"):
        out = network(images, tokens)
    (out.float() - images).abs().mean().backward()
    network.zero_grad()


def _lost(model: Model, device: torch.device, kind: Precision) -> float:
    """PSNR in float32 minus that in half precision, on the middle of the noisy sample slide."""
    noisy, clean = (
        (np.moveaxis(imread(sample_path(name))[128:384, 128:384], 2, 0)[None] / 255).astype(np.float32)
        for name in ("slide", "slide-clean")
    )
    outs = (ModelRunner(model, device, precision=p)(noisy, ((0, 0),)).mean for p in ("float32", kind))
    exact, rounded = (psnr(np.clip(out, 0, 1), clean) for out in outs)
    return exact - rounded


def _image(side: int, device: torch.device) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((1, 3, side, side), np.float32)).to(device)


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())
