"""Trial of noise treatments: each is run on a few places of the image, and scored without the clean image.

The error of a denoiser consists of noise that it leaves and structure that it removes. Both can be estimated without
the clean image, in the manner of Stein's unbiased risk estimate and its Monte-Carlo form (Ramani, Blu and Unser,
*Monte-Carlo SURE*, IEEE TIP 2008): a little more noise of the measured kind is added, and the response of the denoiser
shows which share of such noise it leaves and which it removes. Anything else that it removes is structure. This also
holds for correlated and signal-dependent noise, if the added noise is of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter, uniform_filter

from masked_denoiser.denoising.impulse_replacement import extreme_pixels
from masked_denoiser.denoising.noise_treatment import NoiseTreatment
from masked_denoiser.noise.variance_model import NoiseVariance

Batch = NDArray[np.float32]

#: Function that applies a treatment to tiles [B, C, H, W].
Denoise = Callable[[Batch, NoiseTreatment], Batch]

#: Standard deviation of the added noise, as a share of the measured one.
_PROBE_SHARE = 0.25

#: Distance in pixels from an impulse that was not replaced up to which a trial is not evaluated.
_IMPULSE_MARGIN = 4

#: Share of missing pixels above which places are used only if there are no others.
_MAX_MISSING = 0.02

#: Width in pixels of the margin of a place that is not evaluated.
_MARGIN = 8

#: Sigma in pixels of the Gaussian that gives the local intensity, which determines the noise.
_INTENSITY_SIGMA = 2.0

#: Share of the noise by which the error of a treatment must be below that of a simpler one: with other strides, and
#: with the same strides.
_CLEARLY_BETTER, _SLIGHTLY_BETTER = 0.1, 0.02

#: Least share of the noise by which the error must fall if the best share of the correction is applied, and with the
#: share that is applied; otherwise the image is left alone. Fine structure that was measured as noise, such as dense
#: filaments, reaches up to 0.2, and noise at least 0.33.
_MIN_GAIN, _MIN_APPLIED_GAIN = 0.25, 0.15

#: Ratio of the share of a correction that is applied to the share of noise in it.
_BLEND_PER_NOISE_SHARE = 1.8


@dataclass(frozen=True)
class TrialResult:
    """Effect of a treatment on the places of a trial: means over all their pixels, in units of the noise variance.

    Attributes:
        treatment: that was tried.
        removed: mean square of what was removed.
        noise_response: share of the added noise that is left: the part of the response that is proportional to it.
    """

    treatment: NoiseTreatment
    removed: float
    noise_response: float

    @property
    def score(self) -> float:
        """Estimated mean square error with `blend`, where 1 is that of the unchanged image; lower is better.

        It may be negative if the measured noise is too strong, which does not affect the order of treatments.
        """
        return 1.0 - 2.0 * self.blend * (1.0 - self.noise_response) + self.blend**2 * self.removed

    @property
    def noise_share(self) -> float:
        """Share of noise in what was removed, 0 to 1; the rest is structure."""
        return float(np.clip((1.0 - self.noise_response) / max(self.removed, 1e-300), 0.0, 1.0))

    @property
    def gain(self) -> float:
        """Share of the noise variance by which the error falls if the best share of the correction is applied."""
        return (1.0 - self.noise_response) * self.noise_share if self.removed else 0.0

    @property
    def blend(self) -> float:
        """Share of the correction to apply: all of it where it is noise.

        The best share is that of the noise, and up to twice as much is better than nothing. As measurements tend to be
        too low, more than the best share is applied.
        """
        return min(1.0, _BLEND_PER_NOISE_SHARE * self.noise_share)


@dataclass(frozen=True)
class AddedNoise:
    """Noise of the measured kind that a trial adds.

    Attributes:
        variances: of each channel, or one for all of them, with the stripes.
        width: of the blur that explains the correlation of the noise, in pixels.
        box: side of the mean filter that explains it better, in pixels; 0 for none.
        stripes: standard deviation of whole rows, or of columns if `vertical_stripes` is set; 0 without stripes.
    """

    variances: Sequence[NoiseVariance]
    width: float = 0.0
    box: int = 0
    stripes: float = 0.0
    vertical_stripes: bool = False


def run_trials(
    treatments: Sequence[NoiseTreatment],
    places: Sequence[Batch],
    denoise: Denoise,
    noise: AddedNoise,
    seed: int = 0,
) -> list[TrialResult]:
    """Try treatments on a few places.

    Args:
        treatments: to try.
        places: [C, H, W] each, all of one size, in units of the range.
        denoise: applies a treatment to [places, C, H, W].
        noise: as measured.
        seed: of the added noise.
    """
    tiles = np.stack(places)
    probe, variance = _draw_probe(tiles, noise, np.random.default_rng(seed))
    return [_try(treatment, tiles, probe, variance, denoise) for treatment in treatments]


def _try(treatment: NoiseTreatment, tiles: Batch, probe: Batch, variance: Batch, denoise: Denoise) -> TrialResult:
    ys, xs = (_inside(side) for side in tiles.shape[2:])
    denoised = denoise(tiles, treatment)
    response = (denoise(tiles + _PROBE_SHARE * probe, treatment) - denoised) / _PROBE_SHARE
    # Neither bright objects, nor dark pixels or colours, which have hardly any noise, may dominate.
    weight = 1.0 / (variance + float(np.median(variance.mean(axis=1))))
    # Impulses that were not replaced, as they touch each other, are neither noise of this kind nor structure.
    weight[_near_impulses(tiles, treatment)] = 0.0
    noise, correlated, added, removed = (
        float(np.mean((products * weight)[:, :, ys, xs], dtype=np.float64))
        for products in (variance, probe * response, probe**2, (tiles - denoised) ** 2)
    )
    return TrialResult(treatment, removed / max(noise, 1e-300), correlated / max(added, 1e-300))


def _near_impulses(tiles: Batch, treatment: NoiseTreatment) -> NDArray[np.bool_]:
    """Return a mask of extreme pixels that remain, with the pixels up to which they affect the network most."""
    extreme = extreme_pixels(tiles, treatment)
    square = np.ones((1, 1, 2 * _IMPULSE_MARGIN + 1, 2 * _IMPULSE_MARGIN + 1), np.bool_)
    return binary_dilation(extreme, square) if extreme.any() else extreme


def _inside(side: int) -> slice:
    margin = _MARGIN if side > 4 * _MARGIN else 0
    return slice(margin, side - margin)


def _draw_probe(tiles: Batch, noise: AddedNoise, rng: np.random.Generator) -> tuple[Batch, Batch]:
    """Return noise of the measured kind [B, C, H, W], and its variance."""
    intensity = gaussian_filter(tiles, (0, 0, _INTENSITY_SIGMA, _INTENSITY_SIGMA), mode="nearest")
    models = noise.variances if len(noise.variances) > 1 else [*noise.variances] * tiles.shape[1]
    channels = zip(models, np.moveaxis(intensity, 1, 0), strict=True)
    variance = np.maximum(np.stack([model.sigma(channel) ** 2 for model, channel in channels], axis=1), 1e-12)
    unit_noise = rng.normal(size=tiles.shape)
    if noise.box:
        unit_noise = uniform_filter(unit_noise, (1, 1, noise.box, noise.box), mode="wrap")
    elif noise.width:
        unit_noise = gaussian_filter(unit_noise, (0, 0, noise.width, noise.width), mode="wrap")
    unit_noise /= unit_noise.std()
    probe = unit_noise * np.sqrt(np.maximum(variance - noise.stripes**2, 0.0))
    if noise.stripes:
        count, _, height, width = tiles.shape
        lines = (count, 1, 1, width) if noise.vertical_stripes else (count, 1, height, 1)
        probe += noise.stripes * rng.normal(size=lines)
    return probe.astype(np.float32), variance.astype(np.float32)


def select_best(results: Sequence[TrialResult]) -> TrialResult | None:
    """Return the best result, the simpler of two similar ones; None if none is better than the unchanged image.

    A change of strides affects the image more than stabilization does, so it must be clearly better.
    """
    best = results[0]
    for result in results[1:]:
        margin = _CLEARLY_BETTER if result.treatment.strides != best.treatment.strides else _SLIGHTLY_BETTER
        if result.score < best.score - margin:
            best = result
    return best if best.gain > _MIN_GAIN and 1.0 - best.score > _MIN_APPLIED_GAIN else None


def choose_patches(
    samples: Sequence[NDArray[np.float64]], missing: Sequence[NDArray[np.bool_] | None], side: int, count: int
) -> list[Batch]:
    """Return places [C, side, side] of some samples, from the flattest to the most structured.

    Args:
        samples: [C, H, W] each.
        missing: mask of missing pixels of each sample; None for none. Places with many of them are avoided.
        side: of a place in pixels; smaller if a sample is smaller.
        count: largest number of places.
    """
    sides = [min(side, *(sample.shape[axis] for sample in samples)) for axis in (1, 2)]
    candidates: list[tuple[float, float, Batch]] = []
    for sample, mask in zip(samples, missing, strict=True):
        for y in range(0, sample.shape[1] - sides[0] + 1, sides[0]):
            for x in range(0, sample.shape[2] - sides[1] + 1, sides[1]):
                place = np.asarray(sample[:, y : y + sides[0], x : x + sides[1]], np.float32)
                smooth = gaussian_filter(place, (0, _INTENSITY_SIGMA, _INTENSITY_SIGMA), mode="nearest")
                share = 0.0 if mask is None else float(mask[:, y : y + sides[0], x : x + sides[1]].mean())
                candidates.append((share, float(np.clip(smooth, -1.0, 3.0).var(axis=(1, 2)).max()), place))
    most_missing = max(_MAX_MISSING, min(share for share, _, _ in candidates))
    candidates = sorted((c for c in candidates if c[0] <= most_missing), key=lambda candidate: candidate[1])
    ranks = np.unique(np.linspace(0.2 * (len(candidates) - 1), len(candidates) - 1, count).round().astype(int))
    return [candidates[rank][2] for rank in ranks]
