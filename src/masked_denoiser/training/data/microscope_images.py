"""Synthetic microscope images for training: filaments, membranes, puncta, vesicles, nuclei and gratings.

Photographs and histology do not look like fluorescence, which is sparse structure on a dark background, limited by the
optics. Structures are drawn from a seed for a whole batch on its device, blurred with a Gaussian point spread function
and given a random contrast and background.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name)

#: Range of the standard deviation of the point spread function in pixels.
_PSF_SIGMAS = (0.5, 3.0)
#: Radius of the kernel of the point spread function in pixels.
_PSF_RADIUS = 9
#: Most filaments in a patch.
_MAX_FILAMENTS = 16
#: Share of the patches that show two kinds of structure.
_TWO_KINDS_SHARE = 0.4


def draw_microscope_images(count: int, channels: int, size: int, generator: Generator) -> Tensor:
    """Draw images [count, channels, size, size] float32 in [0, 1]; the generator's seed determines all of them.

    Args:
        count: number of images, divided among the kinds of structure.
        channels: 1, or 3 for a random colour of each image.
        size: side in pixels.
        generator: generator on the device of the images.
    """
    order = torch.Generator().manual_seed(generator.initial_seed())
    structure, second = (_structures(count, size, generator, order) for _ in range(2))
    has_second = (_uniform(count, generator) < _TWO_KINDS_SHARE).float()
    structure = structure + second * has_second * _uniform(count, generator)
    blurred = _blur(structure, _between(count, generator, *_PSF_SIGMAS))
    peak = blurred.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)
    return _expose(blurred / peak, channels, generator)


def _structures(count: int, size: int, generator: Generator, order: Generator) -> Tensor:
    """Draw structures [count, 1, size, size], divided among the kinds in an order drawn by `order`."""
    kinds = [_KINDS[number] for number in torch.randperm(len(_KINDS), generator=order).tolist()]
    counts = [len(part) for part in np.array_split(np.arange(count), len(kinds))]
    pairs = zip(kinds, counts, strict=True)
    return torch.cat([kind(kind_count, size, generator) for kind, kind_count in pairs if kind_count])


def _expose(structure: Tensor, channels: int, generator: Generator) -> Tensor:
    """Give structures with a peak of 1 a random brightness, an uneven background and a colour."""
    count, _, size, _ = structure.shape
    brightness = _between(count, generator, math.log(0.05), 0.0).exp()
    background = _uniform(count, generator) ** 3 * (1 - brightness)
    haze = _smooth(count, size, generator, 2.0).sigmoid()
    image = background + brightness * (structure + 0.3 * _uniform(count, generator) * haze)
    if channels == 1:
        return image.clamp(0, 1)
    colour = torch.rand(count, 3, 1, 1, generator=generator, device=image.device)
    colour = torch.where(_uniform(count, generator) < 0.5, torch.ones_like(colour), colour)
    return (image * colour / colour.amax(dim=1, keepdim=True)).clamp(0, 1)


def _filaments(count: int, size: int, generator: Generator) -> Tensor:
    """Draw slightly curved lines."""
    shape = (count, _MAX_FILAMENTS, 1, 1)
    number = _between(count, generator, 1, _MAX_FILAMENTS)
    present = torch.arange(_MAX_FILAMENTS, device=generator.device).view(1, -1, 1, 1) < number
    angle, offset, bend, phase = (_rand(shape, generator) for _ in range(4))
    along, across = _axes(size, generator, angle * math.pi)
    across = across - (offset - 0.5) * 1.2 * size
    across = across + 0.12 * size * (bend - 0.5) * torch.sin(along * (2 * math.pi / size) + 2 * math.pi * phase)
    width = _between(count, generator, 0.4, 1.5)
    lines = torch.exp(-0.5 * (across / width) ** 2) * present * (0.3 + 0.7 * _rand(shape, generator))
    return lines.sum(dim=1, keepdim=True)


def _membranes(count: int, size: int, generator: Generator) -> Tensor:
    """Draw contour lines of a smooth random surface: closed curves of even width."""
    surface = _smooth(count, size, generator, _random_detail(size, generator))
    slope = torch.hypot(*torch.gradient(surface, dim=(2, 3))).clamp(min=1e-3)
    distance = (surface - 0.5 * _normal((count, 1, 1, 1), generator)).abs() / slope
    return torch.exp(-0.5 * (distance / _between(count, generator, 0.5, 2.0)) ** 2)


def _puncta(count: int, size: int, generator: Generator) -> Tensor:
    """Draw single bright pixels of random density and log-normal brightness."""
    density = _between(count, generator, math.log(3e-4), math.log(3e-2)).exp()
    points = (_rand((count, 1, size, size), generator) < density).float()
    return points * torch.exp(0.8 * _normal((count, 1, size, size), generator))


def _vesicles(count: int, size: int, generator: Generator) -> Tensor:
    """Draw small rings and discs: the difference of two blurs of the same points."""
    points = _puncta(count, size, generator)
    radius = _between(count, generator, 1.2, 2.6)
    hollow = _uniform(count, generator)
    rings = _blur(points, radius) - 0.8 * hollow * _blur(points, 0.6 * radius)
    return (2 * math.pi * radius**2 * rings).clamp(min=0)


def _nuclei(count: int, size: int, generator: Generator) -> Tensor:
    """Draw textured blobs with a soft edge."""
    surface = _smooth(count, size, generator, _random_detail(size, generator))
    edge = _between(count, generator, 4, 40)
    inside = ((surface - _between(count, generator, -0.5, 1.2)) * edge).sigmoid()
    texture = _smooth(count, size, generator, math.log2(size / 3))
    return inside * (1 + 0.35 * _uniform(count, generator) * texture).clamp(min=0)


def _gratings(count: int, size: int, generator: Generator) -> Tensor:
    """Draw waves of a random period and direction inside a region with a soft edge."""
    along, _ = _axes(size, generator, _uniform(count, generator) * math.pi)
    period = _between(count, generator, math.log(2.5), math.log(24)).exp()
    phase = 2 * math.pi * _uniform(count, generator)
    waves = 0.5 + 0.5 * torch.sin(2 * math.pi * along / period + phase)
    return waves * (4 * _smooth(count, size, generator, 2.0) + 2).sigmoid()


_KINDS: tuple[Callable[[int, int, Generator], Tensor], ...] = (
    _filaments,
    _puncta,
    _nuclei,
    _membranes,
    _vesicles,
    _gratings,
)


def _axes(size: int, generator: Generator, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Return coordinates in pixels from the centre, along a direction and across it, each broadcast to `angle`."""
    steps = torch.arange(size, device=generator.device) - (size - 1) / 2
    y, x = steps[:, None], steps[None, :]
    return x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()


def _random_detail(size: int, generator: Generator) -> float:
    """Return a random `detail` for `_smooth`, determined by the generator's seed."""
    on_cpu = torch.Generator().manual_seed(generator.initial_seed())
    uniform = torch.rand((), generator=on_cpu, device="cpu")
    return 2.0 + float(uniform) * (math.log2(size) - 4.5)


def _smooth(count: int, size: int, generator: Generator, detail: float) -> Tensor:
    """Draw smooth random surfaces of unit variance [count, 1, size, size], with 2^detail bumps along a side."""
    nodes = max(4, round(2**detail))
    coarse = _normal((count, 1, nodes, nodes), generator)
    surface = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)
    return surface / surface.std(dim=(2, 3), keepdim=True).clamp(min=1e-3)


def _blur(images: Tensor, sigmas: Tensor) -> Tensor:
    """Blur images [B, 1, H, W] with Gaussians of standard deviations [B, 1, 1, 1] in pixels."""
    count, _, height, width = images.shape
    steps = torch.arange(-_PSF_RADIUS, _PSF_RADIUS + 1, device=images.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (steps / sigmas.view(-1, 1)) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    padded = F.pad(images, (_PSF_RADIUS,) * 4, mode="reflect")
    padded = padded.view(1, count, height + 2 * _PSF_RADIUS, width + 2 * _PSF_RADIUS)
    rows = F.conv2d(padded, kernel.view(count, 1, 1, -1), groups=count)
    return F.conv2d(rows, kernel.view(count, 1, -1, 1), groups=count).view(images.shape)


def _rand(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)


def _uniform(count: int, generator: Generator) -> Tensor:
    """Draw a number in [0, 1) for each image, [count, 1, 1, 1]."""
    return _rand((count, 1, 1, 1), generator)


def _between(count: int, generator: Generator, low: float, high: float) -> Tensor:
    """Draw a number between two limits for each image, [count, 1, 1, 1]."""
    return low + (high - low) * _uniform(count, generator)
