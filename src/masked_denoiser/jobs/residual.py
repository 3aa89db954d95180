"""Residual of a job, what it removed from an image, as an image of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.errors import ImageError, JobError
from masked_denoiser.images.lazy_arrays import with_axes
from masked_denoiser.images.planes import Plane, list_planes
from masked_denoiser.images.source import Source
from masked_denoiser.images.validation.file_identity import find_overlap, name_key
from masked_denoiser.images.writers.base import ProgressCallback, Sink, no_progress
from masked_denoiser.images.writers.create import create_sink
from masked_denoiser.images.writers.downsample import regions
from masked_denoiser.images.writers.output_path import (
    check_disk_space,
    check_output,
    discard_output,
    estimate_bytes,
    kind_of,
    working_folder,
)
from masked_denoiser.jobs.storage.journal import Journal, lock_output
from masked_denoiser.jobs.storage.own_output import check_own_output

#: Side in pixels of the blocks that are read and written.
_BLOCK_SIDE = 512

#: Half width of the contrast window in standard deviations.
_WINDOW_SIGMAS = 4.0


def check_residual(path: Path, source: Source, outputs: Sequence[Path], *, overwrite: bool = False) -> None:
    """Check before a job that its residual can be written; with `overwrite`, in place of an existing one.

    Args:
        path: of the residual.
        source: the image.
        outputs: paths that the job writes.
        overwrite: whether an existing residual is replaced.

    Raises:
        JobError: if an unfinished job writes there, or a file of another program would be replaced.
        ImageError: if the path has no known suffix, is the image or an output, or cannot be written.
    """
    check_output(path, source)
    if Journal.path_for(path).exists():
        raise JobError(
            f"{path} is the unfinished output of a job: finish it with --resume, or write the residual elsewhere"
        )
    if overwrite:
        check_own_output(path)
    if kind_of(path) == "DICOM":
        raise ImageError(f"{path}: a residual has negative values, which DICOM may not store; write to .nii.gz")
    for output in outputs:
        if find_overlap(path, [output]) is not None or name_key(path) == name_key(output):
            raise ImageError(f"{path} is, holds or lies in the result {output}: write the residual elsewhere")
    check_disk_space(path, estimate_bytes(source, path, np.float32), [path] if overwrite else [])


def write_residual(
    path: Path,
    source: Source,
    result: Source,
    *,
    overwrite: bool = False,
    anonymize: bool = False,
    progress: ProgressCallback = no_progress,
) -> None:
    """Write the difference of an image and its result as float32, block by block.

    A window of four standard deviations on both sides of 0 is stored where the format has one. An exception removes the
    unfinished file.

    Args:
        path: of any format that is written but DICOM.
        source: the image.
        result: the denoised image; its axes may be ordered otherwise.
        overwrite: whether to replace an existing file.
        anonymize: whether texts of the image that may identify a patient are left out.
        progress: receives the fraction that is done.

    Raises:
        ImageError: if the file exists, or cannot be written.
    """
    result = with_axes(result, source.axes)
    gray = replace(
        source,
        data=np.broadcast_to(np.float32(0), source.shape),  # of which only shape and dtype are used
        name=f"{source.name} residual",
        rgb=False,
        windows=_windows(source, result),
        levels=(),
        fill_values=(),
        value_calibration={},  # its offset would not apply to a difference
    )
    attributes: dict[str, Any] = {"residual": "a denoised image"}
    attributes |= {"settings": {"anonymize": True}} if anonymize else {}
    with lock_output(path):
        if working_folder(path).exists() and not path.exists():  # of a residual whose process was killed
            discard_output(path)
        sink = create_sink(path, gray, chunk=_BLOCK_SIDE, overwrite=overwrite, dtype=np.float32, attributes=attributes)
        _write_blocks(sink, path, source, result, progress)


def _write_blocks(sink: Sink, path: Path, source: Source, result: Source, progress: ProgressCallback) -> None:
    """Write all blocks of a residual, and complete it; an exception removes it."""
    try:
        blocks = list(_blocks(source))
        for number, (plane, ys, xs) in enumerate(blocks):
            progress(number / len(blocks))
            sink.write(plane, ys.start, xs.start, residual(source, result, plane, ys, xs))
        sink.finish()
    except BaseException:
        sink.close()
        discard_output(path)
        raise
    sink.close()


def residual(source: Source, result: Source, plane: Plane, ys: slice, xs: slice) -> NDArray[np.float32]:
    """Return what was removed from a rectangle of a plane, [channels, height, width]; both have the same axes."""
    before, after = source.read(plane, ys, xs), result.read(plane, ys, xs)
    return np.asarray(before.astype(np.float64) - after.astype(np.float64), np.float32)


def _blocks(source: Source) -> Iterator[tuple[Plane, slice, slice]]:
    for plane in list_planes(source.axes, source.sizes, False):
        for ys, xs in regions(source.size_yx, (_BLOCK_SIDE, _BLOCK_SIDE)):
            yield plane, ys, xs


def _windows(source: Source, result: Source) -> tuple[tuple[float, float], ...]:
    """Return a symmetric contrast window for each channel, from the middle of the middle plane."""
    ys, xs = (slice(max(0, (side - _BLOCK_SIDE) // 2), (side + _BLOCK_SIDE) // 2) for side in source.size_yx)
    planes = list(list_planes(source.axes, source.sizes, False))
    windows = []
    for channel in sorted({plane.channel for plane in planes}):
        same = [plane for plane in planes if plane.channel == channel]
        removed = residual(source, result, same[len(same) // 2], ys, xs)
        limit = _WINDOW_SIGMAS * float(np.nanstd(removed)) or 1.0
        windows.append((-limit, limit))
    return tuple(windows)
