"""Noise-free scenes as seen by microscopes, scanners and cameras, synthetic or from scikit-image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Scene = NDArray[np.float64]

#: Side of a scene in pixels.
SIDE = 192


def photograph(_: np.random.Generator) -> Scene:
    """Return a part of the `camera` photograph of scikit-image, [H, W], 0 to 255."""
    from skimage.data import camera

    return _as_scene(camera()[60 : 60 + SIDE, 160 : 160 + SIDE])


def tissue(_: np.random.Generator) -> Scene:
    """Return a part of the immunohistochemistry image of scikit-image, [H, W, 3], 0 to 255."""
    from skimage.data import immunohistochemistry

    return _as_scene(immunohistochemistry()[100 : 100 + SIDE, 100 : 100 + SIDE])


def fluorescence(rng: np.random.Generator) -> Scene:
    """Return soft blobs and sharp discs on a dark background, [H, W], 0 to 1."""
    y, x = _coordinates()
    scene = np.zeros((SIDE, SIDE))
    for _ in range(30):
        scene += rng.uniform(0.2, 1) * np.exp(-(_distance(rng, y, x) ** 2) / (2 * rng.uniform(3, 15) ** 2))
    for _ in range(8):
        scene += rng.uniform(0.1, 0.6) * (_distance(rng, y, x) < rng.uniform(5, 20))
    return _as_scene(scene / scene.max())


def mri(rng: np.random.Generator) -> Scene:
    """Return ellipses in an ellipse, with the shading of a receive coil, [H, W], 0 to 1."""
    y, x = _coordinates()
    scene = 0.6 * _ellipse(y, x, (0.0, 0.0), (0.85, 0.68)) - 0.2 * _ellipse(y, x, (0.0, 0.0), (0.78, 0.61))
    for _ in range(14):
        centre = rng.uniform(-0.4, 0.4), rng.uniform(-0.35, 0.35)
        scene += rng.uniform(-0.15, 0.3) * _ellipse(y, x, centre, (rng.uniform(0.03, 0.2), rng.uniform(0.03, 0.2)))
    shading = 0.7 + 0.3 * np.exp(-((y / SIDE - 0.2) ** 2 + (x / SIDE - 0.3) ** 2))
    return _as_scene(np.clip(gaussian_filter(scene, 0.6) * shading, 0, 1))


def ct(rng: np.random.Generator) -> Scene:
    """Return a slice of organs, bones and air in Hounsfield units, [H, W]."""
    y, x = _coordinates()
    scene = np.full((SIDE, SIDE), -1000.0)
    scene[_ellipse(y, x, (0.0, 0.0), (0.7, 0.85)) > 0] = -90.0
    scene[_ellipse(y, x, (0.0, 0.0), (0.63, 0.78)) > 0] = 40.0
    for _ in range(16):
        centre = rng.uniform(-0.45, 0.45), rng.uniform(-0.55, 0.55)
        organ = _ellipse(y, x, centre, (rng.uniform(0.03, 0.15), rng.uniform(0.03, 0.18))) > 0
        scene[organ] = rng.choice([-80.0, 10.0, 60.0, 90.0, 140.0])
    scene[_ellipse(y, x, (0.45, 0.0), (0.09, 0.12)) > 0] = 700.0
    return _as_scene(gaussian_filter(scene, 0.6))


def field_of_view() -> NDArray[np.bool_]:
    """Return the mask of the circular field of view of a scanner, [H, W]."""
    y, x = _coordinates()
    return np.asarray((y - SIDE / 2) ** 2 + (x - SIDE / 2) ** 2 < (SIDE / 2 - 1) ** 2)


def grating(period: float, rng: np.random.Generator) -> Scene:
    """Return an oblique sine grating of this period in pixels with varying contrast, [H, W], 0 to 1."""
    y, x = _coordinates()
    contrast = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 20)
    contrast = (contrast - contrast.min()) / np.ptp(contrast)
    return _as_scene(0.4 + 0.15 * contrast + 0.25 * contrast * np.sin(2 * np.pi * (0.8 * y + 0.6 * x) / period))


def filaments(rng: np.random.Generator, count: int = 60) -> Scene:
    """Return straight fibres about 2.4 pixels wide on a dark background, [H, W], 0 to 1."""
    y, x = _coordinates()
    scene = np.zeros((SIDE, SIDE))
    for _ in range(count):
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-SIDE / 2, SIDE / 2)
        distance = (x - SIDE / 2) * np.cos(angle) + (y - SIDE / 2) * np.sin(angle) - offset
        scene = np.maximum(scene, rng.uniform(0.3, 1) * np.exp(-(distance**2) / 2))
    return _as_scene(0.08 + 0.9 * scene)


def beads(rng: np.random.Generator, count: int = 80, width: float = 1.2) -> Scene:
    """Return points blurred by a Gaussian point spread function of this width in pixels, [H, W], 0 to 1."""
    y, x = _coordinates()
    scene = np.zeros((SIDE, SIDE))
    for _ in range(count):
        scene += rng.uniform(0.3, 1) * np.exp(-(_distance(rng, y, x) ** 2) / (2 * width**2))
    return _as_scene(np.minimum(0.05 + 0.95 * scene, 1.0))


def _as_scene(values: NDArray[Any]) -> Scene:
    return np.asarray(values, np.float64)


def _coordinates() -> tuple[Scene, Scene]:
    """Return the row and the column of each pixel, [H, W] each."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    return y, x


def _distance(rng: np.random.Generator, y: Scene, x: Scene) -> Scene:
    """Return the distance in pixels of each pixel from a random point."""
    return _as_scene(np.hypot(y - rng.uniform(0, SIDE), x - rng.uniform(0, SIDE)))


def _ellipse(y: Scene, x: Scene, centre: tuple[float, float], axes: tuple[float, float]) -> Scene:
    """Return 1 inside an ellipse and 0 outside; centre and axes are in units of half the side, from the middle."""
    v, u = ((2 * p / SIDE - 1 - middle) / axis for p, middle, axis in zip((y, x), centre, axes, strict=True))
    return _as_scene(np.hypot(v, u) < 1)
