"""Figure of the noise measurement: a plane of the sample stack, and measured, fitted and true variance.

python docs/generate/how_it_works/noise_measurement.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import masked_denoiser as md
from masked_denoiser.denoising.noise_measurement import measure_noise
from masked_denoiser.evaluation.noise_plot import variance_curves
from masked_denoiser.evaluation.plot import COLOURS

sys.path.insert(0, str(Path(__file__).parents[1] / "site"))
from figures import panels, save, show

#: Noise that sample_data/make.py adds: grey values of a photon, offset, and electrons of read noise.
_GAIN, _OFFSET, _READ = 4.0, 100.0, 1.6


def main() -> None:
    """Measure the noise of the stack and draw."""
    with md.open_image(md.sample_path("fluorescence")) as stack:
        plane = np.asarray(stack.data[0, 4])
        measured = measure_noise(stack)
    figure, (left, right) = panels(1, 2, side=4.0, height=3.6)
    show(left, plane, "Nuclei, plane 4", *np.percentile(plane, (0.5, 99.8)))
    for colour, curve in zip(COLOURS, variance_curves(measured), strict=False):
        right.plot(curve.intensities, curve.variances, "o", color=colour, markersize=4, label=f"{curve.name}, measured")
        right.plot(*curve.fit, color=colour, label=f"{curve.name}, fitted")
    intensities = np.array(right.get_xlim())
    truth = _GAIN * (intensities - _OFFSET) + (_GAIN * _READ) ** 2
    right.plot(intensities, np.maximum(truth, 0), "--", color="black", label="added by sample_data/make.py")
    right.set_xlabel("intensity, grey values")
    right.set_ylabel("variance of the noise")
    right.legend(fontsize=7)
    save(figure, "how-it-works/noise_measurement")
    for name, noise, (low, high) in zip(
        measured.channel_names, measured.estimate.channels, measured.estimate.ranges, strict=True
    ):
        print(f"{name}: gain {noise.variance.gain * (high - low):.2f} grey values per photon, truth {_GAIN:g}")


if __name__ == "__main__":
    main()
