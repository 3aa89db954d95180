"""Safety report of a denoiser: what it removes from an image, whether that is noise, and how PSNR changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.noise_measurement import NoiseMeasurement, measure_noise
from masked_denoiser.errors import EvaluationError
from masked_denoiser.evaluation.image_files import read_pixels
from masked_denoiser.evaluation.safety.removal import largest_mean_change, list_removals
from masked_denoiser.evaluation.safety.removed_structure import structure_share
from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.memory import MemorySink
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.treatments import describe_treatments
from masked_denoiser.models.catalogue import AUTO

Pixels = NDArray[Any]
Mask = NDArray[np.bool_]

#: PSNR in dB of an image that equals the truth.
_MAX_PSNR = 100.0

#: Channels with less than this share of the strongest noise are taken to be empty and are ignored.
_EMPTY_CHANNEL_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class SafetyCase:
    """Image to denoise, and its truth if known.

    Attributes:
        name: name of the image, for a table.
        image: a file, or an array with one dimension for each letter of `axes`.
        axes: as for `open_image`; None for the axes of the file.
        truth: noise-free intensities of the same shape; None if unknown.
    """

    name: str
    image: Path | Pixels
    axes: str | None = None
    truth: Pixels | None = None


@dataclass(frozen=True, eq=False)
class Denoised:
    """Denoised image, and the description of its noise and treatment.

    Attributes:
        pixels: result, in shape and dtype of the image.
        noise: description of the measured noise.
        treatment: description of the noise treatment.
    """

    pixels: Pixels
    noise: str
    treatment: str


#: Function that denoises an opened image.
Denoise = Callable[[Source], Denoised]


@dataclass(frozen=True)
class SafetyReport:
    """Effect of a denoiser on one image; intensities are in units of the image.

    Attributes:
        name: name of the image.
        noise_before, noise_after: measured standard deviation of the noise of image and result, median over the
            channels that have noise.
        removed: root mean square of image - result.
        structure: share of structure in the removed variance, 0 to 1, as returned by `structure_share`; None if there
            are too few pixels to judge.
        mean_change: largest change of the mean of a region of 32 x 32 pixels, in standard errors of that mean under
            the measured noise. Perfect averaging of noise changes means by up to about 3. None if no region is valid.
        confidence: confidence, 0 to 1, that apparent correlated noise is noise, measured before denoising; 0 if there
            were too few flat regions to measure it.
        noise: description of the measured noise.
        treatment: description of the noise treatment.
        psnr_before, psnr_after: PSNR against the truth in dB; None without a truth. The peak is 255 for uint8,
            otherwise the range of the truth, or its value if it is constant.
    """

    name: str
    noise_before: float
    noise_after: float
    removed: float
    structure: float | None
    mean_change: float | None
    confidence: float
    noise: str
    treatment: str
    psnr_before: float | None = None
    psnr_after: float | None = None

    @property
    def gain(self) -> float | None:
        """Gain in PSNR in dB; None without a truth."""
        if self.psnr_before is None or self.psnr_after is None:
            return None
        return self.psnr_after - self.psnr_before


def make_default_denoise(options: Options, device: str = "auto", model: str | Path = AUTO) -> Denoise:
    """Return a denoiser that calls `prepare_array` with these options, by default with the automatic model."""

    def denoise(source: Source) -> Denoised:
        with prepare_array(source, model=model, options=options, device=device) as prepared:
            for _ in prepared.pipeline.run():  # progress of single images is not shown
                pass
            sink = prepared.pipeline.sink
            assert isinstance(sink, MemorySink)
            return Denoised(sink.array, prepared.job.noise, "; ".join(describe_treatments(prepared.job)))

    return denoise


def assess_safety(case: SafetyCase, denoise: Denoise, *, fit_gain: bool = False) -> SafetyReport:
    """Denoise one image and report the effect.

    Args:
        case: image, and its truth if known.
        denoise: denoiser.
        fit_gain: fit gain and offset to the truth by least squares before PSNR, for images whose contrast was
            stretched individually.

    Raises:
        MaskedDenoiserError: if the image cannot be read or denoised, or the truth has another shape.
    """
    with open_image(case.image, axes=case.axes) as source:
        if case.truth is not None and case.truth.shape != source.shape:
            raise EvaluationError(
                f"{case.name} and its truth have different shapes: {source.shape} and {case.truth.shape}"
            )
        pixels = read_pixels(source)  # before the work, as the file may be damaged
        return _compare(case, source, pixels, denoise(source), fit_gain)


def _compare(case: SafetyCase, source: Source, pixels: Pixels, result: Denoised, fit_gain: bool) -> SafetyReport:
    """Compare the pixels of an image with its result in a report."""
    measured = measure_noise(source)
    after = measure_noise(open_image(result.pixels, axes=source.axes))
    valid = _valid(pixels, measured)
    removals = list(list_removals(source, result.pixels, measured))
    noise_before, noise_after = _median_sigmas(measured, after)
    psnr_before, psnr_after = _psnr_pair(pixels, result.pixels, case.truth, valid, fit_gain)
    return SafetyReport(
        name=case.name,
        noise_before=noise_before,
        noise_after=noise_after,
        removed=_rms_difference(pixels, result.pixels, valid),
        structure=structure_share(removals),
        mean_change=largest_mean_change(removals),
        confidence=_confidence(measured),
        noise=result.noise,
        treatment=result.treatment,
        psnr_before=psnr_before,
        psnr_after=psnr_after,
    )


def worst_first(reports: Sequence[SafetyReport]) -> list[SafetyReport]:
    """Sort reports: those with a truth by increasing gain, then those without by decreasing share of structure.

    Images that are too small to judge come last.
    """

    def rank(report: SafetyReport) -> tuple[bool, float, float]:
        gain = report.gain
        return gain is None, 0.0 if gain is None else gain, 1.0 if report.structure is None else -report.structure

    return sorted(reports, key=rank)


def _median_sigmas(measured: NoiseMeasurement, after: NoiseMeasurement) -> tuple[float, float]:
    """Return the standard deviation of noise before and after, median over the channels that have noise."""
    sigmas_before, sigmas_after = _channel_sigmas(measured), _channel_sigmas(after)
    strongest = max(sigmas_before)
    noisy = [i for i, sigma in enumerate(sigmas_before) if sigma >= _EMPTY_CHANNEL_SHARE * strongest]
    return median(sigmas_before[i] for i in noisy), median(sigmas_after[i] for i in noisy)


def _channel_sigmas(measured: NoiseMeasurement) -> list[float]:
    """Return the standard deviation of each channel at its median intensity, in units of the image."""
    estimate = measured.estimate
    return [c.sigma * (high - low) for c, (low, high) in zip(estimate.channels, estimate.ranges, strict=True)]


def _confidence(measured: NoiseMeasurement) -> float:
    """Return the lowest confidence of all channels; 0 for a channel with too few flat regions to measure it."""
    return min(channel.confidence if channel.certain else 0.0 for channel in measured.estimate.channels)


def _valid(image: Pixels, measured: NoiseMeasurement) -> Mask:
    """Return the mask of pixels that have an intensity, in the shape of the image: no fill value of any channel."""
    valid = np.ones(image.shape, np.bool_)
    for sample in measured.samples.values():
        missing = sample.intensity_range.missing_mask(image)
        valid = valid if missing is None else valid & ~missing
    return valid


def _rms_difference(image: Pixels, result: Pixels, valid: Mask) -> float:
    """Return the root mean square difference of the valid pixels; 0 without valid pixels."""
    difference = image[valid].astype(np.float64) - result[valid]
    return float(np.sqrt((difference**2).mean())) if difference.size else 0.0


def _psnr(image: Pixels, truth: Pixels, valid: Mask, peak: float, fit_gain: bool) -> float:
    """Return the PSNR of the valid pixels in dB, at most 100."""
    values, reference = image[valid].astype(np.float64), truth[valid].astype(np.float64)
    if fit_gain and np.ptp(values) > 0:
        values = np.asarray(np.polyval(np.polyfit(values, reference, 1), values), np.float64)
    error = float(((values - reference) ** 2).mean()) if values.size else 0.0
    if error == 0.0 or peak == 0.0:
        return _MAX_PSNR
    return min(_MAX_PSNR, 10 * float(np.log10(peak**2 / error)))


def _psnr_pair(
    before: Pixels, after: Pixels, truth: Pixels | None, valid: Mask, fit_gain: bool
) -> tuple[float | None, float | None]:
    """Return the PSNR before and after denoising; None without a truth."""
    if truth is None:
        return None, None
    valid = valid & np.isfinite(truth)
    peak = 255.0 if before.dtype == np.uint8 else _peak_of(truth[valid])
    psnr_before, psnr_after = (_psnr(image, truth, valid, peak, fit_gain) for image in (before, after))
    return psnr_before, psnr_after


def _peak_of(truth: Pixels) -> float:
    """Return the range of the truth, or its magnitude if it is constant; 0 without pixels."""
    if not truth.size:
        return 0.0
    return float(np.ptp(truth)) or float(np.abs(truth).max())
