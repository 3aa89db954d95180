"""Noise that neighbours share, distinguished from structure.

Blur, interpolation and demosaicing leave noise that looks like texture to any one statistic. What tells them apart:

- Noise is a floor. At one intensity no region has less of it, so that the variances of the quietest blocks lie close
  together; structure differs from block to block.
- Its residual grows with the spread of the mask as that of white noise does after a blur. Smooth structure adds what
  grows with the square of the spread; a grating grows like neither.
- It is normal, as sums of many small causes are, and has no direction; fibres and edges are neither.
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

#: Noise is independent from the first spread on at which its residual has this share of its standard deviation.
_PLATEAU = 0.92

#: Longest correlation length, in pixels, that is told from structure.
_LONGEST = 6

#: Smallest growth of the residual, as a ratio of standard deviations, that is called correlation.
_LEAST_GROWTH = 1.22

#: Ratio of the 25th to the 5th percentile of the variances of blocks of one intensity, of noise: without blur, and
#: more for each square pixel of blur, since a block holds fewer independent values.
_FLOOR, _FLOOR_OF_BLUR = 1.14, 0.115

#: That ratio against the one of noise: up to the one it surely is a floor, from the other on surely none. Below the
#: third ratio blocks are more regular than any noise.
_IS_FLOOR, _NO_FLOOR, _REGULAR = 1.17, 1.28, 1.09

#: Spreads that a blur is fitted to, and misfits up to which it explains them surely, and from which it does not.
_FITTED, _MISFIT = 7, (0.09, 0.14)

#: Structure, as a share of the noise at the finest spread, that is tried besides blurs.
_STRUCTURES = np.concatenate(([0.0], np.geomspace(1e-4, 0.3, 23)))

#: Structure, against what blur takes from the residual at the finest spread: up to the one the growth is surely that of
#: a blur, from the other on it may be that of structure.
_GROWTH_OF_BLUR, _GROWTH_OF_STRUCTURE = 0.25, 0.4

#: Structure as a share of the residual where noise is independent: up to the one noise can be told, from the other not.
_MOSTLY_NOISE, _MOSTLY_STRUCTURE = 0.45, 0.6

#: Distance in pixels that blurs reach: twice the widest spread is looked at.
_REACH = 2 * SPREADS[-1]

#: Sides of means that are tried besides Gaussians, and the width of the Gaussian of the same variance, for each pixel.
_BOXES, _BOX_WIDTH = (2, 3), 0.272

#: Kurtosis up to which residuals are noise, and from which on they are not.
_NORMAL, _NOT_NORMAL = 3.6, 4.0

#: Coherence of the gradients of blurred noise in a block: without blur, and more for each square pixel of blur.
_COHERENCE, _COHERENCE_OF_BLUR = 0.138, 0.027

#: Coherence beyond that of noise up to which residuals are noise, and from which on they are structure.
_NO_DIRECTION, _DIRECTION = 0.04, 0.08

#: An excess of kurtosis of 0.4, or a floor uneven by 0.3, is one piece of evidence for structure: up to the first
#: number of them it is surely noise, from the second on structure. Gray tissue has 1.4 to 2.2, blurred noise on
#: photographs up to 1.25.
_PIECES, _EXCESS, _UNEVEN = (1.2, 1.45), 0.4, 0.3

#: Variance of the block means over what correlated noise alone explains: up to the one there may be nothing but a
#: texture (a mesh of fibres has 5 to 8, gravel 15), from the other on there is an image below the noise.
_TEXTURE_ALONE, _CONTENT = 12.0, 20.0

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
        residual: variance of the residual at the spread `length`, over the variance of the noise.
        confidence: 0 to 1, that this is noise and not structure.
        evidence: what speaks for it or against it, for a person.
    """

    length: int = 1
    width: float = 0.0
    box: int = 0
    residual: float = 1.0
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
    blur = fit_blur(growth)
    at = int(np.argmax(blur.residuals >= _PLATEAU**2))
    if at == 0 or blur.residuals[at] < _LEAST_GROWTH**2 * blur.residuals[0]:
        return Correlation()
    confidence, evidence = _judge(blocks, blur, at, independent)
    if shares_structure:
        surely = _ramp(independent, *_SURELY_INDEPENDENT)
        if surely > confidence:
            confidence, evidence = surely, "is independent between channels that share their structure"
    seen = float(growth[at]) ** 2 / blur.variance
    return Correlation(SPREADS[at], blur.width, blur.box, seen, confidence, evidence)


def _growth(blocks: Blocks, flat: list[NDArray[np.intp]]) -> Values | None:
    """Standard deviation of the residual at each spread over that of the first, [spreads]."""
    middle = [np.median(blocks.residual[:, group], axis=1) for group in flat]
    ratios = [np.sqrt(row / row[0]) for row in middle if row[0] > 0]
    return np.asarray(np.median(ratios, axis=0)) if ratios else None


def _judge(blocks: Blocks, blur: Blur, at: int, independent: float) -> tuple[float, str]:
    """The least of the confidences, and what it rests on."""
    floor = floor_ratio(blocks, at)
    against_noise = floor / (_FLOOR + _FLOOR_OF_BLUR * blur.width**2)
    structure = blur.structure * SPREADS[at] ** 2
    growth = float(blur.residuals[at] / blur.residuals[0]) - 1.0
    kurtosis = _kurtosis(blocks)
    pieces = (kurtosis - 3.0) / _EXCESS + max(against_noise - 1.0, 0.0) / _UNEVEN
    judgements = (
        (_ramp(against_noise, _NO_FLOOR, _IS_FLOOR), "differs from block to block, as structure does"),
        (_ramp(floor, _REGULAR - 0.02, _REGULAR), "is more regular than noise"),
        (_ramp(kurtosis, _NOT_NORMAL, _NORMAL), "is not distributed as noise is"),
        (_ramp(pieces, _PIECES[1], _PIECES[0]), "is uneven and not distributed as noise is"),
        (_ramp(_direction(blocks, blur.width), _DIRECTION, _NO_DIRECTION), "has directions, as fibres and edges have"),
        (_ramp(blur.misfit, _MISFIT[1], _MISFIT[0]), "grows with scale unlike blurred noise"),
        (_ramp(structure / growth, _GROWTH_OF_STRUCTURE, _GROWTH_OF_BLUR), "may as well be white noise on structure"),
        (
            _ramp(structure / (structure + float(blur.residuals[at])), _MOSTLY_STRUCTURE, _MOSTLY_NOISE),
            "hides in structure of the same size",
        ),
        (float(SPREADS[at] <= _LONGEST), "reaches as far as structure"),
        (_ramp(_content(blocks, at, blur), _TEXTURE_ALONE, _CONTENT), "cannot be told from texture without an image"),
        (_ramp(independent, _INDEPENDENT - 0.2, _INDEPENDENT), "is shared by channels or planes, as structure is"),
    )
    confidence, evidence = min(judgements, key=lambda judgement: judgement[0])
    return confidence, "is the same everywhere at an intensity" if confidence >= BELIEVED else evidence


def floor_ratio(blocks: Blocks, spread: int) -> float:
    """Return the ratio of the 25th to the 5th percentile of block variances of one intensity."""
    ratios = []
    for group in intensity_groups(blocks):
        low, quarter = np.percentile(blocks.residual[spread, group], (5, 25))
        if low > 0:
            ratios.append(float(quarter / low))
    return float(np.median(ratios)) if ratios else np.inf


def _kurtosis(blocks: Blocks) -> float:
    """Kurtosis of the residual of the quietest blocks: that of noise is 3, that of fibres and edges is not."""
    return float(np.mean(blocks.kurtosis[_quiet(blocks)]))


def _direction(blocks: Blocks, width: float) -> float:
    """Coherence of the quietest blocks beyond that of noise that was blurred with this width."""
    expected = _COHERENCE + _COHERENCE_OF_BLUR * width**2
    return float(np.mean(blocks.coherence[_quiet(blocks)])) - expected


def _quiet(blocks: Blocks) -> NDArray[np.intp]:
    return np.argsort(blocks.residual[1], kind="stable")[: max(6, len(blocks.mean) // 4)]


def _content(blocks: Blocks, at: int, blur: Blur) -> float:
    """Variance of the block means over what correlated noise of this strength alone would give them."""
    variance = float(np.median(blocks.residual[at]))
    of_noise = variance * (4.0 * np.pi * blur.width**2 + 1.0) / BLOCK**2
    return float(np.var(blocks.mean) / max(of_noise, 1e-300))


def _ramp(value: float, zero: float, one: float) -> float:
    """0 at `zero`, 1 at `one`, straight between them."""
    return float(np.clip((value - zero) / (one - zero), 0.0, 1.0))


@dataclass(frozen=True)
class Blur:
    """The blur whose noise grows with the spread as a residual does.

    Attributes:
        width, box: as of `Correlation`.
        residuals: [spreads], variance of the residual of the noise at each of `SPREADS`, over that of the noise.
        structure: variance of the residual of structure at a spread of one pixel, over that of the noise; it grows with
            the square of the spread.
        variance: of the noise, over that of the residual at a spread of one pixel.
        misfit: root mean square of the logarithm of observed over expected standard deviations.
    """

    width: float
    box: int
    residuals: Values
    structure: float
    variance: float
    misfit: float


def fit_blur(growth: Values) -> Blur:
    """Return the blur, and the share of structure, that explain how a residual grows.

    Args:
        growth: [spreads], standard deviation of the residual at each of `SPREADS` over that of the first.
    """
    blurs = [(float(width), 0) for width in np.linspace(0.0, 2.0, 81)] + [(_BOX_WIDTH * box, box) for box in _BOXES]
    shares = np.array([residual_share(*blur) for blur in blurs])
    squares = np.square(np.array(SPREADS, np.float64))
    expected = (shares[:, None] + _STRUCTURES[:, None] * squares)[..., :_FITTED]
    ratios = 2.0 * np.log(growth[:_FITTED]) - np.log(expected)
    misfits = 0.5 * ratios.std(axis=-1)
    best = np.unravel_index(int(np.argmin(misfits)), misfits.shape)
    width, box = blurs[best[0]]
    variance = float(np.exp(ratios[best].mean()))
    return Blur(width, box, shares[best[0]], float(_STRUCTURES[best[1]]), variance, float(misfits[best]))


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
