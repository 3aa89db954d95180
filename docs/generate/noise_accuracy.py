"""Accuracy of the noise measurement on images with known synthetic noise, as a Markdown table.

    python docs/generate/noise_accuracy.py

Rows: noise; columns: content, one channel or three colours, of which the mean is shown; cells: measured gain and sigma
in grey levels of 255, and the distance at which noise is independent. A star marks values more than 10 % from the
truth, and correlation that was missed or found wrongly. Sigma is the root mean square over the 20th, 50th and 80th
percentile of the image, since it depends on intensity.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage import data

from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.estimation import estimate_channels

Image = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """Noise to add, in grey levels of 255: variance = gain * intensity + read ** 2.

    Attributes:
        gain, read: parameters of the variance.
        blur: standard deviation in pixels of the Gaussian blur of the white noise; "box" is a 3 x 3 mean.
    """

    gain: float = 0.0
    read: float = 0.0
    blur: float | str = 0.0

    def add(self, image: Image, rng: np.random.Generator) -> Image:
        """Return a noisy copy, rounded to 8 bit and clipped at both ends."""
        gain, read = self.gain / 255, self.read / 255
        noisy = gain * rng.poisson(image / gain) if gain else image.copy()
        white = rng.normal(size=image.shape)
        axes = (-2, -1)
        blurred = (
            uniform_filter(white, 3, axes=axes)
            if self.blur == "box"
            else gaussian_filter(white, float(self.blur), axes=axes)
        )
        return np.asarray(np.rint(np.clip(noisy + read * blurred / blurred.std(), 0, 1) * 255) / 255)

    def __str__(self) -> str:
        parts = [f"gain {self.gain:g}"] if self.gain else []
        parts += [f"sigma {self.read:g}"] if self.read else []
        if self.blur:
            parts.append("3 x 3 mean" if self.blur == "box" else f"blurred by {self.blur:g}")
        return ", ".join(parts) or "none"


TRUTHS = (
    *(Truth(read=sigma) for sigma in (0, 2, 5, 10, 20, 35, 50)),
    *(Truth(gain=gain) for gain in (0.5, 1, 2, 4, 8)),
    *(Truth(gain=gain, read=read) for gain, read in ((1, 5), (2, 10), (4, 10))),
    *(Truth(read=20, blur=blur) for blur in (0.5, "box", 0.7, 1.0, 1.5, 2.0)),
)


def contents() -> dict[str, Image]:
    """Return clean images in [0, 1] by name, [H, W] or [3, H, W]; noise is clipped in the fourth and fifth."""
    colours = data.immunohistochemistry().transpose(2, 0, 1) / 255
    tissue = colours[1]
    camera = data.camera() / 255
    smooth = gaussian_filter(np.random.default_rng(1).random((512, 512)), 12)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return {
        "tissue": tissue * 0.8 + 0.1,
        "photograph": camera * 0.8 + 0.1,
        "soft blobs": smooth * 0.8 + 0.1,
        "blobs, half black": np.clip(smooth * 1.6 - 0.7, 0, 1),
        "tissue, overexposed": np.clip(tissue * 1.3, 0, 1),
        "tissue in colours": colours * 0.8 + 0.1,
        "photograph in colours": data.astronaut().transpose(2, 0, 1) / 255 * 0.8 + 0.1,
    }


def main() -> None:
    """Measure the noise of each combination and print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    images = contents()
    print("| noise | " + " | ".join(images) + " |")
    print("| --- |" + " --- |" * len(images))
    missed = {"sigma": 0, "gain": 0, "distance": 0}
    for truth in TRUTHS:
        cells = []
        for image in images.values():
            noisy = truth.add(image, np.random.default_rng(0))
            measured = [noise for noise, _ in estimate_channels([np.atleast_3d(noisy.T).T])]
            cells.append(_cell(truth, measured, np.atleast_3d(image.T).T, missed))
        print(f"| {truth} | " + " | ".join(cells) + " |", flush=True)
    count = len(TRUTHS) * len(images)
    sigma, gain, distance = missed.values()
    print(
        f"\nOf {count} measurements, {sigma} have a star for sigma, {gain} for the gain and {distance} for the "
        "correlation."
    )


def _cell(truth: Truth, noise: list[ChannelNoise], image: Image, missed: dict[str, int]) -> str:
    """Return the measured values of the channels [C, H, W], with stars, and count the misses."""
    levels = [np.percentile(channel, (20, 50, 80)) for channel in image]
    sigma = float(np.sqrt(np.mean(truth.gain * np.array(levels) * 255 + truth.read**2)))
    variances = [each.variance.sigma(level) ** 2 for each, level in zip(noise, levels, strict=True)]
    parts = [_starred("sigma", float(np.sqrt(np.mean(variances))) * 255, sigma, missed)]
    if truth.gain:
        parts.append(_starred("gain", float(np.mean([each.gain for each in noise])) * 255, truth.gain, missed))
    distances = sorted({each.correlation for each in noise})
    if distances[-1] > 1 or truth.blur:
        wrong = any((distance > 1) != bool(truth.blur) for distance in distances)
        missed["distance"] += wrong
        parts.append(f"distance {' to '.join(map(str, dict.fromkeys((distances[0], distances[-1]))))}{'*' * wrong}")
    return ", ".join(parts)


def _starred(name: str, measured: float, truth: float, missed: dict[str, int]) -> str:
    # Rounding to 8 bit alone has a standard deviation of 0.29; differences below one grey level do not matter.
    wrong = abs(measured - truth) > 0.1 * truth + (1.0 if name == "sigma" and truth < 3 else 0.0)
    missed[name] += wrong
    return f"{name} {measured:.3g}{'*' if wrong else ''}"


if __name__ == "__main__":
    main()
