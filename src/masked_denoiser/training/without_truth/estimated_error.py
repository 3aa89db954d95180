"""Error of a denoised patch against the same image with other noise, estimated from the patch and its measured noise.

For an estimate f(y) of the truth x from y = x + n, with normal noise n of covariance C, and independent noise m of the
same kind, the mean of |f(y) - (x + m)|^2 is that of |f(y) - x|^2 plus tr(C). It is also that of |f(y) - y|^2 plus
2 tr(C J), where J is the Jacobian of f (Stein, Annals of Statistics 1981), and this trace is the mean of
b (f(y + t b) - f(y - t b)) / (2 t) for new noise b of the same kind, white or correlated, and a small t (Ramani, Blu
and Unser, IEEE TIP 2008). Unlike the error at hidden pixels, it compares a network that uses a pixel for its own
estimate fairly with one that does not. The error against x itself would be a small difference of large numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log10

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.training.data.patches import Patch, PatchLocation, PatchSampler
from masked_denoiser.training.without_truth.patch_noise import ImageNoise, PatchNoise

#: Strength of the new noise relative to that of the patch: small enough for networks to be linear in it.
_PROBE_STRENGTH = 0.1
#: Smallest difference of two mean squared errors that the measurement of the noise can tell from none, as a share of
#: its variance: with errors of a few percent of the standard deviation, differences were wrong by up to 2.3%.
_TOLERANCE = 0.025
#: Smallest mean squared error, at which PSNR ends.
_MIN_ERROR = 1e-10
#: Smallest share of the pixels that must not be clipped.
_MIN_UNCLIPPED = 0.25
#: Key of this module's random numbers, which keeps them apart from others of the same seed.
_KEY = 13


@dataclass(frozen=True, eq=False)
class ErrorProbe:
    """What estimates the error of a denoised patch.

    Attributes:
        patch: [C, H, W], the noisy patch.
        variance: [C, H, W], of its noise.
        new_noise: [C, H, W], of the same kind.
        scored: [1, H, W], where noise is not clipped.
        noise_map: [2, H, W], for a network that takes one.
    """

    patch: Patch
    variance: Patch
    new_noise: Patch
    scored: NDArray[np.bool_]
    noise_map: Patch

    @classmethod
    def draw(cls, patch: Patch, noise: PatchNoise, rng: np.random.Generator) -> ErrorProbe:
        """Return a probe of a patch [C, H, W] with this noise."""
        variance, new_noise = noise.variance(patch), noise.draw(patch, rng)
        return cls(patch, variance, new_noise, noise.unclipped(patch), noise.noise_map(patch))

    def apply(self, denoise: Callable[[Patch], Patch]) -> tuple[Patch, NDArray[np.float64]]:
        """Return a denoised patch, and the estimated squared error of each scored sample against other noise.

        Args:
            denoise: a network with a fixed noise map, [C, H, W] -> [C, H, W].
        """
        step = np.float32(_PROBE_STRENGTH) * self.new_noise
        output, more, less = (_clipped(denoise(patch)) for patch in (self.patch, self.patch + step, self.patch - step))
        response = (more - less).astype(np.float64) / (2 * _PROBE_STRENGTH)
        error = (output - self.patch) ** 2 + 2 * self.new_noise * response
        return output, error[np.broadcast_to(self.scored, error.shape)]


def draw_probes(
    sampler: PatchSampler, locations: Sequence[PatchLocation], patches: NDArray[np.float32], seed: int
) -> tuple[tuple[ErrorProbe, ...], str]:
    """Return a probe of each patch; none, and the reason as a clause, if the noise cannot be drawn anew.

    Args:
        sampler: the images.
        locations: where the patches lie.
        patches: [B, C, H, W] in [0, 1].
        seed: of the new noise.
    """
    measured = {number: ImageNoise.measure(sampler.images[number]) for number in {place.image for place in locations}}
    reasons = (measured[place.image].why_unknown(place.plane) for place in locations)
    reason = next(filter(None, reasons), "")
    if reason:
        return (), reason
    rng = np.random.default_rng([seed, _KEY])
    probes = tuple(
        ErrorProbe.draw(patch, measured[place.image].of_plane(place.plane), rng)
        for place, patch in zip(locations, patches, strict=True)
    )
    if np.mean([probe.scored.mean() for probe in probes]) < _MIN_UNCLIPPED:
        return (), "it is clipped nearly everywhere"
    return probes, ""


def estimated_psnr(errors: NDArray[np.float64]) -> float:
    """Return the PSNR in dB that estimated squared errors correspond to; NaN where the network returns NaN."""
    return -10 * log10(max(float(errors.mean()), _MIN_ERROR))


def error_tolerance(probes: Sequence[ErrorProbe]) -> float:
    """Return the largest error of the difference of two estimated mean squared errors; 0 without probes."""
    return _TOLERANCE * float(np.mean([probe.variance.mean() for probe in probes])) if probes else 0.0


def _clipped(output: Patch) -> Patch:
    return np.clip(output, 0.0, 1.0)
