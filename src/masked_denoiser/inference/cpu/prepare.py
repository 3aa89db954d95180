"""Choice of the implementation of a network for inference on a CPU."""

from __future__ import annotations

import torch
from torch import nn

from masked_denoiser.inference.cpu.kernels import unavailable_reason
from masked_denoiser.inference.cpu.swin import CpuSwin
from masked_denoiser.inference.cpu.ushape import CpuU
from masked_denoiser.network.swin import MaskedSwin
from masked_denoiser.network.ushape import MaskedU

#: Side of a typical tile with its halo, for which weights are arranged.
_SIDE = 576


def prepare_for_cpu(network: nn.Module, dtype: torch.dtype) -> CpuSwin | CpuU | None:
    """Return a network for inference on the CPU with fused kernels, or None where those cannot be used.

    Args:
        network: `MaskedSwin` or `MaskedU`, with its final weights, which are copied.
        dtype: float32 or bfloat16, precision of convolutions and matrix products.
    """
    if dtype not in (torch.float32, torch.bfloat16) or unavailable_reason(dtype):
        return None
    with torch.inference_mode():
        if isinstance(network, MaskedSwin):
            return CpuSwin(network, dtype, _SIDE)
        return CpuU(network, dtype, _SIDE) if isinstance(network, MaskedU) else None
