"""TorchScript of a model, as QuPath and DeepImageJ run it: one image in, one image out."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.jit._trace import TracerWarning

from masked_denoiser.models.export.check import Batch, check_export, takes_noise_map
from masked_denoiser.models.export.facts import facts
from masked_denoiser.models.export.traceable import TraceableDenoiser, example_image
from masked_denoiser.models.file import Model

#: File inside the archive with the facts about the model, as JSON.
FACTS_FILE = "masked_denoiser.json"


def write_torchscript(model: Model, path: Path) -> float:
    """Write a model as TorchScript, and return its largest difference from the network.

    Its method `forward` takes an image [B, C, H, W]. A network with a noise map also has `with_noise_std`, which takes
    the standard deviation of the noise, too.

    Raises:
        ModelError: if the results of the written file differ from those of the network; see `check_export`.
    """
    channels, grid = model.card.architecture.channels, model.card.architecture.grid
    image = example_image(channels, grid)
    inputs: dict[str, tuple[torch.Tensor, ...]] = {"forward": (image,)}
    noise_input = takes_noise_map(model)
    if noise_input:
        inputs["with_noise_std"] = (image, torch.full_like(image[:, :1], 0.1))
    network = TraceableDenoiser(model).requires_grad_(False).eval()
    with torchscript_accepted(), torch.no_grad():  # torch need not check the trace: the written file is checked
        traced = torch.jit.trace_module(network, inputs, check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(path), _extra_files={FACTS_FILE: json.dumps(facts(model.card, noise_input))})
        loaded = torch.jit.load(str(path))  # type: ignore[no-untyped-call]

    def run(images: Batch, noise_std: Batch | None) -> Batch:
        with torch.inference_mode():
            tensor = torch.from_numpy(images)
            out = loaded(tensor) if noise_std is None else loaded.with_noise_std(tensor, torch.from_numpy(noise_std))
        return out.numpy()  # type: ignore[no-any-return]

    return check_export(model, run, noise_input)


@contextmanager
def torchscript_accepted() -> Iterator[None]:
    """Silence two warnings of torch, and no others.

    It advises against TorchScript, which is the only format of torch that Java programs read. And it warns that numbers
    become constants of a trace; they do not depend on the image: the keys and shifts of the hash of token masks.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="torch.tensor results are registered", category=TracerWarning)
        yield
