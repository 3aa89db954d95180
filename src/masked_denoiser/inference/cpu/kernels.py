"""Convolutions and linear layers by oneDNN, with prepacked weights and fused pointwise operations.

These are the operators that torch's compiler chooses on CPUs; calling them directly needs no compiler. They are not
part of torch's stable interface, so `unavailable_reason` compares each with torch's own layers before they are used.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name)

#: Largest relative difference from torch's own layers, by precision: some roundings of the result.
_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.03}

#: Namespace of the operators.
_OPERATORS: Any = torch.ops.mkldnn


class PackedConv:
    """Convolution with fused pointwise operations, on [B, C, H, W] in channels-last order.

    Args:
        conv: layer whose weights are copied.
        dtype: of weights, inputs and results.
        shape: typical input [B, C, H, W], for which the weights are arranged; others are permitted.
    """

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype, shape: tuple[int, int, int, int]) -> None:
        reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # the stub omits its last argument
        settings = _pair(conv.padding), _pair(conv.stride), _pair(conv.dilation), conv.groups
        weight = conv.weight.detach().to(dtype).to_mkldnn()
        self._weight: Tensor = reorder(weight, *settings, shape)
        self._settings = settings
        self._bias = None if conv.bias is None else conv.bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the convolution."""
        return self._run(x, "none", [], "")

    def gelu(self, x: Tensor) -> Tensor:
        """Return the GELU of the convolution."""
        return self._run(x, "gelu", [], "none")

    def leaky_relu(self, x: Tensor, slope: float) -> Tensor:
        """Return the leaky ReLU of the convolution."""
        return self._run(x, "leaky_relu", [slope], "")

    def add(self, x: Tensor, other: Tensor) -> Tensor:
        """Return the convolution plus another image of the same shape and memory order."""
        run = _OPERATORS._convolution_pointwise.binary
        out: Tensor = run(x, other, self._weight, self._bias, *self._settings, "add", 1.0, None, [], None)
        return out

    def _run(self, x: Tensor, name: str, scalars: list[float], algorithm: str) -> Tensor:
        run = _OPERATORS._convolution_pointwise
        out: Tensor = run(x, self._weight, self._bias, *self._settings, name, scalars, algorithm)
        return out


class PackedLinear:
    """Linear layer with fused pointwise operations, on [N, C].

    Args:
        weight, bias: of the layer, which are copied.
        dtype: of weights, inputs and results.
        rows: typical number of rows, for which the weights are arranged; others are permitted.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, rows: int) -> None:
        self._weight: Tensor = _OPERATORS._reorder_linear_weight(weight.detach().to(dtype).contiguous(), rows)
        self._bias = None if bias is None else bias.detach().to(dtype)

    @classmethod
    def of(cls, linear: nn.Linear, dtype: torch.dtype, rows: int) -> PackedLinear:
        """Return a copy of a layer, for the same arguments as above."""
        return cls(linear.weight, linear.bias, dtype, rows)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the layer's result."""
        out: Tensor = _OPERATORS._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return out

    def gelu(self, x: Tensor) -> Tensor:
        """Return the GELU of the layer's result."""
        out: Tensor = _OPERATORS._linear_pointwise(x, self._weight, self._bias, "gelu", [], "none")
        return out

    def add(self, x: Tensor, other: Tensor) -> Tensor:
        """Return the layer's result plus other rows."""
        out: Tensor = _OPERATORS._linear_pointwise.binary(x, other, self._weight, self._bias, "add")
        return out


@lru_cache
@torch.inference_mode()
def unavailable_reason(dtype: torch.dtype) -> str:
    """Return why these kernels cannot be used here in a precision, or an empty text if they can.

    Each is run on a small image and compared with torch's own layers.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "this build of torch has no oneDNN"
    generator = torch.Generator().manual_seed(0)
    image = (
        torch.rand(1, 16, 8, 8, generator=generator, device="cpu")
        .to(dtype)
        .contiguous(memory_format=torch.channels_last)
    )
    rows = torch.rand(64, 16, generator=generator, device="cpu").to(dtype)
    with torch.random.fork_rng(devices=()), torch.device("cpu"):  # others may have seeded torch's generator
        conv, linear = nn.Conv2d(16, 16, 3, padding=1).float(), nn.Linear(16, 16).float()
    try:
        differences = [*_conv_differences(conv, image, dtype), *_linear_differences(linear, rows, dtype)]
    except (AttributeError, RuntimeError, TypeError) as error:  # absent, unsupported by the processor, or changed
        return f"oneDNN's kernels cannot be called ({type(error).__name__}: {str(error).splitlines()[0][:120]})"
    worst = max(differences)
    return "" if worst <= _TOLERANCE[dtype] else f"oneDNN's kernels differ from torch's by {worst:.2g}"


def _conv_differences(conv: nn.Conv2d, x: Tensor, dtype: torch.dtype) -> list[float]:
    packed, plain = PackedConv(conv, dtype, (1, 16, 8, 8)), conv(x.float())
    return [
        _difference(packed(x), plain),
        _difference(packed.gelu(x), F.gelu(plain)),
        _difference(packed.leaky_relu(x, 0.2), F.leaky_relu(plain, 0.2)),
        _difference(packed.add(x, x), plain + x.float()),
    ]


def _linear_differences(linear: nn.Linear, x: Tensor, dtype: torch.dtype) -> list[float]:
    packed, plain = PackedLinear.of(linear, dtype, len(x)), linear(x.float())
    return [
        _difference(packed(x), plain),
        _difference(packed.gelu(x), F.gelu(plain)),
        _difference(packed.add(x, x), plain + x.float()),
    ]


def _difference(result: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the largest expected value."""
    return float((result.float() - expected).abs().max() / expected.abs().max())


def _pair(value: int | tuple[int, ...] | str) -> list[int]:
    if isinstance(value, str):
        raise TypeError(f"padding is {value!r}; only numbers are supported")
    return [value, value] if isinstance(value, int) else list(value)
