"""Compilation of a network's layers by torch.compile, before a job starts (`--compile`).

Compiled are convolution blocks, MLPs, and window attention to all tokens, each for tiles of any size. The other layers
select tokens by their values and look up tables of windows, which a compiler cannot handle. So there is a single delay,
at the start, which is reported. It is off by default: results differ by rounding, which makes it part of the job.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from torch import nn

from masked_denoiser.errors import DeviceError
from masked_denoiser.inference.memory_limits import is_out_of_memory
from masked_denoiser.inference.runner import ModelRunner
from masked_denoiser.network.attention import WindowAttention
from masked_denoiser.network.block import Mlp
from masked_denoiser.network.ushape import ConvBlock

#: Types of the layers that are compiled.
_LAYERS = (ConvBlock, WindowAttention, Mlp)


def compile_network(runner: ModelRunner, batch: int, report: Callable[[str], None]) -> None:
    """Compile the network of a runner, and run it on small tiles, so that everything is compiled before the job starts.

    Args:
        runner: new; its network is modified.
        batch: tiles per batch in the job: a single tile is compiled separately.
        report: receives a message before the compilation, and one with its duration.

    Raises:
        DeviceError: if there is no compiler, or it fails.
    """
    report(f"compiling the network for {runner.device}: this takes a minute or two before the first tile")
    start = time.monotonic()
    runner.use_layers()
    compile_layers(runner.network, dynamic=True)
    side, channels = 4 * runner.config.grid, runner.config.channels
    try:
        for count in sorted({1, min(batch, 2)}):
            for width in (side, 2 * side):
                runner(np.full((count, channels, side, width), 0.5, np.float32), ((0, 0),) * count)
    except RuntimeError as error:  # the base class of all errors of torch's compilers
        if is_out_of_memory(error):
            raise
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise DeviceError(
            f"the network cannot be compiled here ({type(error).__name__}: {reason}); omit --compile, or install "
            "a C++ compiler: g++ on Linux, Xcode's command line tools on macOS, Visual Studio's build tools on Windows"
        ) from error
    report(f"compiled in {time.monotonic() - start:.0f} s")


def compile_layers(network: nn.Module, *, dynamic: bool) -> None:
    """Set the layers of a network to be compiled when they first run.

    Args:
        network: whose layers are modified.
        dynamic: whether images have various sizes.
    """
    from torch._dynamo import config  # takes a second or two, so only when it is needed

    layers = compilable_layers(network)
    for name in ("recompile_limit", "cache_size_limit"):  # the name since torch 2.7, and the one before
        if hasattr(config, name):  # layers of a type share the limit, and beyond it torch silently stops compiling
            setattr(config, name, max(getattr(config, name), 4 * len(layers)))
    for layer in layers:
        layer.compile(dynamic=dynamic)


def release_layers(network: nn.Module) -> None:
    """Undo `compile_layers`, if there is no compiler or it fails."""
    for layer in compilable_layers(network):
        layer._compiled_call_impl = None


def compilable_layers(network: nn.Module) -> list[nn.Module]:
    """Return the layers of a network that are compiled."""
    return [module for module in network.modules() if isinstance(module, _LAYERS)]
