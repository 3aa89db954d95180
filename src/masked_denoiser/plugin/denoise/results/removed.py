"""Background tasks that judge what was removed from a layer, and report on it; without Qt and napari."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from masked_denoiser.errors import FormError
from masked_denoiser.images.source import Source
from masked_denoiser.messages import Message
from masked_denoiser.plugin.denoise.form import Form
from masked_denoiser.plugin.denoise.task import LayerUpdate
from masked_denoiser.plugin.layers.difference import DifferenceArray, matching_parts
from masked_denoiser.plugin.layers.source import RECORD_KEY
from masked_denoiser.plugin.shared.background_task import Task

#: Half width of the contrast limits in standard deviations.
_LIMIT_SIGMAS = 4.0


def removed_task(layer: Any, result: Any, form: Form) -> Task:
    """Return the task that judges what a result has removed from a layer.

    Raises:
        FormError: if there is no result, or it does not lie on pixels of the layer.
    """
    provenance = _record(result).get("provenance") or {}
    return partial(judge_removed, *matching_parts(layer, result, form.axes or None), provenance)


def report_task(layer: Any, result: Any, form: Form, path: Path) -> Task:
    """Return the task that writes a report on a result.

    Raises:
        FormError: if there is no finished result, or it does not lie on pixels of the layer.
        PictureError: if the path does not end in .html.
    """
    from masked_denoiser.evaluation.report.write import check_report_path

    record = _record(result)
    if not record.get("provenance"):
        raise FormError("there is no finished result yet; press Preview or Denoise")
    check_report_path(path)
    before, after, _ = matching_parts(layer, result, form.axes or None)
    return partial(write_report_page, path, before, after, dict(record["provenance"]))


def _record(result: Any) -> dict[str, Any]:
    """Return what is recorded of a result layer.

    Raises:
        FormError: if there is no result, or it shows the input in some places.
    """
    if result is None:
        raise FormError("there is no result yet; press Preview or Denoise")
    record: dict[str, Any] = result.metadata.get(RECORD_KEY, {})
    if record.get("complete") is False:
        raise FormError(f"'{result.name}' is not complete; finish the job or repeat it first")
    return record


def write_report_page(
    path: Path, before: Source, after: Source, provenance: dict[str, Any], cancel: threading.Event
) -> Iterator[Any]:
    """Write a report, and yield a message about it.

    Args:
        path: `.html`; an existing file is replaced, as the file dialog has asked.
        before: the input, or a part of it.
        after: its result, of the same shape.
        provenance: what is recorded of the job.
        cancel: ignored, since a sample is judged.
    """
    from masked_denoiser.evaluation.report.write import write_report

    write_report(path, before, after, provenance)
    yield Message(f"Report: {path}")


def judge_removed(
    before: Source, after: Source, offset: tuple[float, ...], provenance: dict[str, Any], cancel: threading.Event
) -> Iterator[Any]:
    """Yield the difference of two images as an update of a layer, and a sentence about it.

    Args:
        before: the input, or a part of it.
        after: its result, of the same shape.
        offset: first pixel of both in the layer.
        provenance: what is recorded of the job; empty for a preview.
        cancel: ignored, since a sample is judged.
    """
    from masked_denoiser.denoising.measurement.modality import recorded_modality
    from masked_denoiser.denoising.noise_measurement import measure_noise
    from masked_denoiser.evaluation.residual import judge_residual

    summary = judge_residual(before, after, measure_noise(before, modality=recorded_modality(provenance)))
    limit = _LIMIT_SIGMAS * summary.sigma or 1.0
    removed = DifferenceArray(before.data, after.data, mean_colour=before.rgb and before.axes[-1] in "SC")
    yield LayerUpdate("residual", (removed,), offset, limits=(-limit, limit))
    yield Message(f"{str(summary)[0].upper()}{str(summary)[1:]}.")
