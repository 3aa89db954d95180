"""Limits of a correction: no more is removed than the measured noise can explain, and local means are kept.

A blind network infers the noise from the image. Sometimes it mistakes fine structure for noise, or erases a bead as if
it were an impulse. As the strength of the noise has been measured, what cannot be noise is restored.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masked_denoiser.denoising.correction.box_mean import box_mean
from masked_denoiser.denoising.correction.faint_objects import faint_objects
from masked_denoiser.inference.memory_limits import is_out_of_memory
from masked_denoiser.inference.transfer import to_device, to_host
from masked_denoiser.noise.variance_model import NoiseVariance

_LOG = logging.getLogger(__name__)

_CPU = torch.device("cpu")

Batch = NDArray[np.float32]

#: Distance in pixels up to which pixels contribute to a local mean.
MEAN_REACH = 16

#: Side in pixels of the square around a pixel over which energies and means are limited.
_LOCAL_SIDE = 2 * MEAN_REACH + 1

#: Corrections up to the first number of standard deviations are applied fully, from the second on not at all, because
#: noise does not reach that far.
_FULL_CORRECTION_SIGMAS, _NO_CORRECTION_SIGMAS = 4.5, 6.5

#: Share of a soft limit above which the original correction cannot be recovered.
_SATURATED = 0.9999

#: Least variance of the noise, as a share of that at the local mean: a dark pixel may owe its low value to noise.
_MIN_VARIANCE_SHARE = 0.25

#: Side in pixels of the square over which the intensity that determines the noise is smoothed.
_INTENSITY_SIDE = 7

#: Largest weight of a single pixel in a local mean, in standard deviations.
_MAX_SIGMAS_OF_PIXEL = 8.0

#: Largest ratio of the removed to the measured standard deviation over 33 x 33 pixels, as measurements have errors.
_MEASUREMENT_MARGIN = 1.3

#: Photons per pixel up to which local means are kept entirely, and from which on changes within chance are allowed.
_FEW_PHOTONS, _MANY_PHOTONS = 20.0, 50.0

#: Standard deviations beyond which the density of a normal variable counts as 0; smaller numbers would be slow.
_FAR = 8.0

#: Standard deviations of the local mean of a correction within which it counts as chance.
_CHANCE_SIGMAS = 2.0


@dataclass(frozen=True, eq=False)
class VarianceModel:
    """Variance as a function of intensity for each channel; coefficients [C, 1, 1].

    Attributes:
        has_gain, has_quadratic: whether the gain, or the quadratic term, of any channel is not zero.
    """

    gain: Tensor
    variance: Tensor
    floor: Tensor
    quadratic: Tensor
    has_gain: bool
    has_quadratic: bool

    @classmethod
    def of(cls, noise: Sequence[NoiseVariance], device: torch.device) -> VarianceModel:
        """Return the model of the noise of each channel."""
        coefficients = [(each.gain, each.variance, max(each.floor, 1e-12), each.quadratic) for each in noise]
        by_name = torch.tensor(coefficients, dtype=torch.float32, device=device).T[..., None, None]
        grows = (any(each.gain for each in noise), any(each.quadratic for each in noise))
        return cls(by_name[0], by_name[1], by_name[2], by_name[3], *grows)

    @property
    def constant(self) -> Tensor | None:
        """Variance [C, 1, 1] if it is the same at all intensities, else None."""
        return None if self.has_gain or self.has_quadratic else torch.maximum(self.variance, self.floor)

    def at(self, intensity: Tensor) -> Tensor:
        """Return the variance at an intensity, or `constant`."""
        if self.constant is not None:
            return self.constant
        growth = intensity * self.quadratic + self.gain if self.has_quadratic else self.gain
        return torch.maximum((growth * intensity).add_(self.variance), self.floor)

    def around(self, images: Tensor, side: int) -> Tensor:
        """Return the variance at the mean over side x side pixels, or `constant`."""
        return self.at(box_mean(images, side)) if self.constant is None else self.constant


def limit_correction(
    denoised: Batch,
    tiles: Batch,
    noise: Sequence[NoiseVariance],
    width: float = 0.0,
    clipped: tuple[float, float] = (-np.inf, np.inf),
    unlimited: Batch | None = None,
    device: torch.device = _CPU,
    keep_faint: bool = True,
) -> Batch:
    """Return a result with everything restored that cannot be noise.

    Four limits apply in turn: to each pixel, to the energy over 33 x 33 pixels, to means over the sizes of faint
    objects, and to the mean over 33 x 33 pixels.

    Args:
        denoised, tiles: [B, C, H, W] in the same units.
        noise: of each channel, or one item for all of them.
        width: of the blur that explains the correlation of the noise, in pixels; 0 for white noise.
        clipped: lowest and highest intensity, where the image was clipped after the noise; otherwise infinite.
        unlimited: [B, C, H, W], what the network would return without its soft limit, so that a bead that it
            takes for noise of 100 standard deviations is kept, and not darkened by 4. None if it has no soft limit.
        device: where to compute; if its memory runs out, this is done on the CPU.
        keep_faint: whether to put back faint objects, see `faint_objects`.
    """
    batches = denoised, tiles, denoised if unlimited is None else unlimited
    try:
        return _limit_on(device, batches, noise, width, clipped, keep_faint)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        _LOG.info("corrections of some tiles are limited on the CPU, as memory of %s ran out", device)
    return _limit_on(_CPU, batches, noise, width, clipped, keep_faint)


def undo_soft_limit(limited: Batch, network_input: Batch, limit: Batch) -> Batch:
    """Return the output that a network would have without the soft limit `limit * tanh(correction / limit)`.

    Args:
        limited: [B, C, H, W], output of the network.
        network_input: [B, C, H, W].
        limit: [B, 1, H, W] in the same units, zero where there is no noise.
    """
    share = (limited - network_input) / np.maximum(limit, 1e-12)
    return np.asarray(network_input + limit * np.arctanh(np.clip(share, -_SATURATED, _SATURATED)), np.float32)


def _limit_on(
    device: torch.device,
    batches: tuple[Batch, Batch, Batch],
    noise: Sequence[NoiseVariance],
    width: float,
    clipped: tuple[float, float],
    keep_faint: bool,
) -> Batch:
    denoised, tiles, unlimited = (to_device(np.ascontiguousarray(batch), device) for batch in batches)
    return to_host(_limit(denoised, tiles, unlimited, VarianceModel.of(noise, device), width, clipped, keep_faint))()


def _limit(
    denoised: Tensor,
    tiles: Tensor,
    unlimited: Tensor,
    model: VarianceModel,
    width: float,
    clipped: tuple[float, float],
    keep_faint: bool,
) -> Tensor:
    local_variance = model.around(tiles, _LOCAL_SIDE)
    least_variance = _MIN_VARIANCE_SHARE * local_variance
    removed = (tiles - denoised) * _plausible_share(tiles - unlimited, unlimited, least_variance, model)
    energy = box_mean(removed.square(), _LOCAL_SIDE).clamp_(min=1e-24)
    removed *= (_MEASUREMENT_MARGIN * (local_variance / energy).sqrt_()).clamp_(max=1.0)
    if keep_faint:
        sigma = torch.maximum(model.around(tiles - removed, _INTENSITY_SIDE), least_variance).sqrt_()
        objects = faint_objects(removed / sigma, width, model.gain / sigma)
        if objects is not None:
            removed -= objects.mul_(sigma)
    removed -= _bias(removed, tiles - removed, least_variance, model, width, clipped)
    return tiles - removed


def _plausible_share(removed: Tensor, denoised: Tensor, least_variance: Tensor, model: VarianceModel) -> Tensor:
    """Return the share of each correction that can be noise: 1 for small corrections, 0 for large ones.

    Photon noise extends farther upwards than downwards: by the expansion of Cornish and Fisher (1938) its quantile at z
    standard deviations lies (z^2 - 1) / 6 photons above that of normal noise, and twice as far where a detector
    multiplies each photon by a random factor, as EMCCDs and photomultipliers do (gamma noise). As the detector is not
    known, the larger of the two is allowed.
    """
    sigma = torch.maximum(model.at(denoised), least_variance).sqrt_()
    upwards, downwards = _skew(model)
    distance = torch.maximum(removed - upwards, -removed - downwards).clamp_(min=0.0).div_(sigma)
    return ((_NO_CORRECTION_SIGMAS - distance) / (_NO_CORRECTION_SIGMAS - _FULL_CORRECTION_SIGMAS)).clamp_(0.0, 1.0)


def _skew(model: VarianceModel) -> tuple[Tensor, Tensor]:
    """Return how much farther photon noise extends than normal noise: upwards, and downwards in an inverted image.

    [C, 1, 1] each; see `_plausible_share`.
    """
    photons = (_FULL_CORRECTION_SIGMAS**2 - 1.0) / 3.0
    return photons * model.gain.clamp(min=0.0), photons * (-model.gain).clamp(min=0.0)


def _bias(
    removed: Tensor,
    kept: Tensor,
    least_variance: Tensor,
    model: VarianceModel,
    width: float,
    clipped: tuple[float, float],
) -> Tensor:
    """Return what a correction removes from local means beyond chance; negative where it adds to them.

    The mean of noise over a thousand pixels is close to zero, so the rest is an error of the network, which returns
    medians instead of means. It is measured in units of the noise, so that bright regions do not affect dim ones.
    """
    # The intensity is smoothed because what was removed from a pixel is not independent of what is kept of it.
    sigma = torch.maximum(model.around(kept, _INTENSITY_SIDE), least_variance).sqrt_()
    # Where the measured noise is too low, no pixel may outweigh its neighbourhood; a rare photon may.
    upwards, downwards = (_MAX_SIGMAS_OF_PIXEL + skew / sigma for skew in _skew(model))
    mean = box_mean((removed / sigma).minimum(upwards).maximum(-downwards), _LOCAL_SIDE)
    if np.isfinite(clipped).any():
        expected = box_mean(_mean_after_clipping(kept, sigma, clipped), _LOCAL_SIDE)
        mean -= mean.clamp(expected.clamp(max=0.0), expected.clamp(min=0.0))
    chance = _CHANCE_SIGMAS * math.sqrt(4.0 * math.pi * width**2 + 1.0) / _LOCAL_SIDE
    significant = torch.nn.functional.softshrink(mean, chance)
    if not model.has_gain:
        return significant.mul_(sigma)
    few = _share_of_few_photons(kept, model)
    return torch.lerp(significant, mean, few).mul_(sigma)


def _share_of_few_photons(kept: Tensor, model: VarianceModel) -> Tensor:
    """Return 1 where a pixel has few photons and its local mean is kept entirely, 0 where it has many."""
    gain = model.gain.clamp(min=1e-12)
    photons = kept / gain + model.variance / gain**2
    few = ((_MANY_PHOTONS - photons) / (_MANY_PHOTONS - _FEW_PHOTONS)).clamp_(0.0, 1.0)
    return few.mul_(model.gain > 0)


def _mean_after_clipping(kept: Tensor, sigma: Tensor, clipped: tuple[float, float]) -> Tensor:
    """Return the mean of clipped normal noise, in standard deviations: below 0 near white, above 0 near black."""
    mean = torch.zeros_like(kept)
    for limit, sign in zip(clipped, (1.0, -1.0), strict=True):
        if math.isfinite(limit):
            mean += sign * _mean_excess(sign * (limit - kept) / sigma)
    return mean


def _mean_excess(threshold: Tensor) -> Tensor:
    """Return the mean of max(threshold - x, 0) for a standard normal x: how far clipping at the threshold raises it."""
    density = threshold.clamp(-_FAR, _FAR).square_().mul_(-0.5).exp_().mul_(1.0 / math.sqrt(2.0 * math.pi))
    return torch.nn.functional.gelu(threshold).add_(density)  # GELU is the threshold times the share of x below it
