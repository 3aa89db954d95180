"""Figures of a report: pictures of some places, and the spectrum and the bias of what was removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from masked_denoiser.evaluation.safety.removal import Removal, split_into_blocks

Values = NDArray[np.float64]

#: Side in pixels of a place that is shown.
PLACE_SIDE = 128

#: Blur in pixels before the detail of a place is measured.
_DETAIL_BLUR = 2.0

#: Number of bins of the spectrum, and of the intensities whose bias is compared.
_SPECTRUM_BINS, _INTENSITY_BINS = 24, 10

#: Percentiles of the input that are shown as black and white.
_SHOWN_PERCENTILES = (0.1, 99.9)

#: Half width of the colours of what was removed, in standard deviations.
_SHOWN_SIGMAS = 4.0


@dataclass(frozen=True, eq=False)
class PlacePictures:
    """Pictures [H, W, 3] uint8 of a place: the input, the result, and what was removed.

    Attributes:
        rule: why the place was chosen.
        row, column: its first row and column in the judged part.
    """

    rule: str
    row: int
    column: int
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    removed: NDArray[np.uint8]


@dataclass(frozen=True)
class Bias:
    """Mean of what was removed from pixels of similar intensity.

    Attributes:
        intensity: their mean intensity in the result.
        removed: mean of what was removed.
        error: its standard error, if the removed values are independent.
    """

    intensity: float
    removed: float
    error: float


def show_places(channels: Sequence[Removal]) -> list[PlacePictures]:
    """Return pictures of three places of a plane: most removed, most detail, and the one between.

    Args:
        channels: one or three channels of the plane.
    """
    before, after = (np.stack([getattr(c, name) for c in channels]) for name in ("before", "after"))
    removed = np.stack([c.removed for c in channels])
    height, width = before.shape[1:]
    side = min(PLACE_SIDE, height, width)
    corners = [(y, x) for y in range(0, height - side + 1, side) for x in range(0, width - side + 1, side)]
    power = split_into_blocks((removed**2).mean(axis=0), side).mean(axis=1)
    smooth = gaussian_filter(after.mean(axis=0), _DETAIL_BLUR)
    detail = split_into_blocks(smooth, side).var(axis=1)
    chosen = {
        "most removed": int(power.argmax()),
        "most detail": int(detail.argmax()),
        "median detail": int(np.argsort(detail)[len(detail) // 2]),
    }
    low, high = np.percentile(before, _SHOWN_PERCENTILES)
    limit = _SHOWN_SIGMAS * float(removed.std()) or 1.0
    pictures = []
    for rule, number in chosen.items():
        y, x = corners[number]
        key = (slice(None), slice(y, y + side), slice(x, x + side))
        seen = [_grey(image[key], float(low), float(high)) for image in (before, after)]
        pictures.append(PlacePictures(rule, y, x, seen[0], seen[1], _diverging(removed[key].mean(axis=0) / limit)))
    return pictures


def spectrum(removals: Sequence[Removal]) -> tuple[Values, Values]:
    """Return spatial frequencies in cycles per pixel, and the power of what was removed relative to its mean.

    White noise has a power of 1 at all frequencies.
    """
    edges = np.linspace(0.0, 0.5, _SPECTRUM_BINS + 1)
    total, count = np.zeros(_SPECTRUM_BINS), np.zeros(_SPECTRUM_BINS)
    for removal in removals:
        removed = removal.removed - removal.removed.mean()
        power = np.abs(np.fft.fft2(removed)) ** 2 / removed.size
        y, x = np.meshgrid(*(np.fft.fftfreq(side) for side in removed.shape), indexing="ij")
        number = np.digitize(np.hypot(y, x).ravel(), edges) - 1
        valid = (number >= 0) & (number < _SPECTRUM_BINS)
        total += np.bincount(number[valid], power.ravel()[valid], _SPECTRUM_BINS)
        count += np.bincount(number[valid], minlength=_SPECTRUM_BINS)
    mean = total.sum() / max(count.sum(), 1.0)
    return (edges[1:] + edges[:-1]) / 2, total / np.maximum(count, 1.0) / (mean or 1.0)


def bias_by_intensity(removals: Sequence[Removal]) -> list[Bias]:
    """Return the mean of what was removed in ten groups of pixels of increasing intensity."""
    after = np.concatenate([removal.after[removal.valid] for removal in removals])
    removed = np.concatenate([removal.removed[removal.valid] for removal in removals])
    order = np.argsort(after, kind="stable")
    groups = [group for group in np.array_split(order, _INTENSITY_BINS) if len(group)]
    return [
        Bias(float(after[g].mean()), float(removed[g].mean()), float(removed[g].std() / np.sqrt(len(g))))
        for g in groups
    ]


def _grey(pixels: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Return [C, H, W] between two intensities as a picture [H, W, 3]."""
    unit = np.clip((pixels - low) / max(high - low, 1e-300), 0.0, 1.0)
    rgb = np.repeat(unit, 3, axis=0) if len(unit) == 1 else unit[:3]
    return np.asarray((rgb * 255).round().transpose(1, 2, 0), np.uint8)


def _diverging(unit: NDArray[Any]) -> NDArray[np.uint8]:
    """Return values [H, W] from -1 to 1 as a picture: violet, white, green."""
    strength = np.clip(np.abs(unit), 0.0, 1.0)[..., None]
    colour = np.where(unit[..., None] > 0, (0.15, 0.39, 0.10), (0.56, 0.00, 0.32))
    return np.asarray(((1 - strength * (1 - colour)) * 255).round(), np.uint8)
