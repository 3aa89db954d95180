"""Phantoms: images of medical modalities with known truth and the noise that each modality has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.transform import iradon, radon

Image = NDArray[np.float64]

#: Attenuation of water per pixel of a slice of CT, and Hounsfield units of water and air.
_WATER_ATTENUATION, _AIR = 0.02, -1000.0

#: Intensity in decibels that is stored as 0, and the range up to 255.
_DARKEST, _DYNAMIC_RANGE = -14.0, 60.0


def head(slices: int = 3, side: int = 192) -> Image:
    """Return slices of a head as MRI shows it, [slices, side, side], from 0 to about 1; nothing around it."""
    rows, columns = np.mgrid[:side, :side] / side * 2.0 - 1.0
    folds = np.sin(22 * columns + 6 * np.sin(9 * rows)) * np.sin(20 * rows + 5 * np.cos(8 * columns)) > 0.2
    shading = 1.0 + 0.1 * np.sin(2.1 * rows + 0.5) * np.cos(1.7 * columns)
    planes = []
    for scale in 1.0 - 0.04 * np.arange(slices):

        def ellipse(width: float, height: float, x: float = 0.0, y: float = 0.0, scale: float = float(scale)) -> Image:
            inside = ((columns - x) / (width * scale)) ** 2 + ((rows - y) / (height * scale)) ** 2 < 1
            return np.asarray(inside, np.float64)

        plane = 0.9 * ellipse(0.7, 0.85) - 0.75 * ellipse(0.66, 0.81) + 0.45 * ellipse(0.62, 0.77)
        plane += 0.18 * folds * ellipse(0.58, 0.73)
        plane -= 0.4 * (ellipse(0.1, 0.25, -0.12, -0.05) + ellipse(0.1, 0.25, 0.12, -0.05))
        plane += 0.25 * ellipse(0.12, 0.08, 0.0, 0.4) + 0.3 * ellipse(0.03, 0.03, 0.3, 0.3)
        planes.append(gaussian_filter(np.maximum(plane * shading, 0.0), 0.7))
    return np.array(planes)


def magnitude(signal: Image, sigma: float, seed: int = 0) -> Image:
    """Return the magnitude of a real signal with complex noise of `sigma`: Rician noise."""
    real, imaginary = np.random.default_rng(seed).normal(0.0, sigma, (2, *signal.shape))
    return np.asarray(np.hypot(signal + real, imaginary))


def abdomen(side: int = 256) -> Image:
    """Return a slice of CT in Hounsfield units, [side, side]: soft tissue, fat, bone and lungs in air."""
    rows, columns = np.mgrid[:side, :side] / side * 2.0 - 1.0

    def ellipse(x: float, y: float, width: float, height: float) -> Any:
        return ((columns - x) / width) ** 2 + ((rows - y) / height) ** 2 < 1

    image = np.full((side, side), _AIR)
    parts = (
        (-100, (0, 0, 0.85, 0.65)), (40, (0, 0, 0.78, 0.58)), (60, (-0.35, 0, 0.35, 0.4)),
        (-800, (0.42, -0.1, 0.26, 0.33)), (120, (0, 0.12, 0.07, 0.07)), (700, (0, 0.4, 0.12, 0.1)),
        (250, (0, 0.4, 0.08, 0.06)),
        (75, (-0.45, 0.1, 0.05, 0.05)), (45, (-0.25, -0.15, 0.08, 0.05)), (90, (-0.2, 0.15, 0.02, 0.02)),
    )  # fmt: skip
    for value, where in parts:
        image[ellipse(*where)] = value
    for i in range(24):  # vessels of the lung, and ribs
        angle, radius = 2.4 * i, 0.05 + 0.19 * (i / 24) ** 0.5
        image[ellipse(0.42 + radius * np.cos(angle), -0.1 + radius * np.sin(angle), 0.012, 0.012)] = -50
        turn = np.pi * (i + 0.5) / 12
        image[ellipse(0.81 * np.cos(turn), 0.61 * np.sin(turn), 0.025, 0.015)] = 600
    return np.asarray(gaussian_filter(image, 0.6))


def reconstructed(hounsfield: Image, photons: float, seed: int = 0, kernel: str = "hann") -> tuple[Image, Image]:
    """Return a slice reconstructed by filtered back projection from noisy and from noise-free projections.

    Args:
        hounsfield: [side, side].
        photons: of each ray before the patient.
        seed: of the photon noise.
        kernel: filter of `skimage.transform.iradon`.

    Returns:
        Both in Hounsfield units. Their difference is noise with the correlation of the kernel, and with streaks along
        directions that few photons cross.
    """
    attenuation = np.maximum(hounsfield / 1000.0 + 1.0, 0.0) * _WATER_ATTENUATION
    angles = np.linspace(0.0, 180.0, 360, endpoint=False)
    projections = radon(attenuation, angles, circle=False)
    counts = np.random.default_rng(seed).poisson(photons * np.exp(-projections))
    noisy = -np.log(np.maximum(counts, 1) / photons)
    noisy, clean = (
        (iradon(each, angles, len(hounsfield), kernel, circle=False) / _WATER_ATTENUATION - 1.0) * 1000.0
        for each in (noisy, projections)
    )
    return np.asarray(noisy), np.asarray(clean)


def reflectivity(side: int = 320) -> Image:
    """Return the reflectivity of layers, cysts and a nodule in decibels, [side, side]."""
    rows, columns = np.mgrid[:side, :side] / side
    image = 18.0 + 6.0 * np.sin(3 * np.pi * rows + 2 * np.sin(4 * columns))
    image += np.where(abs(rows - 0.35 - 0.05 * np.sin(7 * columns)) < 0.02, 14.0, 0.0)
    image += np.where(abs(rows - 0.7 - 0.03 * np.sin(9 * columns)) < 0.012, 12.0, 0.0)
    image -= np.where((columns - 0.3) ** 2 + (rows - 0.55) ** 2 < 0.01, 16.0, 0.0)
    image -= np.where((columns - 0.7) ** 2 + (rows - 0.5) ** 2 < 0.004, 16.0, 0.0)
    image += np.where((columns - 0.75) ** 2 + (rows - 0.2) ** 2 < 0.002, 10.0, 0.0)
    return np.asarray(gaussian_filter(image, 1.0))


def speckled(decibels: Image, spread: tuple[float, float], looks: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return a log-compressed image with fully developed speckle, in 8 bit.

    Args:
        decibels: reflectivity.
        spread: standard deviations in pixels of the point spread function, over rows and columns.
        looks: number of independent images whose mean power is taken, as by compounding.
        seed: of the speckle.
    """
    rng = np.random.default_rng(seed)
    power = np.zeros(decibels.shape)
    for _ in range(looks):
        parts = gaussian_filter(rng.normal(size=(2, *decibels.shape)), (0, *spread))
        parts *= 10.0 ** (decibels / 20.0) / parts.std() / np.sqrt(2.0)
        power += (parts**2).sum(axis=0) / looks
    return in_grey_levels(10.0 * np.log10(np.maximum(power, 1e-12)))


def in_grey_levels(decibels: Image) -> NDArray[np.uint8]:
    """Return decibels in the grey levels of a log-compressed image."""
    return np.clip(np.rint((decibels - _DARKEST) * 255.0 / _DYNAMIC_RANGE), 0, 255).astype(np.uint8)


def radiograph(side: int = 320) -> Image:
    """Return the transmitted share of X-rays, or of electrons, of overlapping bodies, [side, side], from 0.05 to 1."""
    rows, columns = np.mgrid[:side, :side] / side
    thickness = np.zeros((side, side))
    rng = np.random.default_rng(3)
    for _ in range(60):
        y, x, radius, depth = rng.uniform((0, 0, 0.02, 0.1), (1, 1, 0.14, 0.5))
        squared = ((rows - y) ** 2 + (columns - x) ** 2) / radius**2
        thickness += depth * np.sqrt(np.maximum(1.0 - squared, 0.0))
    thickness += 1.2 * (abs(rows - 0.5 - 0.1 * np.sin(5 * columns)) < 0.03)
    return np.asarray(np.maximum(np.exp(-gaussian_filter(thickness, 0.8)), 0.05))


def counted(transmission: Image, photons: float, gain: float, read: float, seed: int = 0) -> NDArray[np.uint16]:
    """Return what a detector counts: photon noise times a gain, with read noise and an offset of 100, in 16 bit."""
    rng = np.random.default_rng(seed)
    values = gain * rng.poisson(photons * transmission) + 100.0 + rng.normal(0.0, read, transmission.shape)
    return np.clip(np.rint(values), 0, 65535).astype(np.uint16)
