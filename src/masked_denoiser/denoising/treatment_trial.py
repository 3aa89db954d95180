"""Treatments are chosen by trial: each is run on a few places of the image, and judged without the truth.

The error that a denoiser leaves has two parts, noise that is left and structure that is lost. Both can be estimated
without the clean image, in the manner of Stein's unbiased estimate and its Monte-Carlo form (Ramani, Blu and Unser,
*Monte-Carlo SURE*, IEEE TIP 2008): a little more noise of the measured kind is added, and what the denoiser makes of it
tells how much of any such noise it leaves, and how much it removes. What was removed beyond that is structure. It holds
for noise that neighbours share and that grows with the light, too, if what is added is of that kind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from masked_denoiser.denoising.noise_treatment import NoiseTreatment
from masked_denoiser.noise.variance_model import NoiseVariance

Batch = NDArray[np.float32]

#: Noise that is added, as a share of the noise that is there.
_PROBE = 0.25

#: Places with more than this share of missing pixels are taken only where there are no others.
_MISSING = 0.02

#: Pixels along the borders of a place that are not judged.
_BORDER = 8

#: Width of the Gaussian, in pixels, that gives the local intensity that noise depends on.
_SMOOTH = 2.0

#: A treatment is better than a simpler one if its error is less by more than this share of the noise.
_CLEARLY, _SLIGHTLY = 0.1, 0.02

#: The error must fall by this share of the noise at least, or the image is left alone.
_WORTH_IT = 0.15

#: So many times the share of noise in a correction is taken of it.
_BOLDNESS = 1.8


@dataclass(frozen=True)
class Judgement:
    """What a treatment did on the places of a trial; means over all of their pixels.

    Squares are in units of the variance of the noise.

    Attributes:
        treatment: what was tried.
        removed: mean square of what was removed.
        kept: share of added noise that is left, as far as it goes along with what was added.
    """

    treatment: NoiseTreatment
    removed: float
    kept: float

    @property
    def score(self) -> float:
        """Estimated mean square error with `blend`; 1 for leaving the image as it is, less is better.

        It may be negative where the measured noise is too strong. The order of treatments does not depend on that.
        """
        return 1.0 - 2.0 * self.blend * (1.0 - self.kept) + self.blend**2 * self.removed

    @property
    def noise_share(self) -> float:
        """Share of what was removed that is noise, 0 to 1; the rest is structure."""
        return float(np.clip((1.0 - self.kept) / max(self.removed, 1e-300), 0.0, 1.0))

    @property
    def gain(self) -> float:
        """Share of the noise's variance by which the error falls if the best share of the correction is taken."""
        return (1.0 - self.kept) * self.noise_share if self.removed else 0.0

    @property
    def blend(self) -> float:
        """Share of the correction that is taken: all of it where it is noise.

        The best share is that of the noise, and up to twice as much is better than nothing. As measurements are rather
        too low than too high, more than the best is taken.
        """
        return min(1.0, _BOLDNESS * self.noise_share)


def judge(
    treatments: Sequence[NoiseTreatment],
    places: Sequence[Batch],
    denoise: Callable[[Batch, NoiseTreatment], Batch],
    noise: Sequence[NoiseVariance],
    width: float,
    box: int = 0,
    seed: int = 0,
) -> list[Judgement]:
    """Try treatments on a few places.

    Args:
        treatments: what to try.
        places: [C, H, W] each, all of one size, in units of the range.
        denoise: runs a treatment on [places, C, H, W].
        noise: measured, of each channel; one for all of them.
        width: of the blur that explains its correlation, in pixels.
        box: side of the mean that explains it better; 0 for none.
        seed: of the noise that is added.
    """
    tiles = np.stack(places)
    probe, local = _probe(tiles, noise, width, box, np.random.default_rng(seed))
    return [_judge(treatment, tiles, probe, local, denoise) for treatment in treatments]


def _judge(
    treatment: NoiseTreatment,
    tiles: Batch,
    probe: Batch,
    local: Batch,
    denoise: Callable[[Batch, NoiseTreatment], Batch],
) -> Judgement:
    ys, xs = (_inside(side) for side in tiles.shape[2:])
    first = denoise(tiles, treatment)
    kept = (denoise(tiles + _PROBE * probe, treatment) - first) / _PROBE
    # Bright objects must not outweigh all else, nor must dark pixels, whose noise is next to nothing.
    weight = 1.0 / (local + float(np.median(local)))
    noise, along, added, removed = (
        float(np.mean((products * weight)[:, :, ys, xs], dtype=np.float64))
        for products in (local, probe * kept, probe**2, (tiles - first) ** 2)
    )
    return Judgement(treatment, removed / max(noise, 1e-300), along / max(added, 1e-300))


def _inside(side: int) -> slice:
    border = _BORDER if side > 4 * _BORDER else 0
    return slice(border, side - border)


def _probe(
    tiles: Batch, noise: Sequence[NoiseVariance], width: float, box: int, rng: np.random.Generator
) -> tuple[Batch, Batch]:
    """Noise of the measured kind [B, C, H, W], and its variance."""
    intensity = gaussian_filter(tiles, (0, 0, _SMOOTH, _SMOOTH), mode="nearest")
    channels = zip(noise if len(noise) > 1 else [*noise] * tiles.shape[1], np.moveaxis(intensity, 1, 0), strict=True)
    local = np.maximum(np.stack([one.sigma(channel) ** 2 for one, channel in channels], axis=1), 1e-12)
    white = rng.normal(size=tiles.shape)
    if box:
        white = uniform_filter(white, (1, 1, box, box), mode="wrap")
    elif width:
        white = gaussian_filter(white, (0, 0, width, width), mode="wrap")
    white /= white.std()
    return (white * np.sqrt(local)).astype(np.float32), local.astype(np.float32)


def best_of(judgements: Sequence[Judgement]) -> Judgement | None:
    """Return the best judgement, the simpler of two that are alike; None where none is better than doing nothing.

    Other strides change more than stabilization does, and must be clearly better.
    """
    best = judgements[0]
    for judgement in judgements[1:]:
        apart = _CLEARLY if judgement.treatment.strides != best.treatment.strides else _SLIGHTLY
        if judgement.score < best.score - apart:
            best = judgement
    return best if min(best.gain, 1.0 - best.score) > _WORTH_IT else None


def choose_places(
    samples: Sequence[NDArray[np.float64]], missing: Sequence[NDArray[np.bool_] | None], side: int, count: int
) -> list[Batch]:
    """Return places [C, side, side] of some samples, from the flattest to the most structured.

    Args:
        samples: [C, H, W] each.
        missing: of each sample, which pixels hold no intensity; None for none. Places with many of them come last.
        side: of a place in pixels; less where samples are smaller.
        count: number of places at most.
    """
    sides = [min(side, *(sample.shape[axis] for sample in samples)) for axis in (1, 2)]
    found: list[tuple[float, float, Batch]] = []
    for sample, mask in zip(samples, missing, strict=True):
        for y in range(0, sample.shape[1] - sides[0] + 1, sides[0]):
            for x in range(0, sample.shape[2] - sides[1] + 1, sides[1]):
                place = np.asarray(sample[:, y : y + sides[0], x : x + sides[1]], np.float32)
                smooth = gaussian_filter(place, (0, _SMOOTH, _SMOOTH), mode="nearest")
                gone = 0.0 if mask is None else float(mask[:, y : y + sides[0], x : x + sides[1]].mean())
                found.append((gone, float(np.clip(smooth, -1.0, 3.0).var(axis=(1, 2)).max()), place))
    least = max(_MISSING, min(one[0] for one in found))
    found = sorted((one for one in found if one[0] <= least), key=lambda one: one[1])
    ranks = np.unique(np.linspace(0.2 * (len(found) - 1), len(found) - 1, count).round().astype(int))
    return [found[rank][2] for rank in ranks]
