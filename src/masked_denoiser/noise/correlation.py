"""Noise that neighbours share, distinguished from structure.

Blur, interpolation and demosaicing leave noise that looks like texture to any one statistic. What tells them apart:

- Noise is a floor. At one intensity no region has less of it, so that the variances of the quietest blocks lie close
  together; structure differs from block to block.
- Its residual grows with the spread of the mask until the correlation length, and then neither grows nor falls:
  a grating falls, and large structure goes on growing.
- It is normal, as sums of many small causes are; fibres and edges are not.
- It lies on top of an image. A field of nothing but correlated noise cannot be told from a texture, and is left alone.
- Red, green and blue, or neighbouring planes, share structure but not noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.noise.blocks import BLOCK, MARGIN, SPREADS, Blocks, blocks_of, residual
from masked_denoiser.noise.variance_model import intensity_groups

Values = NDArray[np.float64]

#: A residual has reached its plateau at the first spread with this share of what any later one has.
_PLATEAU = 0.92

#: Correlation lengths that are looked for at most, in pixels, and spreads that are compared.
_LONGEST, _COMPARED = 5, 7

#: Smallest growth of the residual, as a ratio of standard deviations, that is called correlation.
_LEAST_GROWTH = 1.12

#: Ratio of the 25th to the 5th percentile of the variances of blocks of one intensity: from the one on they are
#: surely no floor, up to the other they surely are one; below the third they are more regular than any noise.
_NO_FLOOR, _FLOOR, _REGULAR = 1.5, 1.37, 1.09

#: Spreads that a blur is fitted to, and misfits up to which it explains them surely, and from which it does not.
_FITTED, _MISFIT = 5, (0.12, 0.18)

#: Distance in pixels that blurs reach: twice the widest spread is looked at.
_REACH = 2 * SPREADS[-1]

#: Sides of means that are tried besides Gaussians, and the width of the Gaussian of the same variance, for each pixel.
_BOXES, _BOX_WIDTH = (2, 3), 0.272

#: Kurtosis up to which residuals are noise, and from which on they are not.
_NORMAL, _NOT_NORMAL = 3.6, 4.0

#: Behind the plateau the residual may fall to this share of it, and grow by this factor.
_FALLS, _GROWS = 0.85, 1.6

#: Block means vary this many times more than correlated noise alone explains, where there is an image.
_CONTENT = 4.0

#: Of the residuals of channels at least this share is independent of the other channels, if they are noise.
_INDEPENDENT = 0.5

#: Channels share fine structure if less than this of the residual of the most structured blocks is independent.
_SHARED = 0.5

#: Blocks with less than this share of the median residual are constant.
_DEAD = 0.02

#: Where channels share their structure, residuals of up to the first share are structure, from the second on noise.
_SURELY_INDEPENDENT = (0.6, 0.75)

#: Confidence from which correlated noise is believed.
BELIEVED = 0.5


@dataclass(frozen=True)
class Correlation:
    """How far neighbours share noise.

    Attributes:
        length: smallest distance in pixels at which noise is independent; 1 for white noise.
        width: standard deviation in pixels of the Gaussian that white noise would have to be blurred with.
        box: side in pixels of the mean that explains it better than a Gaussian; 0 for none.
        confidence: 0 to 1, that this is noise and not structure.
        evidence: what speaks for it or against it, for a person.
    """

    length: int = 1
    width: float = 0.0
    box: int = 0
    confidence: float = 1.0
    evidence: str = "white"


def measure_correlation(
    blocks: Blocks, flat: list[NDArray[np.intp]], independent: float = 1.0, *, shares_structure: bool = False
) -> Correlation:
    """Measure how far neighbours share noise.

    Args:
        blocks: of one channel.
        flat: the flattest of each intensity, as of `flat_blocks`.
        independent: share of the residual at the plateau that other channels do not explain; 1 for a single channel.
        shares_structure: whether the channels show the same structure, so that what is independent must be noise.
    """
    growth = _growth(blocks, flat)
    if growth is None:
        return Correlation()
    compared = growth[:_COMPARED]
    later = np.maximum.accumulate(compared[::-1])[::-1]
    at = int(np.argmax(compared >= _PLATEAU * later))
    if growth[at] < _LEAST_GROWTH or at == 0:
        return Correlation()
    width, box, misfit = fit_blur(growth)
    confidence, evidence = _judge(blocks, growth, at, width, misfit, independent)
    if SPREADS[at] > _LONGEST:
        confidence, evidence = 0.0, "reaches as far as structure"
    if shares_structure:
        surely = _ramp(independent, *_SURELY_INDEPENDENT)
        if surely > confidence:
            confidence, evidence = surely, "is independent between channels that share their structure"
    # Structure raises the residual behind the plateau, so that the blur tells the length and not the plateau itself.
    length = int(np.argmax(residual_share(width, box) >= _PLATEAU**2))
    return Correlation(SPREADS[length], width, box, confidence, evidence)


def _growth(blocks: Blocks, flat: list[NDArray[np.intp]]) -> Values | None:
    """Standard deviation of the residual at each spread over that of the first, [spreads]."""
    middle = [np.median(blocks.residual[:, group], axis=1) for group in flat]
    ratios = [np.sqrt(row / row[0]) for row in middle if row[0] > 0]
    return np.asarray(np.median(ratios, axis=0)) if ratios else None


def _judge(
    blocks: Blocks, growth: Values, at: int, width: float, misfit: float, independent: float
) -> tuple[float, str]:
    """The least of the confidences, and what it rests on."""
    floor = floor_ratio(blocks, at)
    after = growth[at : at + 4]
    judgements = (
        (_ramp(floor, _NO_FLOOR, _FLOOR), "differs from block to block, as structure does"),
        (_ramp(floor, _REGULAR - 0.02, _REGULAR), "is more regular than noise"),
        (_ramp(float(after.min() / growth[at]), _FALLS - 0.1, _FALLS), "is periodic, as structure is"),
        (_ramp(float(after.max() / growth[at]), _GROWS + 0.3, _GROWS), "goes on growing with scale"),
        (_ramp(_kurtosis(blocks), _NOT_NORMAL, _NORMAL), "is not distributed as noise is"),
        (_ramp(misfit, _MISFIT[1], _MISFIT[0]), "grows with scale unlike blurred noise"),
        (_ramp(_content(blocks, at, width), 0.5 * _CONTENT, _CONTENT), "cannot be told from texture without an image"),
        (_ramp(independent, _INDEPENDENT - 0.2, _INDEPENDENT), "is shared by channels or planes, as structure is"),
    )
    confidence, evidence = min(judgements, key=lambda judgement: judgement[0])
    return confidence, "is the same everywhere at an intensity" if confidence >= BELIEVED else evidence


def floor_ratio(blocks: Blocks, spread: int) -> float:
    """Return the ratio of the 25th to the 5th percentile of block variances: 1.1 to 1.35 for noise."""
    ratios = []
    for group in intensity_groups(blocks):
        low, quarter = np.percentile(blocks.residual[spread, group], (5, 25))
        if low > 0:
            ratios.append(float(quarter / low))
    return float(np.median(ratios)) if ratios else np.inf


def _kurtosis(blocks: Blocks) -> float:
    """Kurtosis of the residual of the quietest blocks: that of noise is 3, that of fibres and edges is not."""
    quiet = np.argsort(blocks.residual[1], kind="stable")[: max(6, len(blocks.mean) // 4)]
    return float(np.mean(blocks.kurtosis[quiet]))


def _content(blocks: Blocks, at: int, width: float) -> float:
    """Variance of the block means over what correlated noise of this strength alone would give them."""
    variance = float(np.median(blocks.residual[at]))
    of_noise = variance * (4.0 * np.pi * width**2 + 1.0) / BLOCK**2
    return float(np.var(blocks.mean) / max(of_noise, 1e-300))


def _ramp(value: float, zero: float, one: float) -> float:
    """0 at `zero`, 1 at `one`, straight between them."""
    return float(np.clip((value - zero) / (one - zero), 0.0, 1.0))


def fit_blur(growth: Values) -> tuple[float, int, float]:
    """Return the blur whose noise grows like this with the spread: width and box as of `Correlation`, and the misfit.

    The misfit is the root mean square of the logarithm of observed over expected standard deviations.
    """
    blurs = [(float(width), 0) for width in np.linspace(0.0, 2.0, 81)] + [(_BOX_WIDTH * box, box) for box in _BOXES]
    seen = np.log(growth[:_FITTED])
    shares = [residual_share(width, box)[:_FITTED] for width, box in blurs]
    errors = [float(np.sqrt(np.mean((seen - 0.5 * np.log(share / share[0])) ** 2))) for share in shares]
    best = int(np.argmin(errors))
    return *blurs[best], errors[best]


def residual_share(width: float, box: int = 0) -> Values:
    """Return the variance of the residual at each of `SPREADS`, of blurred white noise of unit variance, [spreads].

    The mask is separable; along each axis its response to noise with the correlation c has the variance
    (6 - 8 c(s) + 2 c(2 s)) / 6 at spread s.
    """
    near, far = _correlation(width, box)[list(SPREADS)], _correlation(width, box)[[2 * spread for spread in SPREADS]]
    return np.asarray(((6.0 - 8.0 * near + 2.0 * far) / 6.0) ** 2)


def _correlation(width: float, box: int) -> Values:
    """Correlation of blurred white noise at distances from 0 to twice the widest spread, along one axis."""
    offsets = np.arange(-_REACH, _REACH + 1)
    kernel = np.exp(-(offsets**2) / (2.0 * max(width, 1e-2) ** 2))
    if box:
        kernel = np.where((offsets >= 0) & (offsets < box), 1.0, 0.0)
    full = np.correlate(kernel, kernel, mode="full")
    return np.asarray(full[2 * _REACH :] / full[2 * _REACH])


def independent_share(stacks: Sequence[NDArray[np.float64]], spread: int, *, flat: bool = True) -> Values:
    """Return of each channel the share of its residual that the other channels do not explain, [channels].

    Independent noise gives 1; texture that all channels share along a stain's colour gives next to nothing.

    Args:
        stacks: [channels, H, W] each: red, green and blue, or the same place of neighbouring planes.
        spread: of the mask, in pixels.
    """
    covariances = [
        c for stack in stacks if min(stack.shape[1:]) >= BLOCK + 2 * MARGIN for c in _covariances(stack, spread)
    ]
    channels = len(stacks[0])
    if not covariances:
        return np.ones(channels)
    each = np.array(covariances)
    total = np.trace(each, axis1=1, axis2=2)
    # Constant blocks, such as blank paper that was compressed, say nothing.
    alive_blocks = np.flatnonzero(total > _DEAD * np.median(total))
    order = alive_blocks[np.argsort(total[alive_blocks], kind="stable")]
    if not order.size:
        return np.ones(channels)
    few = max(6, order.size // 4)
    covariance = each[order[:few] if flat else order[-max(6, few // 5) :]].mean(axis=0)
    own = np.diag(covariance)
    alive = own > 1e-12 * max(float(own.max()), 1e-300)
    shares = np.ones(channels)
    if alive.sum() > 1:
        part = covariance[np.ix_(alive, alive)]
        ridge = part + 1e-6 * np.diag(np.diag(part))
        shares[alive] = 1.0 / np.diag(np.linalg.inv(ridge)) / np.diag(ridge)
    return np.clip(shares, 0.0, 1.0)


def share_structure(stacks: Sequence[NDArray[np.float64]], spread: int) -> bool:
    """Return whether channels [channels, H, W] share fine structure, as photographs and stained tissue do.

    Channels of a fluorescence image do not: what is independent there may be structure as well as noise.

    Args:
        stacks: [channels, H, W] each.
        spread: of the mask, in pixels.
    """
    return bool(independent_share(stacks, spread, flat=False).max() < _SHARED)


def _covariances(stack: NDArray[np.float64], spread: int) -> Values:
    """[blocks, channels, channels]: of the residuals of the channels in each block."""
    response = residual(stack, spread)[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    rows = np.stack([blocks_of(channel) for channel in response], axis=1)
    return np.asarray(rows @ rows.transpose(0, 2, 1) / rows.shape[2])
