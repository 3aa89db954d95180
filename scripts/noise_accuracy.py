"""Prints how accurately noise is measured, against synthetic truth.

    python scripts/noise_accuracy.py

Rows: noise; columns: content; cells: found gain and sigma in grey levels of 255, and the distance at which noise is
independent. A star marks what is further than 10 % from the truth, or a distance that was not recognised. Sigma is
the root mean square over the 20th, 50th and 80th percentile of the image, since it differs with the light.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage import data

from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.estimation import estimate_channel

Image = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """Noise as it is added, in grey levels of 255: variance = gain * intensity + read ** 2.

    Attributes:
        gain, read: of the noise.
        blur: standard deviation in pixels of the Gaussian that white noise is blurred with; "box" is a 3 x 3 mean.
    """

    gain: float = 0.0
    read: float = 0.0
    blur: float | str = 0.0

    def add(self, image: Image, rng: np.random.Generator) -> Image:
        """A noisy 8-bit copy, clipped at both ends."""
        gain, read = self.gain / 255, self.read / 255
        noisy = gain * rng.poisson(image / gain) if gain else image.copy()
        white = rng.normal(size=image.shape)
        shared = uniform_filter(white, 3) if self.blur == "box" else gaussian_filter(white, float(self.blur))
        return np.asarray(np.rint(np.clip(noisy + read * shared / shared.std(), 0, 1) * 255) / 255)

    def __str__(self) -> str:
        said = [f"gain {self.gain:g}"] if self.gain else []
        said += [f"sigma {self.read:g}"] if self.read else []
        if self.blur:
            said.append("3 x 3 mean" if self.blur == "box" else f"blurred by {self.blur:g}")
        return ", ".join(said) or "none"


TRUTHS = (
    *(Truth(read=sigma) for sigma in (0, 2, 5, 10, 20, 35, 50)),
    *(Truth(gain=gain) for gain in (0.5, 1, 2, 4, 8)),
    *(Truth(gain=gain, read=read) for gain, read in ((1, 5), (2, 10), (4, 10))),
    *(Truth(read=20, blur=blur) for blur in (0.5, "box", 0.7, 1.0, 1.5, 2.0)),
)


def contents() -> dict[str, Image]:
    """Clean images of [0, 1] by name. The last two are clipped by what is added to them."""
    tissue = data.immunohistochemistry()[..., 1] / 255
    camera = data.camera() / 255
    smooth = gaussian_filter(np.random.default_rng(1).random((512, 512)), 12)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return {
        "tissue": tissue * 0.8 + 0.1,
        "photograph": camera * 0.8 + 0.1,
        "soft blobs": smooth * 0.8 + 0.1,
        "blobs, half black": np.clip(smooth * 1.6 - 0.7, 0, 1),
        "tissue, overexposed": np.clip(tissue * 1.3, 0, 1),
    }


def main() -> None:
    """Measures and prints."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    images = contents()
    print("| noise | " + " | ".join(images) + " |")
    print("| --- |" + " --- |" * len(images))
    missed = {"sigma": 0, "gain": 0, "distance": 0}
    for truth in TRUTHS:
        cells = []
        for image in images.values():
            found, _ = estimate_channel([truth.add(image, np.random.default_rng(0))])
            cells.append(_cell(truth, found, image, missed))
        print(f"| {truth} | " + " | ".join(cells) + " |", flush=True)
    count = len(TRUTHS) * len(images)
    print(f"\nOf {count} measurements missed: " + ", ".join(f"{what} {number}" for what, number in missed.items()))


def _cell(truth: Truth, found: ChannelNoise, image: Image, missed: dict[str, int]) -> str:
    """What was found, with stars."""
    levels = np.percentile(image, (20, 50, 80))
    sigma = float(np.sqrt(np.mean(truth.gain * levels * 255 + truth.read**2)))
    measured = float(np.sqrt(np.mean(found.variance.sigma(levels) ** 2))) * 255
    parts = [_starred("sigma", measured, sigma, missed)]
    if truth.gain:
        parts.append(_starred("gain", found.gain * 255, truth.gain, missed))
    correlated = found.correlation > 1
    if correlated or truth.blur:
        wrong = correlated != bool(truth.blur)
        missed["distance"] += wrong
        parts.append(f"distance {found.correlation}{'*' if wrong else ''}")
    return ", ".join(parts)


def _starred(what: str, found: float, truth: float, missed: dict[str, int]) -> str:
    # Rounding to 8 bit alone has a standard deviation of 0.29, and nothing below a level matters.
    wrong = abs(found - truth) > 0.1 * truth + (1.0 if what == "sigma" and truth < 3 else 0.0)
    missed[what] += wrong
    return f"{what} {found:.3g}{'*' if wrong else ''}"


if __name__ == "__main__":
    main()
