"""ONNX of a model: an image of any size in, the same size out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from masked_denoiser.models.export.check import Batch, check_export, takes_noise_map
from masked_denoiser.models.export.facts import facts
from masked_denoiser.models.export.packages import optional_package
from masked_denoiser.models.export.traceable import TraceableDenoiser, example_image
from masked_denoiser.models.file import Model
from masked_denoiser.version import DISTRIBUTION, program_version

#: Versions of the ONNX operators and of the file format: those of early 2023, for programs with older runtimes.
OPSET, _IR_VERSION = 18, 8

_PURPOSE = "exporting to ONNX"


def write_onnx(model: Model, path: Path, noise_input: bool = True) -> float:
    """Write a model as ONNX, and return its largest difference from the network in onnxruntime.

    Its input `image` and output `denoised` have any batch, height and width. A network with a noise map has a second
    input, `noise_std`, which may be omitted.

    Args:
        model: the model.
        path: file to write.
        noise_input: false omits the input `noise_std`, for programs that give a model one image.

    Raises:
        ModelError: if a package is missing, or if the results of the written file differ from those of the network; see
            `check_export`.
    """
    onnx, runtime = (optional_package(name, _PURPOSE) for name in ("onnx", "onnxruntime"))
    optional_package("onnxscript", _PURPOSE)
    noise_input = noise_input and takes_noise_map(model)
    proto = _record(model, noise_input)
    proto.producer_name, proto.producer_version = DISTRIBUTION, program_version()
    proto.doc_string = model.card.description
    onnx.helper.set_model_props(proto, facts(model.card, noise_input))
    onnx.checker.check_model(proto)
    onnx.save(proto, str(path))
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # it warns of every input that may be omitted
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: Batch, noise_std: Batch | None) -> Batch:
        inputs = {"image": images} | ({} if noise_std is None else {"noise_std": noise_std})
        (out,) = session.run(["denoised"], inputs)
        return np.asarray(out)

    return check_export(model, run, noise_input)


def _record(model: Model, noise_input: bool) -> Any:
    """Return the record of a network as an `onnx.ModelProto`."""
    channels, grid = model.card.architecture.channels, model.card.architecture.grid
    image = example_image(channels, grid)
    examples = {"image": image}
    shapes = {"image": {0: "batch", 2: "height", 3: "width"}}
    if noise_input:
        examples["noise_std"] = torch.full_like(image[:, :1], 0.1)
        shapes["noise_std"] = {0: "noise_batch", 2: "noise_height", 3: "noise_width"}
    network = TraceableDenoiser(model).requires_grad_(False).eval()
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            network,
            tuple(examples.values()),
            input_names=list(examples),
            output_names=["denoised"],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=tuple(shapes.values()),
            verbose=False,
        )
    proto = _without_traces(program.model_proto)  # type: ignore[union-attr]
    for index, name in shapes["image"].items():  # the exporter does not see that the result is as large as the image
        proto.graph.output[0].type.tensor_type.shape.dim[index].dim_param = name
    if noise_input:  # an input with an initial value may be omitted
        onnx = optional_package("onnx", _PURPOSE)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((1, 1, 1, 1), np.float32), "noise_std"))
    return proto


def _without_traces(proto: Any) -> Any:
    """Return a record without the stack traces of the exporter, which name folders of this machine and are large."""
    for part in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    proto.graph.ClearField("metadata_props")
    proto.ir_version = _IR_VERSION
    return proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch's own exporter does not do as torch advises, and that it has no operators of torchvision."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)
