"""Patches of images that do not fit into memory: read from their files a few steps ahead of the network."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np
import torch

from masked_denoiser.training.data.patch_source import (
    Patches,
    PatchesCancelledError,
    downscale,
    downscaled_count,
    shuffled,
    to_device,
)
from masked_denoiser.training.data.patches import Patch, PatchSampler, draw_patches
from masked_denoiser.training.recipe import TrainingRecipe

#: Seconds between two checks for cancellation while waiting for patches.
_POLL_SECONDS = 0.2
#: Batches read ahead.
_BATCHES_AHEAD = 3
#: Key of this module's random numbers, which keeps them apart from others of the same seed and step.
_KEY = 11

#: Patches of a step as read: of the network's size, and of twice that size for downscaling.
_StepPatches = tuple[tuple[Patch, Patch | None] | None, Patch | None]


class LazyPatches:
    """Patches of the next steps, read in a thread while the network computes; see `PatchSource`.

    Args:
        sampler: what to draw from.
        recipe: how to train.
        device: where the patches are copied to.
    """

    def __init__(self, sampler: PatchSampler, recipe: TrainingRecipe, device: torch.device) -> None:
        self._sampler, self._recipe, self._device = sampler, recipe, device
        self._large = sampler.with_doubled_size() if recipe.downscaled_share else None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="masked-denoiser-patches")
        self._pending: deque[tuple[int, Future[_StepPatches]]] = deque()

    def get(self, step: int, cancel: threading.Event | None = None) -> Patches:
        """Return the patches of a step; see `PatchSource.get`."""
        while self._pending and self._pending[0][0] != step:
            self._pending.popleft()[1].cancel()
        next_step = self._pending[-1][0] + 1 if self._pending else step
        for number in range(next_step, step + _BATCHES_AHEAD):
            self._pending.append((number, self._executor.submit(self._read, number)))
        plain, large = _wait(self._pending.popleft()[1], cancel)
        rng = np.random.default_rng([self._recipe.seed, step, 0, _KEY])
        images = [to_device(plain[0], self._device)] if plain else []
        if large is not None:
            images.append(downscale(to_device(large, self._device), rng))
        if plain is not None and plain[1] is not None:  # pairs, which are not downscaled
            return images[0], to_device(plain[1], self._device)
        return shuffled(torch.cat(images), rng), None

    def close(self) -> None:
        """Discard batches that were read ahead."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        for _, future in self._pending:
            future.cancel()

    def _read(self, step: int) -> _StepPatches:
        recipe = self._recipe
        rng = np.random.default_rng([recipe.seed, step, 1, _KEY])
        count = downscaled_count(recipe, rng) if self._large else 0
        large = draw_patches(self._large, range(count), recipe.seed, step)[0] if self._large and count else None
        if count == recipe.batch:
            return None, large
        return draw_patches(self._sampler, range(count, recipe.batch), recipe.seed, step), large


def _wait(future: Future[_StepPatches], cancel: threading.Event | None) -> _StepPatches:
    """Return the result of a future.

    Raises:
        PatchesCancelledError: if `cancel` is set before the result is available.
    """
    # Not `future.result(timeout)`, whose TimeoutError may also be that of a reader, such as of a network drive.
    while cancel is not None and not wait([future], _POLL_SECONDS).done:
        if cancel.is_set():
            raise PatchesCancelledError
    return future.result()
