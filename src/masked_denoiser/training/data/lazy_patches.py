"""Patches of images that do not fit into memory: read where they lie, a few steps ahead of the network."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from masked_denoiser.training.data.patch_source import (
    Patches,
    PatchesCancelledError,
    downscale,
    downscaled_count,
    shuffled,
)
from masked_denoiser.training.data.patches import Patch, PatchSampler, batch_of
from masked_denoiser.training.recipe import TrainingRecipe

#: Seconds between two looks at whether to stop, while patches are waited for.
_POLL = 0.2
#: Batches that are read ahead.
_AHEAD = 3
#: Keys the random numbers of this file, so that they are not those of others with the same seed and step.
_KEY = 11

#: Patches of a step as they were read: of the size of the network's, and of twice that size, to be downscaled.
_Read = tuple[tuple[Patch, Patch | None] | None, Patch | None]


class LazyPatches:
    """Reads the patches of the next steps in a thread while the network computes; see `PatchSource`.

    Args:
        pool: what to draw from.
        recipe: the training.
        device: where patches go.
    """

    def __init__(self, pool: PatchSampler, recipe: TrainingRecipe, device: torch.device) -> None:
        self._pool, self._recipe, self._device = pool, recipe, device
        self._coarse = pool.coarser() if recipe.downscaled else None
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="masked-denoiser-patches")
        self._coming: deque[tuple[int, Future[_Read]]] = deque()

    def get(self, step: int, cancel: threading.Event | None = None) -> Patches:
        """See `PatchSource.get`."""
        while self._coming and self._coming[0][0] != step:
            self._coming.popleft()[1].cancel()
        next_one = self._coming[-1][0] + 1 if self._coming else step
        for number in range(next_one, step + _AHEAD):
            self._coming.append((number, self._threads.submit(self._read, number)))
        plain, coarse = _wait(self._coming.popleft()[1], cancel)
        choices = np.random.default_rng([self._recipe.seed, step, 0, _KEY])
        images = [self._on_device(plain[0])] if plain else []
        if coarse is not None:
            images.append(downscale(self._on_device(coarse), choices))
        if plain is not None and plain[1] is not None:  # pairs, which are never downscaled
            return images[0], self._on_device(plain[1])
        return shuffled(torch.cat(images), choices), None

    def close(self) -> None:
        """Drop what was read ahead."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for _, future in self._coming:
            future.cancel()

    def _read(self, step: int) -> _Read:
        recipe = self._recipe
        choices = np.random.default_rng([recipe.seed, step, 1, _KEY])
        count = downscaled_count(recipe, choices) if self._coarse else 0
        coarse = batch_of(self._coarse, range(count), recipe.seed, step)[0] if self._coarse and count else None
        if count == recipe.batch:
            return None, coarse
        return batch_of(self._pool, range(count, recipe.batch), recipe.seed, step), coarse

    def _on_device(self, patches: Patch) -> Tensor:
        return torch.from_numpy(patches).to(self._device, non_blocking=True)


def _wait(future: Future[_Read], cancel: threading.Event | None) -> _Read:
    """The result of a future, unless `cancel` is set before it is there."""
    while cancel is not None:
        try:
            return future.result(timeout=_POLL)
        except TimeoutError:
            if cancel.is_set():
                raise PatchesCancelledError from None
    return future.result()
