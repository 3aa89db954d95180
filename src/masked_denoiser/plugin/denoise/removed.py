"""Background task that shows and judges what was removed from a layer; without Qt and napari."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

from masked_denoiser.errors import FormError
from masked_denoiser.images.source import Source
from masked_denoiser.messages import Message
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.task import LayerUpdate
from masked_denoiser.plugin.layers.difference import DifferenceArray, matching_parts
from masked_denoiser.plugin.shared.background_task import Task

#: Half width of the contrast limits in standard deviations.
_LIMIT_SIGMAS = 4.0


def removed_task(layer: Any, result: Any, form: Form) -> Task:
    """Return the task that judges what a result has removed from a layer.

    Raises:
        FormError: if there is no result, or it does not lie on pixels of the layer.
    """
    if result is None:
        raise FormError("there is no result yet; press Preview or Denoise")
    return partial(judge_removed, *matching_parts(layer, result, form.axes or None))


def judge_removed(before: Source, after: Source, offset: tuple[float, ...], cancel: threading.Event) -> Iterator[Any]:
    """Yield the difference of two images as an update of a layer, and a sentence about it.

    Args:
        before: the input, or a part of it.
        after: its result, of the same shape.
        offset: first pixel of both in the layer.
        cancel: ignored, since a sample is judged.
    """
    from masked_denoiser.evaluation.residual import judge_residual

    summary = judge_residual(before, after)
    limit = _LIMIT_SIGMAS * summary.sigma or 1.0
    removed = DifferenceArray(before.data, after.data, mean_colour=before.rgb and before.axes[-1] in "SC")
    yield LayerUpdate("residual", (removed,), offset, limits=(-limit, limit))
    yield Message(f"{str(summary)[0].upper()}{str(summary)[1:]}.")
