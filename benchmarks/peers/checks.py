"""Practical checks: what happens with the images that laboratories have, apart from quality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from benchmarks.peers.run import Outcome
from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.images.open import open_image

Image = np.ndarray[Any, Any]

#: Runs a program on an array with these axes; returns the outcome and the result, which is None after a failure.
RunArray = Callable[[Image, str], tuple[Outcome, Image | None]]

#: Runs a program on a file; the outcome's `details["result"]` is the path of the result.
RunFile = Callable[[Path], Outcome]

#: Side of the images of the checks in pixels, and the larger one with which the growth of memory is measured.
_SIDE, _LARGE = 256, 1024

#: Pixel size in micrometres of the file of a check.
_PIXEL_SIZE = 0.25


@dataclass(frozen=True)
class Programs:
    """How checks run a program: on arrays and, if it turns files into files, on files."""

    array: RunArray
    file: RunFile | None


def stack_16_bit(programs: Programs) -> str:
    """Check a 16-bit stack with an offset of 100, as cameras deliver it, and name the data type of the result."""
    truth = np.stack([_scene(_SIDE, seed) * 900 + 100 for seed in range(4)])
    noisy = _counts(truth)
    outcome, result = programs.array(noisy, "ZYX")
    if result is None:
        return _failed(outcome)
    return f"{_verdict(result, noisy, truth)}; {result.dtype}"


def colour(programs: Programs) -> str:
    """Check an 8-bit RGB image."""
    truth = np.stack([_scene(_SIDE, seed) * 200 + 20 for seed in range(3)], axis=-1)
    noisy = np.clip(np.rint(truth + np.random.default_rng(9).normal(0, 20, truth.shape)), 0, 255).astype(np.uint8)
    outcome, result = programs.array(noisy, "YXS")
    return _failed(outcome) if result is None else _verdict(result, noisy, truth)


def not_a_number(programs: Programs) -> str:
    """Check a float image with a square of NaN, as registration and masks leave it: do other pixels survive?"""
    truth = _scene(_SIDE, 0) * 900 + 100
    noisy = _counts(truth).astype(np.float32)
    hole = np.zeros(noisy.shape, bool)
    hole[100:116, 100:116] = True
    noisy[hole] = np.nan
    outcome, result = programs.array(noisy, "YX")
    if result is None:
        return _failed(outcome)
    if result.shape != noisy.shape:
        return f"shape {result.shape}"
    lost = 1 - np.isfinite(result[~hole]).mean()
    if lost:
        return f"NaN in {lost:.0%} of the other pixels"
    return _verdict(result[~hole], noisy[~hole], truth[~hole])


def blank(programs: Programs) -> str:
    """Check a frame of equal values, as a closed shutter leaves it: is it unchanged?"""
    frame = np.full((_SIDE, _SIDE), 100, np.uint16)
    outcome, result = programs.array(frame, "YX")
    if result is None:
        return _failed(outcome)
    if not np.isfinite(result).all():
        return "NaN"
    largest = float(np.abs(result.astype(np.float64) - 100).max())
    return "yes" if largest < 0.5 else f"changed by up to {largest:.3g}"


def repeated(programs: Programs) -> str:
    """Check whether two runs give the same result."""
    noisy = _counts(_scene(_SIDE, 0) * 900 + 100)
    (outcome, first), (_, second) = programs.array(noisy, "YX"), programs.array(noisy, "YX")
    if first is None or second is None:
        return _failed(outcome)
    if np.array_equal(first, second):
        return "yes"
    return f"differs by {float(np.abs(first.astype(np.float64) - second).mean()):.2g} on average"


def pixel_size(folder: Path, programs: Programs) -> str:
    """Check whether a TIFF becomes a TIFF with the same pixel size."""
    if programs.file is None:
        return "arrays only"
    source = folder / "calibrated.tif"
    noisy = _counts(_scene(_SIDE, 0) * 900 + 100)
    per_micrometre = (1 / _PIXEL_SIZE, 1 / _PIXEL_SIZE)
    tifffile.imwrite(source, noisy, imagej=True, resolution=per_micrometre, metadata={"unit": "um", "axes": "YX"})
    outcome = programs.file(source)
    if outcome.error:
        return _failed(outcome)
    try:
        with open_image(outcome.details["result"]) as image:
            size, unit = image.pixel_size.get("X"), image.units.get("X", "")
    except MaskedDenoiserError as error:
        return f"result cannot be read: {error}"
    return "yes" if size is not None and abs(size - _PIXEL_SIZE) < 1e-4 else f"lost: {size} {unit}".strip()


def memory(folder: Path, programs: Programs) -> str:
    """Measure by how much the peak of memory grows for each megapixel of an image of 16 bit."""
    peaks = []
    for side in (_SIDE * 2, _LARGE):
        noisy = _counts(_scene(side, 0) * 900 + 100)
        if programs.file is None:
            outcome, _ = programs.array(noisy, "YX")
        else:
            source = folder / f"side_{side}.tif"
            tifffile.imwrite(source, noisy)
            outcome = programs.file(source)
        if outcome.error:
            return _failed(outcome)
        peaks.append(outcome.memory)
    growth = max(0.0, (peaks[1] - peaks[0]) / (_LARGE**2 - (2 * _SIDE) ** 2))
    return f"{growth:.0f} MB"


def _scene(side: int, seed: int) -> Image:
    """Return a smooth image [side, side] in [0, 1] of overlapping discs of different brightness."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side * _SIDE
    image = np.zeros((side, side))
    for _ in range(40):
        centre, radius, level = generator.uniform(0, _SIDE, 2), generator.uniform(6, 40), generator.uniform(0.1, 0.5)
        distance = np.hypot(y - centre[0], x - centre[1])
        image += level / (1 + np.exp(np.clip((distance - radius) / 1.5, -50, 50)))
    return np.asarray(image / image.max())


def _counts(truth: Image) -> Image:
    """Return photon counts with read noise, uint16."""
    generator = np.random.default_rng(7)
    counts = generator.poisson(truth) + generator.normal(0, 5, truth.shape)
    return np.asarray(np.rint(np.clip(counts, 0, 65535)), np.uint16)


def _verdict(result: Image, noisy: Image, truth: Image) -> str:
    """Say whether a result has the shape of the image and is nearer to the truth than the noisy image."""
    if result.shape != noisy.shape:
        return f"shape {result.shape}"
    if not np.isfinite(result).all():
        return "NaN"
    before, after = (float(np.sqrt(np.mean((image - truth) ** 2))) for image in (noisy, result.astype(np.float64)))
    return "yes" if after < before else f"error {after / before:.2g} times that of the input"


def _failed(outcome: Outcome) -> str:
    return f"fails: {outcome.error}"
