"""Quality of denoising for each modality, on phantoms with known truth and, if given, on a real pair of CT.

python -m benchmarks.modalities                                  # print the table (about five minutes on one core)
python -m benchmarks.modalities --pair noisy.png clean.png --write docs/modalities.md

Cells are PSNR in dB: noisy; denoised by default without knowing the modality; and with it. The peak is the largest
value for MRI, the width of the named window for CT, and 255 grey levels or the full transmission for the others.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import masked_denoiser
from benchmarks import phantoms
from masked_denoiser.images.open import open_image
from masked_denoiser.noise.modalities.prior import Modality

Image = NDArray[Any]

_BEGIN = "<!-- written by python -m benchmarks.modalities -->"
_END = "<!-- end of the table -->"

#: Windows of CT in Hounsfield units: lowest and highest intensity that a display distinguishes.
_WINDOWS = {"soft tissue, -160 to 240 HU": (-160.0, 240.0), "lung, -1350 to 150 HU": (-1350.0, 150.0)}

#: Gain, offset and photons of the detectors.
_GAIN, _OFFSET = 2.0, 100.0


@dataclass(frozen=True, eq=False)
class Case:
    """A noisy image with its truth.

    Attributes:
        modality: of the image.
        name: of image and noise.
        noisy, truth: [H, W] or [Z, H, W].
        measures: function of an image and the truth that returns a figure, by the name of the figure.
    """

    modality: Modality
    name: str
    noisy: Image
    truth: Image
    measures: dict[str, Callable[[Image, Image], float]]


def main() -> None:
    """Print the table, and write it into a page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", nargs=2, metavar=("NOISY", "CLEAN"), help="a slice of CT at low and at high dose")
    parser.add_argument("--only", help="only this modality")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the table of this page")
    arguments = parser.parse_args()
    rows = ["| modality | image | figure | noisy | without | with |", "| --- | --- | --- | --- | --- | --- |"]
    print("\n".join(rows))
    for case in cases(arguments.pair):
        if arguments.only in (None, case.modality):
            found = list(measure(case))
            print("\n".join(found), flush=True)
            rows += found
    if arguments.write:
        before, _, rest = arguments.write.read_text().partition(_BEGIN)
        arguments.write.write_text(f"{before}{_BEGIN}\n\n" + "\n".join(rows) + f"\n\n{_END}{rest.partition(_END)[2]}")


def measure(case: Case) -> Iterator[str]:
    """Yield a row for each figure of a case."""
    axes = "ZYX"[-case.noisy.ndim :]
    results = [case.noisy]
    for modality in ("other", case.modality):
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # that an image is left unchanged
            results.append(masked_denoiser.denoise(case.noisy, axes=axes, modality=modality))
    for name, figure in case.measures.items():
        cells = " | ".join(f"{figure(np.asarray(each, np.float64), case.truth):.2f}" for each in results)
        yield f"| {case.modality} | {case.name} | {name} | {cells} |"


def cases(pair: list[str] | None = None) -> Iterator[Case]:
    """Yield all cases; `pair` names the files of a noisy and a clean slice of CT in 8 bit."""
    yield from _mri()
    yield from _ct()
    if pair:
        noisy, clean = (np.asarray(open_image(path).data[...]) for path in pair)
        yield Case("ct", "real slice at low dose, 8 bit", noisy, clean.astype(np.float64), {"PSNR": _psnr(255.0)})
    yield from _speckle()
    yield from _counts()


def _mri() -> Iterator[Case]:
    truth = phantoms.head()
    for share in (0.02, 0.05, 0.1):
        measures = {
            "PSNR": _psnr(1.0),
            "PSNR of the signal": _psnr_of_signal,
            "mean of the background, in sigma": _mean_of_corner(share),
        }
        noisy = phantoms.magnitude(truth, share).astype(np.float32)
        yield Case("mri", f"head, sigma {share:.0%}", noisy, truth, measures)


def _ct() -> Iterator[Case]:
    measures = {f"PSNR, {name}": _windowed_psnr(*window) for name, window in _WINDOWS.items()}
    for kernel, photons in (("hann", 3e4), ("hann", 1e5), ("ramp", 3e4), ("ramp", 4e5)):
        noisy, truth = phantoms.reconstructed(phantoms.abdomen(), photons, kernel=kernel)
        hounsfield = np.rint(noisy).astype(np.int16)
        yield Case("ct", f"abdomen, {kernel} kernel, {photons:g} photons", hounsfield, truth, measures)


def _speckle() -> Iterator[Case]:
    decibels = phantoms.reflectivity()
    truth = phantoms.in_grey_levels(decibels).astype(np.float64)
    kinds: tuple[tuple[Modality, tuple[float, float], int], ...] = (
        ("oct", (0.5, 0.8), 1), ("oct", (0.7, 1.2), 4), ("ultrasound", (1.0, 2.0), 1), ("ultrasound", (1.0, 2.0), 4),
        ("ultrasound", (1.5, 3.0), 4),
    )  # fmt: skip
    for modality, spread, looks in kinds:
        name = f"speckle of {spread[0]:g} x {spread[1]:g} pixels, {looks} look{'s' if looks > 1 else ''}"
        noisy = phantoms.speckled(decibels, spread, looks)
        yield Case(modality, name, noisy, truth, {"PSNR without the mean error": _psnr_without_offset})


def _counts() -> Iterator[Case]:
    transmission = phantoms.radiograph()
    kinds: tuple[tuple[Modality, float, float], ...] = (("xray", 500.0, 5.0), ("xray", 50.0, 5.0), ("em", 20.0, 2.0))
    for modality, photons, read in kinds:
        truth = _GAIN * photons * transmission + _OFFSET
        noisy = phantoms.counted(transmission, photons, _GAIN, read)
        name = f"bodies, {photons:g} {'electrons' if modality == 'em' else 'photons'}, read noise {read:g}"
        yield Case(modality, name, noisy, truth, {"PSNR": _psnr(_GAIN * photons)})


def _mean_of_corner(sigma: float) -> Callable[[Image, Image], float]:
    return lambda image, _: float(image[..., :24, :24].mean() / sigma)


def _psnr(peak: float) -> Callable[[Image, Image], float]:
    return lambda image, truth: float(10.0 * np.log10(peak**2 / np.mean((image - truth) ** 2)))


def _psnr_of_signal(image: Image, truth: Image) -> float:
    return _psnr(1.0)(image[truth > 0.1], truth[truth > 0.1])


def _windowed_psnr(low: float, high: float) -> Callable[[Image, Image], float]:
    return lambda image, truth: _psnr(high - low)(np.clip(image, low, high), np.clip(truth, low, high))


def _psnr_without_offset(image: Image, truth: Image) -> float:
    # The mean of log-compressed speckle lies below the logarithm of the mean power by a constant.
    return _psnr(255.0)(image - np.mean(image - truth), truth)


if __name__ == "__main__":
    main()
