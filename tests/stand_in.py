"""A stand-in for a network on its device: any function of tiles."""

from collections.abc import Callable

from masked_denoiser.inference.memory_limits import Limits
from masked_denoiser.inference.runner import Denoised


class StandIn:
    """Denoise by `function(tiles, origins, noise)`, which returns the denoised tiles or a `Denoised`."""

    def __init__(self, function: Callable, soft_limit: float = 0.0) -> None:
        self.function, self.soft_limit = function, soft_limit
        self.limits, self.messages, self.waited = Limits(), [], 0.0

    def submit(self, tiles, origins, noise=None):
        out = self.function(tiles, origins, noise)
        return lambda: out if isinstance(out, Denoised) else Denoised(out, None)
