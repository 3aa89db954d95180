"""Speed of networks, relative to the plain formulation of the paper's network in the same run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import measure_matrix_peak, seconds
from benchmarks.plain import to_plain
from masked_denoiser.inference.precision import Precision
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.inference.tune_precision import measure_loss
from masked_denoiser.models.catalogue import load_model
from masked_denoiser.models.file import Model
from masked_denoiser.network.exact import exact_float32
from masked_denoiser.network.masks import HashedTokenMask, RandomTokenMask
from masked_denoiser.training.recipe import PAPER_RECIPE

#: Operations per pixel of the plain formulation of the paper's network.
_PAPER_FLOP = 1.92e6

#: Side of a tile of a job with its halo, on which the default model is measured.
_TILE = 576

#: Number of runs, of which the fastest counts.
_RUNS = 4


@dataclass(frozen=True)
class Row:
    """Row of the table.

    Attributes:
        what: description of the run.
        plain, ours: seconds of what it is compared with in float32, and of our network as jobs run it.
        megapixels: number of pixels processed, in millions.
        difference: largest absolute difference of the two results.
        lost: loss of PSNR in dB by half precision on the sample slide with weak noise; None for float32.
        peak_share: operations of what it is compared with per second, as a share of the matrix peak in that precision.
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
    """Compare the paper's network with its plain formulation, and the default model with its layers in turn."""
    peaks = {kind: measure_matrix_peak(device, getattr(torch, kind)) for kind in precisions}
    model = load_model("paper-rgb")
    plain = to_plain(model.build()).to(device).eval()
    tokens = HashedTokenMask(model.card.architecture.attention_mask, 0, 0, ((0, 0),))
    rows = []
    for side in sides:
        image = _image(side, device)
        outs: list[Tensor] = []
        before = seconds(partial(_append_output, outs, plain, image, tokens), device, _runs(side))
        name = f"paper's network, {side} x {side}"
        rows += [
            _compare(name, model, kind, before, outs[0], _PAPER_FLOP * side**2 / peaks[kind]) for kind in precisions
        ]
    return [*rows, *_measure_default(device, precisions, peaks)]


def _measure_default(
    device: torch.device, precisions: tuple[Precision, ...], peaks: dict[Precision, float]
) -> list[Row]:
    """Compare the default model with its layers, one by one in float32."""
    model = load_model("general-rgb")
    layers, image = model.build().to(device).eval(), _image(_TILE, device)
    with FlopCounterMode(display=False) as counter:
        reference = _run(layers, image, None)
    before = seconds(partial(_run, layers, image, None), device, _RUNS)
    name, flop = f"general-rgb, {_TILE} x {_TILE}", counter.get_total_flops()
    return [_compare(name, model, kind, before, reference, flop / peaks[kind]) for kind in precisions]


def _compare(name: str, model: Model, kind: Precision, before: float, reference: Tensor, at_peak: float) -> Row:
    """Return the row of a model in a precision.

    Args:
        name: of the network and the image.
        model: whose network is run as in jobs.
        kind: precision.
        before: seconds of what it is compared with.
        reference: its result, [1, C, H, W].
        at_peak: seconds of its operations at the peak of matrix products in this precision.
    """
    side = reference.shape[-1]
    runner, image = ModelRunner(model, reference.device, precision=kind), _image(side, reference.device).cpu().numpy()
    out = runner(image, ((0, 0),)).mean
    after = seconds(partial(runner, image, ((0, 0),)), reference.device, _runs(side))
    difference = float(np.abs(out - reference.cpu().numpy()).max())
    lost = None if kind == "float32" else measure_loss(model, reference.device, kind)
    return Row(f"{name}, {kind}", before, after, side**2 / 1e6, difference, lost, at_peak / after)


def _runs(side: int) -> int:
    """Return the number of timed runs; the plain formulation takes minutes for a large image."""
    return _RUNS if side <= _TILE else 1


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


def _run(network: nn.Module, image: Tensor, tokens: HashedTokenMask | None) -> Tensor:
    with torch.inference_mode(), exact_float32():
        out: Tensor = network(image, tokens)
    return out


def _append_output(outs: list[Tensor], network: nn.Module, image: Tensor, tokens: HashedTokenMask) -> None:
    outs.append(_run(network, image, tokens))


def _step(network: nn.Module, images: Tensor, kind: Precision) -> None:
    """Run forward and backward; the optimiser is left out, since it is the same for both."""
    tokens = RandomTokenMask(PAPER_RECIPE.attention_mask[0], torch.Generator(images.device).manual_seed(0))
    with torch.autocast(images.device.type, torch.bfloat16, enabled=kind == "bfloat16"):
        out = network(images, tokens)
    (out.float() - images).abs().mean().backward()
    network.zero_grad()


def _image(side: int, device: torch.device) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((1, 3, side, side), np.float32)).to(device)
