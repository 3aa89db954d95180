"""Stand-in for a model runner: any function of tiles."""

from collections.abc import Callable
from typing import Any

import torch

from masked_denoiser.inference.memory_limits import MemoryLimits
from masked_denoiser.inference.runner import Batch, Denoised


class StandIn:
    """Runner that calls `function(tiles, origins, noise)`, which returns the denoised tiles or a `Denoised`."""

    def __init__(self, function: Callable[..., Any], soft_limit: float = 0.0) -> None:
        self.function, self.soft_limit = function, soft_limit
        self.device = torch.device("cpu")
        self.limits, self.wait_seconds, self.uncertainty = MemoryLimits(), 0.0, None
        self._messages: list[str] = []

    def add_message(self, text: str) -> None:
        self._messages.append(text)

    def take_messages(self) -> list[str]:
        messages, self._messages = self._messages, []
        return messages

    def submit(self, tiles: Batch, origins: Any, noise: Batch | None = None) -> Callable[[], Denoised]:
        out = self.function(tiles, origins, noise)
        return lambda: out if isinstance(out, Denoised) else Denoised(out, None)
