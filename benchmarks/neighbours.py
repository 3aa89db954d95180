"""Measure what neighbouring planes gain, on stacks and series whose clean planes are known.

python -m benchmarks.neighbours                       # a table, about ten minutes on two cores
python -m benchmarks.neighbours --scenes still drift --noises "sigma 30"
python -m benchmarks.neighbours --events              # what remains of faint events in one plane
python -m benchmarks.neighbours --points              # what remains of the light of faint points
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from masked_denoiser.images.open import open_image
from masked_denoiser.images.writers.memory import MemorySink
from masked_denoiser.jobs.prepare import prepare_array
from masked_denoiser.jobs.spec.options import Options

Stack = NDArray[np.float64]

#: Number of planes, and height and width.
PLANES, SIDE = 8, 160

#: Pixels whose clean value varies by less than this over the planes are still.
_STILL = 1e-6

#: Number of draws of noise over which what remains of events is averaged.
_DRAWS = 3


@dataclass(frozen=True)
class Row:
    """Figures of one stack.

    Attributes:
        scene, noise: names.
        noisy, alone, together: PSNR in dB of the noisy planes, of planes that are denoised by themselves, and with
            their neighbours.
        flicker: variance over the planes in still regions with neighbours, as a share of that without; NaN without
            still regions.
        count: number of neighbouring planes on each side that were chosen.
    """

    scene: str
    noise: str
    noisy: float
    alone: float
    together: float
    flicker: float
    count: int


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neighbours", description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", nargs="+", help="only scenes whose name contains one of these words")
    parser.add_argument("--noises", nargs="+", choices=NOISES, default=list(NOISES), help="kinds of noise")
    parser.add_argument("--events", action="store_true", help="print what remains of faint events in one plane")
    parser.add_argument("--points", action="store_true", help="print what remains of the light of faint points")
    arguments = parser.parse_args()
    if arguments.events or arguments.points:
        print_events() if arguments.events else print_points()
        return
    print("| planes | noise | noisy, dB | alone, dB | with neighbours, dB | gain, dB | flicker | planes on each side |")
    print("|" + " --- |" * 8)
    for name, clean in scenes():
        if arguments.scenes and not any(word in name for word in arguments.scenes):
            continue
        for noise in arguments.noises:
            print(_format(measure(name, clean, noise)), flush=True)


def print_events() -> None:
    """Print how much of discs that are brighter in one plane of a still series remains, without and with neighbours."""
    print("| background | radius, pixels | brighter by, in sigma | alone | with neighbours |\n|" + " --- |" * 5)
    for name, plane in (("flat", np.full((SIDE, SIDE), 0.4)), ("texture", _texture(9, 1.0)[0])):
        for radius, height in ((4, 0.5), (4, 1.0), (4, 2.0), (10, 0.5), (10, 1.0)):
            alone, together = kept_of_discs(plane, radius, height)
            print(f"| {name} | {radius} | {height:g} | {alone:.2f} | {together:.2f} |", flush=True)


def kept_of_discs(plane: NDArray[np.float64], radius: int, height: float) -> tuple[float, float]:
    """Return the share of the light of nine discs that remains, without and with neighbours, over some draws of noise.

    The same noise without the discs is denoised, too: what the result has there anyway is not their light.

    Args:
        plane: clean plane, [SIDE, SIDE].
        radius: of the discs in pixels.
        height: of the discs in standard deviations of the noise.
    """
    sigma, y, x = 20 / 255, *np.mgrid[:SIDE, :SIDE]
    centres = SIDE // 6 + np.arange(3) * (SIDE // 3)
    discs = np.any([(y - cy) ** 2 + (x - cx) ** 2 <= radius**2 for cy in centres for cx in centres], axis=0)
    choices: tuple[Literal["none"], Literal["auto"]] = ("none", "auto")
    kept: dict[str, list[float]] = {choice: [] for choice in choices}
    for seed in range(_DRAWS):
        without = _repeated(plane) + np.random.default_rng(seed).normal(0, sigma, (PLANES, SIDE, SIDE))
        event = without.copy()
        event[PLANES // 2][discs] += height * sigma
        for choice in choices:
            results = [_denoise(each.astype(np.float32), "", choice)[0][PLANES // 2] for each in (event, without)]
            kept[choice].append(float((results[0] - results[1])[discs].mean() / (height * sigma)))
    return float(np.mean(kept["none"])), float(np.mean(kept["auto"]))


def print_points() -> None:
    """Print how much of the light of points on a flat background remains, by their width and strength."""
    print("| width, pixels | signal to noise | light that remains |\n| --- | --- | --- |")
    for width in (1.0, 2.0):
        for strength in (5, 7, 10, 14):
            print(f"| {width:g} | {strength} | {kept_of_points(width, strength):.2f} |", flush=True)


def kept_of_points(width: float, strength: float, side: int = 384, spacing: int = 32) -> float:
    """Return the share of the light of Gaussian points that remains in one plane.

    Args:
        width: standard deviation of the points in pixels.
        strength: signal-to-noise ratio of a matched filter.
        side: of the plane in pixels.
        spacing: of the points in pixels.
    """
    sigma, rng = 10.0, np.random.default_rng(0)
    points = np.zeros((side, side))
    points[spacing // 2 :: spacing, spacing // 2 :: spacing] = strength * sigma * 2 * width * np.sqrt(np.pi)
    points = gaussian_filter(points, width)
    background = 100 + rng.normal(0, sigma, points.shape)
    results = [_denoise(each[None].astype(np.float32), "", "none")[0] for each in (background + points, background)]
    difference, near = (results[0] - results[1])[0], points > 0.05 * points.max()
    return float((difference[near] - np.median(difference)).sum() / points[near].sum())


def _format(row: Row) -> str:
    flicker = "" if np.isnan(row.flicker) else f"{row.flicker:.2f}"
    return (
        f"| {row.scene} | {row.noise} | {row.noisy:.2f} | {row.alone:.2f} | {row.together:.2f} | "
        f"{row.together - row.alone:+.2f} | {flicker} | {row.count or 'none'} |"
    )


def measure(scene: str, clean: Stack, noise: str) -> Row:
    """Return the figures of one scene with one kind of noise.

    Args:
        scene: name of the scene.
        clean: [planes, H, W], mostly in [0, 1].
        noise: one of `NOISES`.
    """
    rng = np.random.default_rng(sum(map(ord, scene + noise)))
    noisy = NOISES[noise](clean, rng).astype(np.float32)
    alone, _ = _denoise(noisy, noise, "none")
    together, count = _denoise(noisy, noise, "auto")
    still = clean.std(axis=0) < _STILL
    variances = [float(result.var(axis=0)[still].mean()) if still.any() else np.nan for result in (alone, together)]
    flicker = variances[1] / variances[0] if variances[0] else np.nan
    return Row(scene, noise, _psnr(noisy, clean), _psnr(alone, clean), _psnr(together, clean), flicker, count)


def _denoise(
    noisy: NDArray[np.float32], noise: str, neighbours: Literal["auto", "none"]
) -> tuple[NDArray[np.float32], int]:
    """Return the denoised planes, and the number of neighbours that the job uses."""
    source = open_image(noisy, axes="ZYX")
    sink, options = MemorySink(source), Options(noise=SETTINGS.get(noise, "auto"), neighbours=neighbours)
    with prepare_array(source, options=options, device="cpu", sink=sink) as prepared:
        for _ in prepared.pipeline.run():
            pass
        counts = [context.count for _, context in prepared.job.context_planes]
        return np.asarray(sink.array, np.float32), max(counts, default=0)


def _psnr(result: NDArray[np.floating], clean: Stack) -> float:
    return float(-10.0 * np.log10(np.mean((result - clean) ** 2)))


def scenes() -> Iterator[tuple[str, Stack]]:
    """Yield the name and the clean planes of each scene, from the same seeds in every run."""
    fibres = 0.15 + 0.6 * filaments(1)
    texture = _texture(2, 0.0)[0]
    yield "still fibres", _repeated(fibres)
    yield "still texture", _repeated(texture)
    yield "still fibres, half replaced", _half_replaced(fibres)
    yield "still fibres, bleaching by 3 %", _repeated(fibres) * (0.97 ** np.arange(PLANES))[:, None, None]
    yield "moving beads", moving_beads(3)
    yield "blinking beads", blinking_beads(4)
    for step in (0.25, 0.5, 1.0, 3.0):
        yield f"texture, drift of {step:g} px", _drifting(texture, step)
    yield "fibres, drift of 0.5 px", _drifting(fibres, 0.5)
    for depth in (0.5, 1.0, 2.0, 3.0):
        yield f"texture, {depth:g} planes deep", _texture(5, depth)
        yield f"cells, {depth:g} planes deep", cells(6, depth)
    yield "unrelated fibres", np.stack([0.15 + 0.6 * filaments(20 + plane) for plane in range(PLANES)])
    yield "new texture on still fibres", _repeated(fibres) + 0.03 * (_texture(7, 0.0) - 0.45) / 0.15


def _gaussian(sigma: float, width: float = 0.0) -> Callable[[Stack, np.random.Generator], Stack]:
    """Return the function that adds Gaussian noise of a standard deviation in grey levels, blurred in each plane."""

    def add(clean: Stack, rng: np.random.Generator) -> Stack:
        noise = gaussian_filter(rng.normal(size=clean.shape), (0, width, width), mode="wrap")
        return np.asarray(clean + noise * (sigma / 255 / noise.std()))

    return add


def _photons(brightest: float, read: float) -> Callable[[Stack, np.random.Generator], Stack]:
    """Return the function that counts photons, of which an intensity of 1 has `brightest`, and adds read noise."""

    def add(clean: Stack, rng: np.random.Generator) -> Stack:
        counts = rng.poisson(np.maximum(clean, 0.0) * brightest) + read * rng.normal(size=clean.shape)
        return np.asarray(counts / brightest)

    return add


#: Noise settings of the jobs: noise that neighbouring pixels share is given, as texture is easily mistaken for it.
SETTINGS = {"blurred, sigma 20": f"sigma={20 / 255:.4f},correlation=3"}

#: Kinds of noise.
NOISES: dict[str, Callable[[Stack, np.random.Generator], Stack]] = {
    "sigma 15": _gaussian(15),
    "sigma 30": _gaussian(30),
    "30 photons": _photons(30, 2.0),
    "6 photons": _photons(6, 0.5),
    "blurred, sigma 20": _gaussian(20, 0.8),
}


def filaments(seed: int, count: int = 25) -> Stack:
    """Return curved lines, [H, W], with an intensity of about 1."""
    rng = np.random.default_rng(seed)
    image = np.zeros((SIDE, SIDE))
    for _ in range(count):
        (y, x), angle = rng.uniform(0, SIDE, 2), rng.uniform(0, 2 * np.pi)
        for turn in rng.normal(0, 0.1, 180):
            angle += turn
            y, x = y + 0.5 * np.sin(angle), x + 0.5 * np.cos(angle)
            image[int(y) % SIDE, int(x) % SIDE] += 1.0
    blurred = gaussian_filter(image, 1.2)
    return np.asarray(blurred / np.percentile(blurred, 99.5))


def bead(centre: tuple[float, float], height: float, sigma: float = 1.3) -> Stack:
    """Return a Gaussian spot, [H, W]."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.asarray(height * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * sigma**2)))


def moving_beads(seed: int) -> Stack:
    """Return beads that move by some pixels from plane to plane over still fibres."""
    rng, planes = np.random.default_rng(seed), _repeated(0.2 + 0.3 * filaments(seed + 100, 12))
    for _ in range(18):
        start, step, height = rng.uniform(10, SIDE - 10, 2), 4 * rng.normal(size=2), rng.uniform(0.1, 0.5)
        for number, plane in enumerate(planes):
            plane += bead(tuple(start + step * number), height)
    return planes


def blinking_beads(seed: int) -> Stack:
    """Return beads that are visible in one plane each, over still fibres."""
    rng, planes = np.random.default_rng(seed), _repeated(0.2 + 0.3 * filaments(seed + 100, 12))
    for _ in range(30):
        planes[rng.integers(PLANES)] += bead(tuple(rng.uniform(8, SIDE - 8, 2)), rng.uniform(0.05, 0.4))
    return planes


def cells(seed: int, depth: float) -> Stack:
    """Return blurred ellipsoids whose extent along Z is in proportion to `depth`."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[-8 : PLANES + 8, :SIDE, :SIDE]
    volume = np.zeros(z.shape)
    for _ in range(80):
        centre, radius, height = (
            rng.uniform((-8, 0, 0), (PLANES + 8, SIDE, SIDE)),
            rng.uniform(3, 10),
            rng.uniform(0.3, 1),
        )
        distances = ((z - centre[0]) / (radius * depth / 4), (y - centre[1]) / radius, (x - centre[2]) / radius)
        volume = np.maximum(volume, height * (sum(d**2 for d in distances) < 1))
    return np.asarray(0.1 + 0.7 * gaussian_filter(volume, (depth / 2, 1, 1))[8:-8])


def _texture(seed: int, depth: float) -> Stack:
    """Return smoothed noise that is correlated over `depth` planes; 0 for independent planes."""
    rng = np.random.default_rng(seed)
    values = gaussian_filter(rng.normal(size=(PLANES + 16, SIDE, SIDE)), (depth, 2, 2), mode="wrap")[8:-8]
    return np.asarray(0.45 + 0.15 * values / values.std())


def _repeated(plane: Stack) -> Stack:
    return np.repeat(plane[None], PLANES, axis=0)


def _half_replaced(plane: Stack) -> Stack:
    """Return still planes whose right halves show something else in each plane."""
    planes = _repeated(plane)
    for number in range(PLANES):
        planes[number, :, SIDE // 2 :] = 0.15 + 0.6 * filaments(40 + number)[:, SIDE // 2 :]
    return planes


def _drifting(plane: Stack, step: float) -> Stack:
    return np.stack([shift(plane, (step * k, 0.4 * step * k), order=3, mode="grid-wrap") for k in range(PLANES)])


if __name__ == "__main__":
    main()
