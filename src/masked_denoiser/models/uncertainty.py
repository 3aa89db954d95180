"""Calibration of the spread of a model's passes, so that it becomes the standard deviation of its error."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from masked_denoiser.errors import ModelError

#: Side in pixels of the square over which the variance of the passes is averaged, since few passes scatter.
SMOOTHING = 5


@dataclass(frozen=True)
class Uncertainty:
    """Error of a model: its variance is (factor * spread) ** 2 + (share * noise) ** 2.

    Measured on images that the model was not trained on, such that 90 % of the errors are within 1.645 standard
    deviations.

    Attributes:
        sigmas: standard deviations of the noise, ascending, in units of the intensity range.
        factors: factor on the spread of the passes at each of them.
        shares: share of the noise that the passes have in common, at each of them.
    """

    sigmas: tuple[float, ...]
    factors: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self | None:
        """Return the calibration in a card; None if it has none.

        Raises:
            ModelError: if it is not three equally long lists of numbers.
        """
        if not values:
            return None
        try:
            columns = [tuple(map(float, values[name])) for name in ("sigmas", "factors", "shares")]
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the model's card has a calibration of its error that is not numbers: {error}") from error
        valid = len(set(map(len, columns))) == 1 and columns[0] and np.isfinite(columns).all()
        if not valid or min(map(min, columns)) < 0 or list(columns[0]) != sorted(set(columns[0])):
            raise ModelError("the model's card has a calibration of its error that is not three lists of equal length")
        return cls(*columns)

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as plain values for a card."""
        return {name: list(values) for name, values in asdict(self).items()}

    def calibrate(self, spread: NDArray[np.float32], noise: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Return the standard deviation of the error.

        Args:
            spread: [B, C, H, W], standard deviation of the passes.
            noise: [B, 1, H, W], standard deviation of the noise in the same units; None if it is not known, so that
                the passes alone tell.
        """
        variance = uniform_filter(spread**2, (1, 1, SMOOTHING, SMOOTHING), mode="reflect")
        if noise is None:
            return np.asarray(np.median(self.factors) * np.sqrt(variance), np.float32)
        factor, share = (np.interp(noise, self.sigmas, values) for values in (self.factors, self.shares))
        return np.asarray(np.sqrt(factor**2 * variance + (share * noise) ** 2), np.float32)
