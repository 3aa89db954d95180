"""`--compile`: the layers of a network compiled by torch.compile before a job begins.

Compiled are convolution blocks, MLPs, and window attention to all tokens, each for tiles of any size: the rest chooses
tokens by their values and looks up tables of windows, which a compiler can only give up on. So there is one wait, it is
at the start, and it is said. Off unless asked for: results differ by rounding, which makes it a part of the job.
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

#: The layers that are compiled.
_LAYERS = (ConvBlock, WindowAttention, Mlp)


def compile_network(denoiser: ModelRunner, batch: int, say: Callable[[str], None]) -> None:
    """Compiles a denoiser's network, and runs it on small tiles so that the work begins with all of it compiled.

    Args:
        denoiser: new; its network is changed.
        batch: tiles at once in the job: compilers tell one from several.
        say: is told before, and how long it took.

    Raises:
        DeviceError: if there is no compiler, or it fails.
    """
    say(f"compiling the network for {denoiser.device}: a minute or two, before the first tile")
    began = time.monotonic()
    compile_layers(denoiser.network, dynamic=True)
    side, channels = 4 * denoiser.config.grid, denoiser.config.channels
    try:
        for count in sorted({1, min(batch, 2)}):
            for width in (side, 2 * side):
                denoiser(np.full((count, channels, side, width), 0.5, np.float32), ((0, 0),) * count)
    except RuntimeError as error:  # as all errors of torch's compilers are
        if is_out_of_memory(error):
            raise
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise DeviceError(
            f"the network cannot be compiled here ({type(error).__name__}: {reason}); leave --compile away, or install "
            "a C++ compiler: g++ on Linux, Xcode's command line tools on macOS, Visual Studio's build tools on Windows"
        ) from error
    say(f"compiled in {time.monotonic() - began:.0f} s")


def compile_layers(network: nn.Module, *, dynamic: bool) -> None:
    """Have the layers of a network compiled when they first run.

    Args:
        network: whose layers are changed.
        dynamic: whether images come in many sizes.
    """
    from torch._dynamo import config  # a second or two, which only those who compile should wait for

    layers = layers_of(network)
    for name in ("recompile_limit", "cache_size_limit"):  # its name since torch 2.7, and before
        if hasattr(config, name):  # layers of one kind share it, and beyond it torch gives up without a word
            setattr(config, name, max(getattr(config, name), 4 * len(layers)))
    for layer in layers:
        layer.compile(dynamic=dynamic)


def release_layers(network: nn.Module) -> None:
    """Undo `compile_layers`, where there is no compiler or it fails."""
    for layer in layers_of(network):
        layer._compiled_call_impl = None


def layers_of(network: nn.Module) -> list[nn.Module]:
    """The layers of a network that are compiled."""
    return [module for module in network.modules() if isinstance(module, _LAYERS)]
