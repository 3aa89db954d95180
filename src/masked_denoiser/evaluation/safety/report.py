"""Safety of the default treatment: what it removes from an image, whether that is noise, and what it keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.noise_measurement import Measured, measure_noise
from masked_denoiser.errors import EvaluationError
from masked_denoiser.evaluation.safety.removal import list_removals
from masked_denoiser.evaluation.safety.removed_structure import structure_share
from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.memory import MemorySink
from masked_denoiser.jobs.messages import what_is_done
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.models.catalogue import AUTO

Pixels = NDArray[Any]
Mask = NDArray[np.bool_]

#: PSNR of an image that equals the truth, in dB.
_PERFECT = 100.0

#: Channels with less than this share of the strongest noise are empty and do not count for the noise of an image.
_EMPTY = 0.1


@dataclass(frozen=True, eq=False)
class SafetyCase:
    """An image to denoise, and the truth where it is known.

    Attributes:
        name: of the image, for a table.
        image: a file, or an array with one dimension for each letter of `axes`.
        axes: as for `open_image`; None takes those of the file.
        truth: noise-free intensities of the same shape; None where they are not known.
    """

    name: str
    image: Path | Pixels
    axes: str | None = None
    truth: Pixels | None = None


@dataclass(frozen=True, eq=False)
class Denoised:
    """A result, and what was said of it.

    Attributes:
        pixels: in shape and dtype of the image.
        noise: what was found in the image.
        treatment: what was done about it.
    """

    pixels: Pixels
    noise: str
    treatment: str


#: From an opened image to its result.
Denoise = Callable[[Source], Denoised]


@dataclass(frozen=True)
class SafetyReport:
    """What a denoiser did to one image. Intensities are in units of the image.

    Attributes:
        name: of the image.
        noise_before, noise_after: measured standard deviation of the noise of image and result; the median over the
            channels that have noise.
        removed: root mean square of image - result.
        structure: share of what was removed that is structure, 0 to 1, as `structure_share`.
        mean_change: largest change of the mean of a region of 32 x 32 pixels, in standard errors of that mean under
            the measured noise. Averaging noise away perfectly changes means by up to about 3.
        confidence: 0 to 1, that what looks like correlated noise is noise, as measured before; 0 where there was too
            little to measure on.
        noise: what was found in the image.
        treatment: what was done about it.
        psnr_before, psnr_after: in dB against the truth; None without one. Peak is 255 for uint8, otherwise the range
            of the truth, or its value where it is constant.
    """

    name: str
    noise_before: float
    noise_after: float
    removed: float
    structure: float
    mean_change: float
    confidence: float
    noise: str
    treatment: str
    psnr_before: float | None = None
    psnr_after: float | None = None

    @property
    def gain(self) -> float | None:
        """Gain of PSNR in dB; None without a truth."""
        if self.psnr_before is None or self.psnr_after is None:
            return None
        return self.psnr_after - self.psnr_before


def make_default_denoise(options: Options, device: str = "auto", model: str | Path = AUTO) -> Denoise:
    """Return the denoiser that a user gets: `prepare_array` with these options, and by default the automatic model."""

    def denoise(source: Source) -> Denoised:
        with prepare_array(source, model=model, options=options, device=device) as prepared:
            for _ in prepared.pipeline.run():  # progress of single images is not shown
                pass
            sink = prepared.pipeline.sink
            assert isinstance(sink, MemorySink)
            return Denoised(sink.array, prepared.job.noise, "; ".join(what_is_done(prepared.job)))

    return denoise


def assess_safety(case: SafetyCase, denoise: Denoise, *, fit_gain: bool = False) -> SafetyReport:
    """Denoise one image and report what happened to it.

    Args:
        case: the image, and perhaps its truth.
        denoise: the denoiser.
        fit_gain: fit gain and offset to the truth by least squares before PSNR, for images stretched one by one.

    Raises:
        MaskedDenoiserError: if the image cannot be read or denoised, or the truth has another shape.
    """
    with open_image(case.image, axes=case.axes) as source:
        if case.truth is not None and case.truth.shape != source.shape:
            raise EvaluationError(f"{case.name} and its truth are no pair: {source.shape} against {case.truth.shape}")
        return _report(case, source, denoise(source), fit_gain)


def _report(case: SafetyCase, source: Source, result: Denoised, fit_gain: bool) -> SafetyReport:
    """Compare an image with its result."""
    measured = measure_noise(source)
    after = measure_noise(open_image(result.pixels, axes=source.axes))
    pixels = np.asarray(source.data[...])
    valid = _valid(pixels, measured)
    removals = list(list_removals(source, result.pixels, measured))
    noise_before, noise_after = _sigmas(measured, after)
    psnr_before, psnr_after = _psnr_pair(pixels, result.pixels, case.truth, valid, fit_gain)
    return SafetyReport(
        name=case.name,
        noise_before=noise_before,
        noise_after=noise_after,
        removed=_rms(pixels, result.pixels, valid),
        structure=structure_share(removals),
        mean_change=max((removal.mean_change for removal in removals), default=0.0),
        confidence=_confidence(measured),
        noise=result.noise,
        treatment=result.treatment,
        psnr_before=psnr_before,
        psnr_after=psnr_after,
    )


def worst_first(reports: Sequence[SafetyReport]) -> list[SafetyReport]:
    """Return reports with a truth by their gain of PSNR, the least first, then those without by structure removed."""

    def rank(report: SafetyReport) -> tuple[bool, float, float]:
        gain = report.gain
        return gain is None, 0.0 if gain is None else gain, -report.structure

    return sorted(reports, key=rank)


def _sigmas(measured: Measured, after: Measured) -> tuple[float, float]:
    """Return the standard deviations before and after: the median over the channels that have noise."""
    sigmas = [_sigmas_of(one) for one in (measured, after)]
    strongest = max(sigmas[0])
    noisy = [i for i, sigma in enumerate(sigmas[0]) if sigma >= _EMPTY * strongest]
    before, left = (median(each[i] for i in noisy) for each in sigmas)
    return before, left


def _sigmas_of(measured: Measured) -> list[float]:
    """Return the standard deviation of each channel at its median intensity, in units of the image."""
    estimate = measured.estimate
    return [c.sigma * (high - low) for c, (low, high) in zip(estimate.channels, estimate.ranges, strict=True)]


def _confidence(measured: Measured) -> float:
    """Return the least confidence of all channels; 0 where there was too little to measure on."""
    return min(channel.confidence if channel.certain else 0.0 for channel in measured.estimate.channels)


def _valid(image: Pixels, measured: Measured) -> Mask:
    """Return which pixels hold an intensity, in the shape of the image; fill values are those of any channel."""
    valid = np.ones(image.shape, np.bool_)
    for sample in measured.samples.values():
        missing = sample.scale.is_missing(image)
        valid = valid if missing is None else valid & ~missing
    return valid


def _rms(one: Pixels, other: Pixels, valid: Mask) -> float:
    """Return the root mean square of the difference of the valid pixels; 0 where there are none."""
    difference = one[valid].astype(np.float64) - other[valid]
    return float(np.sqrt((difference**2).mean())) if difference.size else 0.0


def _psnr(image: Pixels, truth: Pixels, valid: Mask, peak: float, fit_gain: bool) -> float:
    """Return the PSNR of the valid pixels in dB, at most 100."""
    values, wanted = image[valid].astype(np.float64), truth[valid].astype(np.float64)
    if fit_gain and np.ptp(values) > 0:
        values = np.asarray(np.polyval(np.polyfit(values, wanted, 1), values), np.float64)
    error = float(((values - wanted) ** 2).mean()) if values.size else 0.0
    if error == 0.0 or peak == 0.0:
        return _PERFECT
    return min(_PERFECT, 10 * float(np.log10(peak**2 / error)))


def _psnr_pair(
    before: Pixels, after: Pixels, truth: Pixels | None, valid: Mask, fit_gain: bool
) -> tuple[float | None, float | None]:
    """Return PSNR before and after; None without a truth."""
    if truth is None:
        return None, None
    valid = valid & np.isfinite(truth)
    peak = 255.0 if before.dtype == np.uint8 else _range_of(truth[valid])
    ours, theirs = (_psnr(image, truth, valid, peak, fit_gain) for image in (before, after))
    return ours, theirs


def _range_of(truth: Pixels) -> float:
    """Return the range of intensities, or their largest value where all are equal; 0 where there are none."""
    if not truth.size:
        return 0.0
    return float(np.ptp(truth)) or float(np.abs(truth).max())
