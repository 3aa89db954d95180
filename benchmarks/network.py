"""Speed of networks, relative to the plain formulation of the paper's network in the same run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from tifffile import imread
from torch import Tensor, nn

from benchmarks.measure import measure_matrix_peak, seconds
from benchmarks.plain import to_plain
from masked_denoiser.evaluation.metrics import psnr
from masked_denoiser.inference.precision import Precision
from masked_denoiser.inference.runner import ModelRunner, precision_context
from masked_denoiser.models.catalogue import load_model
from masked_denoiser.models.file import Model
from masked_denoiser.network.masks import HashedTokenMask, RandomTokenMask
from masked_denoiser.samples import sample_path
from masked_denoiser.training.recipe import PAPER_RECIPE

#: Operations per pixel of the plain formulation of the paper's network.
_PAPER_FLOP = 1.92e6


@dataclass(frozen=True)
class Row:
    """Row of the table.

    Attributes:
        what: description of the run.
        plain, ours: seconds of the plain formulation in float32, and of our network.
        megapixels: number of pixels processed, in millions.
        difference: largest absolute difference of the two results.
        lost: loss of PSNR in dB by half precision on the sample slide; None for float32.
        peak_share: operations of the plain formulation per second, as a share of the matrix peak in that precision.
    """

    what: str
    plain: float
    ours: float
    megapixels: float
    difference: float
    lost: float | None
    peak_share: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON, with speed-up and rate."""
        return asdict(self) | {"times": self.plain / self.ours, "megapixels_a_second": self.megapixels / self.ours}


def measure_network(sides: tuple[int, ...], device: torch.device, precisions: tuple[Precision, ...]) -> list[Row]:
    """Compare the paper's network with its plain formulation, and the default model with the paper's network."""
    peaks = {kind: measure_matrix_peak(device, getattr(torch, kind)) for kind in precisions}
    model = load_model("paper-rgb")
    ours = model.build().to(device).eval()
    plain = to_plain(ours).to(device)
    tokens = HashedTokenMask(model.card.architecture.attention_mask, 0, 0, ((0, 0),))
    rows = []
    for side in sides:
        image = _image(side, device)
        runs = 2 if side <= 512 else 1  # the plain formulation takes a minute or two for a large image
        outs: list[Tensor] = []
        before = seconds(partial(_append_output, outs, plain, image, tokens), device, runs)
        reference = outs[0]
        for kind in precisions:
            out = _run(ours, image, tokens, kind)
            after = seconds(partial(_run, ours, image, tokens, kind), device, runs)
            share = _PAPER_FLOP * side**2 / after / peaks[kind]
            name = f"paper's network, {side} x {side}, {kind}"
            lost = None if kind == "float32" else _psnr_loss(model, device, kind)
            rows.append(Row(name, before, after, side**2 / 1e6, _largest_difference(out, reference), lost, share))
    fast = load_model("general-rgb").build().to(device).eval()
    image = _image(min(sides), device)
    before = seconds(partial(_run, ours, image, tokens, "float32"), device)
    after = seconds(partial(_run, fast, image, None, "float32"), device)
    name = "general-rgb against our paper's network, float32"
    return [*rows, Row(name, before, after, image[0, 0].numel() / 1e6, float("nan"), None, None)]


def measure_training(device: torch.device) -> list[Row]:
    """Time a training step of the paper's recipe with fewer patches: 8 of 64 x 64 pixels."""
    ours = load_model("paper-rgb").build().to(device).train()
    plain = to_plain(ours).to(device).train()
    images = torch.rand(8, 3, PAPER_RECIPE.patch, PAPER_RECIPE.patch, device=device)
    rows = []
    before = seconds(partial(_step, plain, images, "float32"), device)
    kinds: tuple[Precision, ...] = ("float32", "bfloat16")
    for kind in kinds:
        after = seconds(partial(_step, ours, images, kind), device)
        megapixels = images[:, 0].numel() / 1e6
        rows.append(Row(f"training step, paper's recipe, {kind}", before, after, megapixels, float("nan"), None, None))
    return rows


def _run(network: nn.Module, image: Tensor, tokens: HashedTokenMask | None, kind: Precision) -> Tensor:
    with torch.inference_mode(), precision_context(image.device, kind):
        out: Tensor = network(image, tokens)
    return out.float()


def _append_output(outs: list[Tensor], network: nn.Module, image: Tensor, tokens: HashedTokenMask) -> None:
    outs.append(_run(network, image, tokens, "float32"))


def _step(network: nn.Module, images: Tensor, kind: Precision) -> None:
    """Run forward and backward; the optimiser is left out, since it is the same for both."""
    tokens = RandomTokenMask(PAPER_RECIPE.attention_mask[0], torch.Generator(images.device).manual_seed(0))
    with torch.autocast(images.device.type, torch.bfloat16, enabled=kind == "bfloat16"):
        out = network(images, tokens)
    (out.float() - images).abs().mean().backward()
    network.zero_grad()


def _psnr_loss(model: Model, device: torch.device, kind: Precision) -> float:
    """Return the PSNR in float32 minus that in half precision, on the middle of the noisy sample slide."""
    noisy, clean = (
        (np.moveaxis(imread(sample_path(name))[128:384, 128:384], 2, 0)[None] / 255).astype(np.float32)
        for name in ("slide", "slide-clean")
    )
    outs = (ModelRunner(model, device, precision=p)(noisy, ((0, 0),)).mean for p in ("float32", kind))
    exact, rounded = (psnr(np.clip(out, 0, 1), clean) for out in outs)
    return exact - rounded


def _image(side: int, device: torch.device) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((1, 3, side, side), np.float32)).to(device)


def _largest_difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())
