"""Makes the sample images: real tissue with added noise, and a synthetic fluorescence stack.

    python sample_data/make.py [FOLDER]

Needs scikit-image for the slide. The same versions of numpy and tifffile give the same bytes again.
"""

from __future__ import annotations

import argparse
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import tifffile
from numpy.typing import NDArray
from skimage.filters import gaussian

SEED = 20230613

#: Standard deviation of the slide's noise, in gray values of 255.
SLIDE_SIGMA = 25.0

#: The fluorescence stack: axes C, Z, Y, X, and its voxel in micrometers.
SHAPE = (2, 8, 160, 160)
VOXEL = {"Z": 0.5, "Y": 0.2, "X": 0.2}
CHANNELS = ("Nuclei", "Filaments")
PEAK_PHOTONS = (60.0, 30.0)
BACKGROUND_PHOTONS = 2.0

#: The camera: photons to gray values, value without light, and electrons of read noise.
GAIN, OFFSET, READ_NOISE = 4.0, 100.0, 1.6

Floats = NDArray[np.float64]


def noisy_slide(clean: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """White Gaussian noise on every sample, clipped and rounded to 8 bits."""
    noise = np.random.default_rng(SEED).normal(0.0, SLIDE_SIGMA, clean.shape)
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


def nuclei(rng: np.random.Generator) -> Floats:
    """Smooth ellipsoids with a coarse texture inside, [Z, Y, X] in 0..1."""
    depth, height, width = SHAPE[1:]
    z, y, x = np.meshgrid(np.arange(depth), np.arange(height), np.arange(width), indexing="ij")
    volume = np.zeros(SHAPE[1:])
    for _ in range(22):
        center = rng.uniform((1, 0, 0), (depth - 1, height, width))
        radius_z, radius_y, radius_x = rng.uniform((2.0, 10.0, 10.0), (4.0, 17.0, 17.0))
        turn = rng.uniform(0.0, np.pi)
        along = np.cos(turn) * (x - center[2]) + np.sin(turn) * (y - center[1])
        across = -np.sin(turn) * (x - center[2]) + np.cos(turn) * (y - center[1])
        inside = ((z - center[0]) / radius_z) ** 2 + (across / radius_y) ** 2 + (along / radius_x) ** 2 < 1.0
        volume[inside] = np.maximum(volume[inside], rng.uniform(0.6, 1.0))
    texture = gaussian(rng.standard_normal(SHAPE[1:]), sigma=(0.6, 2.0, 2.0))
    return np.asarray(volume * (1.0 + 0.25 * texture / texture.std()).clip(0.2))


def filaments(rng: np.random.Generator) -> Floats:
    """Thin, slowly bending lines, [Z, Y, X] in 0..1."""
    volume = np.zeros(SHAPE[1:])
    last = np.array(SHAPE[1:]) - 1
    for _ in range(70):
        point, angle = rng.uniform((0, 0, 0), last), rng.uniform(0.0, 2.0 * np.pi)
        slope, bend = rng.normal(0.0, 0.03), 0.0
        for _ in range(400):
            bend = 0.95 * bend + rng.normal(0.0, 0.008)
            angle += bend
            point = point + 0.5 * np.array([slope, np.sin(angle), np.cos(angle)])
            index = np.rint(point).astype(int)
            if (index < 0).any() or (index > last).any():
                break
            volume[tuple(index)] = 1.0
    return volume


def fluorescence() -> NDArray[np.uint16]:
    """What a camera makes of the blurred structures, [C, Z, Y, X]."""
    rng = np.random.default_rng(SEED)
    photons = np.empty(SHAPE)
    for channel, structure in enumerate((nuclei(rng), filaments(rng))):
        blurred = gaussian(structure, sigma=(0.8, 1.2, 1.2), mode="reflect")
        photons[channel] = BACKGROUND_PHOTONS + PEAK_PHOTONS[channel] * blurred / np.quantile(blurred, 0.999)
    electrons = rng.poisson(photons) + rng.normal(0.0, READ_NOISE, SHAPE)
    return np.clip(np.rint(GAIN * electrons + OFFSET), 0, 65535).astype(np.uint16)


def write(path: Path, pixels: NDArray[Any], metadata: dict[str, Any]) -> None:
    """Writes a tiled, losslessly compressed OME-TIFF, without dates or random identifiers."""
    identifier = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, path.name)}"
    rgb = metadata["axes"].endswith("S")
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(
            pixels,
            photometric="rgb" if rgb else "minisblack",
            tile=(128, 128) if rgb else (80, 80),
            compression="zlib",
            compressionargs={"level": 9},
            predictor=True,
            metadata={"UUID": identifier, "Creator": "napari-masked-denoiser sample_data/make.py"} | metadata,
        )
    print(f"{path}: {pixels.shape} {pixels.dtype}, {path.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    """Makes all three files."""
    parser = argparse.ArgumentParser(description="Make the sample images.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)

    clean: NDArray[np.uint8] = skimage.data.immunohistochemistry()
    write(folder / "slide_clean.ome.tif", clean, {"axes": "YXS", "Name": "IHC, clean"})
    noisy = noisy_slide(clean)
    write(folder / "slide.ome.tif", noisy, {"axes": "YXS", "Name": "IHC, Gaussian noise sigma 25"})
    error = np.mean((noisy - clean.astype(float)) ** 2)
    print(f"PSNR of the noisy slide: {10 * np.log10(255**2 / error):.2f} dB")

    voxel: dict[str, Any] = {f"PhysicalSize{axis}": size for axis, size in VOXEL.items()}
    voxel |= {f"PhysicalSize{axis}Unit": "µm" for axis in VOXEL}
    metadata = {"axes": "CZYX", "Name": "Synthetic fluorescence", "Channel": {"Name": list(CHANNELS)}} | voxel
    write(folder / "fluorescence.ome.tif", fluorescence(), metadata)


if __name__ == "__main__":
    main()
