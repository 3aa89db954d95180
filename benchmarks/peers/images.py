"""The images of the comparison: pairs of noisy and clean images, and clean images with added noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from masked_denoiser.errors import EvaluationError
from masked_denoiser.evaluation.grid import centre_crop, make_noisy, read_8_bit
from masked_denoiser.evaluation.metrics import psnr, ssim
from masked_denoiser.evaluation.pairs import match_gain
from masked_denoiser.images.open import open_image
from masked_denoiser.noise.synthetic.parse import parse_noise

Image = np.ndarray[Any, np.dtype[Any]]

#: PSNR in dB that stands for equal images in a mean.
_MAX_PSNR = 100.0


@dataclass(frozen=True)
class Kind:
    """Images of one kind: a column of the table of quality.

    Attributes:
        name: heading.
        noisy: pattern of files below the folder of validation data; clean images if `noise` is given.
        clean: pattern of the clean images, which are paired with the noisy ones in the order of their names.
        noise: noise that is added to the images.
        fit_gain: whether gain and offset are fitted to the clean image before scoring.
        modality: what a DICOM file would state.
    """

    name: str
    noisy: str
    clean: str = ""
    noise: str = ""
    fit_gain: bool = False
    modality: str = ""


#: All kinds with images of one plane.
KINDS = (
    Kind("photographs (Kodak), Gaussian 25", "kodak24/*", noise="gaussian(sigma=25)"),
    Kind("wide-field (W2S)", "w2s/noisy/*", "w2s/gt/*", fit_gain=True),
    Kind("confocal, two-photon (FMD)", "fmd/noisy/[CT]*", "fmd/clean/[CT]*"),
    Kind("wide-field, correlated (FMD)", "fmd/noisy/W*", "fmd/clean/W*"),
    Kind("camera (PolyU)", "polyu/noisy/*", "polyu/clean/*"),
    Kind("low-dose CT", "ct/noisy/*", "ct/clean/*", modality="ct"),
    Kind("clean H&E (MoNuSeg)", "tissue/*", noise="none"),
)

#: The kind of the volume, if one is given: an 8-bit MRI with added noise.
VOLUME = Kind("MRI, Rician 15", "", noise="rician(sigma=15)", modality="mri")

#: Number of central planes of the volume that are denoised.
_PLANES = 9


@dataclass(frozen=True)
class Case:
    """A noisy image, uint8, and its truth, of the same shape and axes."""

    kind: Kind
    name: str
    axes: str
    noisy: Image
    truth: Image

    def score(self, result: Image) -> tuple[float, float]:
        """Return PSNR in dB and SSIM of a result, by the definitions of `masked-denoiser evaluate`.

        Raises:
            EvaluationError: if the result has another shape, or values that are not finite.
        """
        if result.shape != self.truth.shape:
            raise EvaluationError(f"the result has the shape {result.shape} instead of {self.truth.shape}")
        if not np.isfinite(result).all():
            raise EvaluationError("the result has values that are not finite")
        rounded = np.asarray(np.rint(np.clip(result, 0, 255)), np.uint8)
        fitted = match_gain(rounded, self.truth) if self.kind.fit_gain else rounded
        out, clean = (self._channels_first(image) / 255.0 for image in (fitted, self.truth))
        return min(psnr(out, clean), _MAX_PSNR), ssim(out, clean)

    def _channels_first(self, image: Image) -> Image:
        """Return an image as [C, H, W]; planes of a volume are treated as channels."""
        return np.moveaxis(image, -1, 0) if self.axes == "YXS" else image.reshape(-1, *image.shape[-2:])


def cases(data: Path, count: int, crop: int, volume: Path | None) -> Iterator[Case]:
    """Yield the images of each kind whose folder exists.

    Args:
        data: folder of validation data.
        count: number of images of a kind, at equal distances in the order of their names; 0 for all.
        crop: largest side in pixels; larger images are cut to their centre; 0 for whole images.
        volume: 8-bit gray volume [Z, Y, X] without noise; None omits it.

    Raises:
        MaskedDenoiserError: if an image cannot be read, or files do not form pairs.
    """
    for kind in KINDS:
        noisy = sorted(data.glob(kind.noisy))
        clean = sorted(data.glob(kind.clean)) if kind.clean else noisy
        if len(noisy) != len(clean):
            raise EvaluationError(f"{len(noisy)} files {kind.noisy} and {len(clean)} files {kind.clean} are not pairs")
        for number in spread(len(noisy), count):
            yield _read_case(kind, noisy[number], clean[number], number, crop)
    if volume is not None:
        yield _read_volume(volume)


def spread(total: int, count: int) -> Sequence[int]:
    """Return `count` of the numbers below `total`, the first and the last among them; all if `count` is 0."""
    if not count or count >= total:
        return range(total)
    return [int(number) for number in np.linspace(0, total - 1, count).round()]


def _read_case(kind: Kind, noisy: Path, clean: Path, number: int, crop: int) -> Case:
    image, truth = (centre_crop(read_8_bit(path), crop) for path in (noisy, clean))
    if kind.noise:
        image = make_noisy(truth, parse_noise(kind.noise), seed=0, number=number)
    if truth.shape[-1] == 1:
        image, truth = image[..., 0], truth[..., 0]
    return Case(kind, noisy.stem, "YXS" if truth.ndim == 3 else "YX", image, truth)


def _read_volume(path: Path) -> Case:
    with open_image(path) as source:
        if source.axes != "ZYX" or source.dtype != np.uint8:
            raise EvaluationError(f"{path} is {source.axes} {source.dtype}; give an 8-bit gray volume with axes ZYX")
        first = max(0, (source.shape[0] - _PLANES) // 2)
        truth = np.asarray(source.data[first : first + _PLANES])
    recipe = parse_noise(VOLUME.noise)
    planes = [make_noisy(plane[..., None], recipe, 0, number)[..., 0] for number, plane in enumerate(truth)]
    return Case(VOLUME, path.stem, "ZYX", np.stack(planes), truth)
