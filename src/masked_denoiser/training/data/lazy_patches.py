"""Patches of images that do not fit into memory: read from their files a few steps ahead of the network."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from masked_denoiser.training.data.patch_source import (
    Patches,
    PatchesCancelledError,
    downscale,
    downscaled_count,
    shuffled,
    to_device,
)
from masked_denoiser.training.data.patches import UNSTRETCHED, Patch, PatchSampler
from masked_denoiser.training.recipe import TrainingRecipe

#: Seconds between two checks for cancellation while waiting for patches.
_POLL_SECONDS = 0.2
#: Batches read ahead.
_BATCHES_AHEAD = 3
#: Key of this module's random numbers, which keeps them apart from others of the same seed and step.
_KEY = 11


class DrawnPatches(NamedTuple):
    """Patches of a step: images [B, C, size, size] float32, the truths of pairs, and the stretch of each, [B, 2]."""

    images: Patch
    truths: Patch | None
    stretches: NDArray[np.float32]


#: Patches of a step as read: of the network's size, and of twice that size for downscaling.
_StepPatches = tuple[DrawnPatches | None, DrawnPatches | None]


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
        images = [to_device(plain.images, self._device)] if plain else []
        if large is not None:
            images.append(downscale(to_device(large.images, self._device), rng))
        drawn = [each for each in (plain, large) if each is not None]
        stretches = to_device(np.concatenate([each.stretches for each in drawn]), self._device)
        if plain is not None and plain.truths is not None:  # pairs, which are not downscaled
            return Patches(images[0], to_device(plain.truths, self._device), stretches)
        return shuffled(torch.cat(images), stretches, rng)

    def close(self) -> None:
        """Discard batches that were read ahead."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        for _, future in self._pending:
            future.cancel()

    def _read(self, step: int) -> _StepPatches:
        recipe = self._recipe
        rng = np.random.default_rng([recipe.seed, step, 1, _KEY])
        count = downscaled_count(recipe, rng) if self._large else 0
        draw = partial(draw_patches, seed=recipe.seed, step=step, stretch=recipe.stretch)
        large = draw(self._large, range(count)) if self._large and count else None
        if count == recipe.batch:
            return None, large
        return draw(self._sampler, range(count, recipe.batch)), large


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


def draw_patches(
    sampler: PatchSampler, numbers: Sequence[int], seed: int, step: int, *, stretch: bool = False
) -> DrawnPatches:
    """Draw patches of a step, each in one of the 8 symmetries of the square.

    Every patch has a random generator keyed by (seed, step, number): it depends neither on how a batch is divided
    among devices nor on where an interrupted training was resumed.

    Args:
        sampler: what to draw from.
        numbers: positions in the batch.
        seed, step: of the training.
        stretch: whether to measure how the network sees them; otherwise they are not stretched.
    """
    patches, truths, stretches = [], [], []
    for number in numbers:
        rng = np.random.default_rng([seed, step, number])
        location = sampler.draw(rng)
        symmetry = int(rng.integers(8))
        patches.append(_transformed(sampler.read(location), symmetry))
        image = sampler.images[location.image]
        stretches.append(image.stretch(location.plane) if stretch else UNSTRETCHED)
        if image.truth is not None:
            truths.append(_transformed(sampler.read(location, truth=True), symmetry))
    return DrawnPatches(np.stack(patches), np.stack(truths) if truths else None, np.array(stretches, np.float32))


def _transformed(patch: Patch, symmetry: int) -> Patch:
    """Return one of the 8 flips and rotations of a square patch [C, H, W]."""
    rotated: NDArray[Any] = np.rot90(patch, symmetry % 4, axes=(1, 2))
    return np.ascontiguousarray(rotated[:, :, ::-1] if symmetry >= 4 else rotated)
