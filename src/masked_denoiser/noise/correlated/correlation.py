"""Measurement of correlated noise, distinguished from structure.

Blur, interpolation and demosaicing leave noise that looks like texture to any single statistic. Several criteria
together distinguish them:

- Noise is a floor: no region of an intensity has less of it, so that the variances of the quietest blocks are nearly
  equal, while structure differs between blocks.
- The residual of noise grows with the dilation of the mask like that of blurred white noise. Smooth structure adds a
  part that grows with the square of the dilation; gratings grow differently.
- Noise is normally distributed, as a sum of many small causes, and has no direction, unlike fibres and edges.
- Noise is superimposed on an image. A field of nothing but correlated noise cannot be distinguished from a texture, and
  is preserved.
- Noise averages out over larger squares; texture of all sizes does not.
- Red, green and blue, or neighbouring planes, share structure but not noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.noise.blocks import BLOCK, DILATIONS, Blocks, Values
from masked_denoiser.noise.correlated.blur_fit import Blur, fit_blur
from masked_denoiser.noise.flat_regions.variance_bins import intensity_groups
from masked_denoiser.noise.modalities.prior import SharedBy

#: Noise is independent from the first dilation at which its residual has this share of its standard deviation.
_PLATEAU_SHARE = 0.92

#: Longest correlation length, in pixels, that is accepted as noise.
_MAX_LENGTH = 6

#: Smallest growth of the residual, as a ratio of standard deviations, of correlated noise.
_MIN_GROWTH = 1.22

# Confidence that texture is noise rises linearly from 0 at the first to 1 at the second of two limits.

#: Ratio of the 25th to the 5th percentile of the block variances of white noise at one intensity, and its increase per
#: square pixel of blur, as blocks of blurred noise have fewer independent values.
_FLOOR_RATIO, _FLOOR_RATIO_OF_BLUR = 1.14, 0.115

#: Limits of that ratio relative to noise, and the smallest ratio of noise: more regular blocks are not noise.
_FLOOR_LIMITS, _MIN_FLOOR_RATIO = (1.28, 1.17), 1.09

#: The limits for the noise of a tomographic reconstruction, which is stronger where fewer rays cross.
_FLOOR_LIMITS_OF_KERNELS = (1.4, 1.25)

#: Limits of the misfit of the blur.
_MISFIT_LIMITS = (0.14, 0.09)

#: Limits of the share of structure in the growth of the residual.
_GROWTH_LIMITS = (0.4, 0.25)

#: Limits of the share of structure in the residual at the dilation at which noise is independent.
_STRUCTURE_LIMITS = (0.6, 0.45)

#: Limits of the kurtosis of the residuals.
_KURTOSIS_LIMITS = (4.0, 3.6)

#: Coherence of the gradients of white noise in a block, and its increase per square pixel of blur.
_COHERENCE, _COHERENCE_OF_BLUR = 0.138, 0.027

#: Limits of the coherence in excess of that of noise.
_COHERENCE_LIMITS = (0.08, 0.04)

#: Limits of the sum of the excess kurtosis and the excess floor ratio, and the units of both. The sum is 1.4 to 2.2 for
#: gray tissue, up to 1.25 for blurred noise on photographs.
_SUM_LIMITS, _KURTOSIS_UNIT, _FLOOR_UNIT = (1.45, 1.2), 0.4, 0.3

#: Limits of the variance of the block means over that of correlated noise alone. If it is low, there may be nothing but
#: a texture (a mesh of fibres has 5 to 8, gravel 15).
_CONTENT_LIMITS = (12.0, 20.0)

#: Limits of how much more of a texture remains in larger squares than of noise. Noise on photographs, fluorescence and
#: MRI has 0.7 to 1.3, texture whose spectrum is a power of the frequency 1.5 to 2.7. Gray tissue with noise that is as
#: weak as its grain has up to 2, and is left alone.
_AVERAGING_LIMITS = (1.65, 1.35)

#: Limits of the share of the variance of the residual that is noise, if channels share their structure, at the plateau
#: and beyond. Clean tissue has up to 0.1, from compressed colours.
_NOISE_SHARE_LIMITS = (0.15, 0.21)

#: Smallest confidence at which correlated noise is accepted as noise.
MIN_CONFIDENCE = 0.5


@dataclass(frozen=True)
class Correlation:
    """Correlation of the noise of neighbouring pixels.

    Attributes:
        length: smallest distance in pixels at which noise is independent; 1 for white noise.
        width: standard deviation in pixels of the Gaussian blur of white noise with this correlation.
        box: side in pixels of the box mean that explains it better than a Gaussian; 0 if none does.
        residual: variance of the residual at dilation `length`, over the variance of the noise.
        confidence: confidence from 0 to 1 that this is noise and not structure.
        evidence: reason for or against noise, as the predicate of a sentence.
    """

    length: int = 1
    width: float = 0.0
    box: int = 0
    residual: float = 1.0
    confidence: float = 1.0
    evidence: str = "white"


def measure_correlation(
    blocks: Blocks,
    flat: list[NDArray[np.intp]],
    reliability: Values | None = None,
    *,
    noise_share: Values | None = None,
    shared_by: SharedBy = "unknown",
    averaging: Callable[[float, int], float] | None = None,
) -> Correlation:
    """Measure the correlation of the noise of neighbouring pixels.

    Args:
        blocks: blocks of one channel.
        flat: indices of the flattest blocks of each intensity, from `flat_blocks`.
        reliability: [groups], weights of the intensities in `flat`; equal by default.
        noise_share: [dilations], share of the original residuals that is noise, for channels that share their
            structure: what other channels do not explain, which is all that is left in `blocks`.
        shared_by: why pixels share noise, if it is known; such noise may have directions.
        averaging: `averaging_excess` of the channel for a width and a box; None if other channels decide.
    """
    growth = _residual_growth(blocks, flat, np.ones(len(flat)) if reliability is None else reliability)
    if growth is None:
        return Correlation()
    blur = fit_blur(growth)
    plateau = int(np.argmax(blur.residuals >= _PLATEAU_SHARE**2))
    if plateau == 0 or blur.residuals[plateau] < _MIN_GROWTH**2 * blur.residuals[0]:
        return Correlation()
    confidence, evidence = _judge_confidence(blocks, blur, plateau, shared_by=shared_by, noise_share=noise_share)
    if averaging is not None and shared_by == "unknown" and confidence >= MIN_CONFIDENCE:
        averages = _ramp(averaging(blur.width, blur.box), *_AVERAGING_LIMITS)
        if averages < MIN_CONFIDENCE:
            evidence = "remains in larger squares of pixels, unlike noise"
        confidence = min(confidence, averages)
    plateau_variance = float(growth[plateau]) ** 2 / blur.variance
    return Correlation(DILATIONS[plateau], blur.width, blur.box, plateau_variance, confidence, evidence)


def _residual_growth(blocks: Blocks, flat: list[NDArray[np.intp]], reliability: Values) -> Values | None:
    """Return the standard deviation of the residual at each dilation over that at the first, [dilations].

    None if there is nothing at a dilation, as for a pattern of alternating pixels, which is no noise.
    """
    medians = [np.median(blocks.residual[:, group], axis=1) for group in flat]
    positive = [number for number, row in enumerate(medians) if row[0] > 0]
    if not positive:
        return None
    ratios = np.stack([np.sqrt(medians[number] / medians[number][0]) for number in positive])
    growth = _weighted_median(ratios, reliability[positive])
    return growth if growth.all() else None


def _weighted_median(rows: Values, weights: Values) -> Values:
    """Return the weighted median of each column of rows."""
    order = np.argsort(rows, axis=0, kind="stable")
    sums = np.cumsum(weights[order], axis=0)
    middle = 0.5 * sums[-1]
    upper = np.argmax(sums > middle * (1.0 + 1e-9), axis=0)
    lower = np.argmax(sums >= middle * (1.0 - 1e-9), axis=0)
    columns = np.arange(rows.shape[1])
    ordered = np.take_along_axis(rows, order, axis=0)
    return np.asarray(0.5 * (ordered[lower, columns] + ordered[upper, columns]))


def _judge_confidence(
    blocks: Blocks, blur: Blur, plateau: int, *, shared_by: SharedBy, noise_share: Values | None
) -> tuple[float, str]:
    """Return the smallest confidence of all criteria, and its reason.

    Residuals that are independent between channels that share their structure only have to grow like noise.
    """
    criteria = _growth_criteria(blur, plateau)
    if noise_share is None:
        criteria += _block_criteria(blocks, blur, plateau, shared_by)
        reason = "is uniform at equal intensities"
    else:
        visible = _ramp(float(noise_share[plateau:].min()), *_NOISE_SHARE_LIMITS)
        criteria.append((visible, "is hidden by structure that the channels share"))
        reason = "is independent between channels that share their structure"
    confidence, evidence = min(criteria, key=lambda criterion: criterion[0])
    return confidence, reason if confidence >= MIN_CONFIDENCE else evidence


def _growth_criteria(blur: Blur, plateau: int) -> list[tuple[float, str]]:
    """Return the confidence and the reason of each criterion for the growth of the residual with the dilation."""
    structure = blur.structure * DILATIONS[plateau] ** 2
    growth = float(blur.residuals[plateau] / blur.residuals[0]) - 1.0
    hidden = structure / (structure + float(blur.residuals[plateau]))
    return [
        (_ramp(blur.misfit, *_MISFIT_LIMITS), "does not grow with scale like blurred noise"),
        (_ramp(structure / growth, *_GROWTH_LIMITS), "may also be white noise on structure"),
        (_ramp(hidden, *_STRUCTURE_LIMITS), "is hidden by structure of the same size"),
        (float(DILATIONS[plateau] <= _MAX_LENGTH), "extends as far as structure"),
    ]


def _block_criteria(blocks: Blocks, blur: Blur, plateau: int, shared_by: SharedBy) -> list[tuple[float, str]]:
    """Return the confidence and the reason of each criterion for the distribution of the residual within blocks."""
    floor_ratio = _floor_ratio(blocks, plateau)
    relative_floor = floor_ratio / (_FLOOR_RATIO + _FLOOR_RATIO_OF_BLUR * blur.width**2)
    kurtosis = _quiet_kurtosis(blocks)
    excess = (kurtosis - 3.0) / _KURTOSIS_UNIT + max(relative_floor - 1.0, 0.0) / _FLOOR_UNIT
    floor_limits = _FLOOR_LIMITS_OF_KERNELS if shared_by == "kernel" else _FLOOR_LIMITS
    content = _ramp(_content_ratio(blocks, plateau, blur), *_CONTENT_LIMITS)
    normal = (_ramp(kurtosis, *_KURTOSIS_LIMITS), "is not normally distributed, unlike noise")
    shapeless = (
        (_ramp(excess, *_SUM_LIMITS), "is uneven and not normally distributed, unlike noise"),
        (_ramp(_excess_coherence(blocks, blur.width), *_COHERENCE_LIMITS), "has directions, as fibres and edges do"),
    )
    return [
        (_ramp(relative_floor, *floor_limits), "differs between blocks, as structure does"),
        (_ramp(floor_ratio, _MIN_FLOOR_RATIO - 0.02, _MIN_FLOOR_RATIO), "is more regular than noise"),
        *((normal,) if shared_by != "speckle" else ()),
        *(shapeless if shared_by == "unknown" else ()),
        (content, "is indistinguishable from texture without an image"),
    ]


def _floor_ratio(blocks: Blocks, plateau: int) -> float:
    """Return the ratio of the 25th to the 5th percentile of the block variances at one intensity."""
    ratios = []
    for group in intensity_groups(blocks):
        low, quarter = np.percentile(blocks.residual[plateau, group], (5, 25))
        if low > 0:
            ratios.append(float(quarter / low))
    return float(np.median(ratios)) if ratios else np.inf


def _quiet_kurtosis(blocks: Blocks) -> float:
    """Return the kurtosis of the residual of the quietest blocks, which is 3 for noise but not for fibres and edges."""
    return float(np.mean(blocks.kurtosis[_quietest_blocks(blocks)]))


def _excess_coherence(blocks: Blocks, width: float) -> float:
    """Return the coherence of the quietest blocks in excess of that of noise blurred by this width."""
    expected = _COHERENCE + _COHERENCE_OF_BLUR * width**2
    return float(np.mean(blocks.coherence[_quietest_blocks(blocks)])) - expected


def _quietest_blocks(blocks: Blocks) -> NDArray[np.intp]:
    return np.argsort(blocks.residual[1], kind="stable")[: max(6, len(blocks.mean) // 4)]


def _content_ratio(blocks: Blocks, plateau: int, blur: Blur) -> float:
    """Return the variance of the block means over that expected from correlated noise alone."""
    variance = float(np.median(blocks.residual[plateau]))
    expected = variance * (4.0 * np.pi * blur.width**2 + 1.0) / BLOCK**2
    return float(np.var(blocks.mean) / max(expected, 1e-300))


def _ramp(value: float, rejected: float, accepted: float) -> float:
    """Return a confidence that rises linearly from 0 at `rejected` to 1 at `accepted`."""
    return float(np.clip((value - rejected) / (accepted - rejected), 0.0, 1.0))
