"""Synthetic training images as microscopes see them: filaments, membranes, puncta, vesicles, nuclei and gratings.

Photographs and histology do not look like fluorescence: sparse structure on a dark background, limited by the optics.
Everything is drawn at random from a seed, for a whole batch at once on its device, then blurred by a Gaussian point
spread function and brought to a random contrast and background.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name)

#: Standard deviations of the point spread function in pixels.
_BLUR = (0.5, 3.0)
#: Rows and columns of its kernel on each side of the centre.
_RADIUS = 9
#: Filaments in one patch at most.
_FILAMENTS = 16
#: Share of the patches that show two kinds of structure.
_BOTH = 0.4


def draw_microscope_images(count: int, channels: int, size: int, generator: Generator) -> Tensor:
    """Draw images [count, channels, size, size] float32 in [0, 1]; the generator's seed decides all of them.

    Args:
        count: of images; every kind of structure gets a share of them.
        channels: 1, or 3 for one random colour for each image.
        size: side in pixels.
        generator: on the device of the images.
    """
    order = torch.Generator().manual_seed(generator.initial_seed())
    structure, other = (_structures(count, size, generator, order) for _ in range(2))
    both = (_uniform(count, generator) < _BOTH).float()
    structure = structure + other * both * _uniform(count, generator)
    blurred = _blur(structure, _between(count, generator, *_BLUR))
    peak = blurred.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)
    return _exposed(blurred / peak, channels, generator)


def _structures(count: int, size: int, generator: Generator, order: Generator) -> Tensor:
    """[count, 1, size, size], every kind in a share of them; `order` draws which kinds few images are of."""
    kinds = [_KINDS[number] for number in torch.randperm(len(_KINDS), generator=order).tolist()]
    shares = [len(part) for part in np.array_split(np.arange(count), len(kinds))]
    pairs = zip(kinds, shares, strict=True)
    return torch.cat([kind(share, size, generator) for kind, share in pairs if share])


def _exposed(structure: Tensor, channels: int, generator: Generator) -> Tensor:
    """Structure up to 1 at a random brightness, on a background that is uneven."""
    count, _, size, _ = structure.shape
    bright = _between(count, generator, math.log(0.05), 0.0).exp()
    background = _uniform(count, generator) ** 3 * (1 - bright)
    haze = _smooth(count, size, generator, 2.0).sigmoid()
    image = background + bright * (structure + 0.3 * _uniform(count, generator) * haze)
    if channels == 1:
        return image.clamp(0, 1)
    colour = torch.rand(count, 3, 1, 1, generator=generator, device=image.device)
    colour = torch.where(_uniform(count, generator) < 0.5, torch.ones_like(colour), colour)
    return (image * colour / colour.amax(dim=1, keepdim=True)).clamp(0, 1)


def _filaments(count: int, size: int, generator: Generator) -> Tensor:
    """Lines that bend a little."""
    shape = (count, _FILAMENTS, 1, 1)
    number = _between(count, generator, 1, _FILAMENTS)
    shown = torch.arange(_FILAMENTS, device=generator.device).view(1, -1, 1, 1) < number
    angle, offset, bend, phase = (_rand(shape, generator) for _ in range(4))
    along, across = _axes(size, generator, angle * math.pi)
    across = across - (offset - 0.5) * 1.2 * size
    across = across + 0.12 * size * (bend - 0.5) * torch.sin(along * (2 * math.pi / size) + 2 * math.pi * phase)
    width = _between(count, generator, 0.4, 1.5)
    lines = torch.exp(-0.5 * (across / width) ** 2) * shown * (0.3 + 0.7 * _rand(shape, generator))
    return lines.sum(dim=1, keepdim=True)


def _membranes(count: int, size: int, generator: Generator) -> Tensor:
    """Contour lines of a smooth random surface: closed curves of even width."""
    surface = _smooth(count, size, generator, _rough(size, generator))
    slope = torch.hypot(*torch.gradient(surface, dim=(2, 3))).clamp(min=1e-3)
    distance = (surface - 0.5 * _normal((count, 1, 1, 1), generator)).abs() / slope
    return torch.exp(-0.5 * (distance / _between(count, generator, 0.5, 2.0)) ** 2)


def _puncta(count: int, size: int, generator: Generator) -> Tensor:
    """Single bright pixels, few or many, of very different brightness."""
    density = _between(count, generator, math.log(3e-4), math.log(3e-2)).exp()
    points = (_rand((count, 1, size, size), generator) < density).float()
    return points * torch.exp(0.8 * _normal((count, 1, size, size), generator))


def _vesicles(count: int, size: int, generator: Generator) -> Tensor:
    """Small rings and discs: the difference of two blurred sets of points."""
    points = _puncta(count, size, generator)
    radius = _between(count, generator, 1.2, 2.6)
    hollow = _uniform(count, generator)
    rings = _blur(points, radius) - 0.8 * hollow * _blur(points, 0.6 * radius)
    return (2 * math.pi * radius**2 * rings).clamp(min=0)


def _nuclei(count: int, size: int, generator: Generator) -> Tensor:
    """Blobs with a soft edge and a texture of their own."""
    surface = _smooth(count, size, generator, _rough(size, generator))
    edge = _between(count, generator, 4, 40)
    inside = ((surface - _between(count, generator, -0.5, 1.2)) * edge).sigmoid()
    texture = _smooth(count, size, generator, math.log2(size / 3))
    return inside * (1 + 0.35 * _uniform(count, generator) * texture).clamp(min=0)


def _gratings(count: int, size: int, generator: Generator) -> Tensor:
    """Waves of a random period and direction inside a soft region."""
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
    """Coordinates in pixels from the centre, along a direction and across it: each [*angle's batch, size, size]."""
    steps = torch.arange(size, device=generator.device) - (size - 1) / 2
    y, x = steps[:, None], steps[None, :]
    return x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()


def _rough(size: int, generator: Generator) -> float:
    """A random detail of a smooth surface for some images: twice as many bumps for each step of 1."""
    drawn = torch.rand((), generator=torch.Generator().manual_seed(generator.initial_seed()))
    return 2.0 + float(drawn) * (math.log2(size) - 4.5)


def _smooth(count: int, size: int, generator: Generator, detail: float) -> Tensor:
    """A smooth random surface of unit variance [count, 1, size, size], with 2^detail bumps along a side."""
    nodes = max(4, round(2**detail))
    coarse = _normal((count, 1, nodes, nodes), generator)
    surface = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)
    return surface / surface.std(dim=(2, 3), keepdim=True).clamp(min=1e-3)


def _blur(images: Tensor, widths: Tensor) -> Tensor:
    """Images [B, 1, H, W] through Gaussians of these standard deviations [B, 1, 1, 1] in pixels."""
    count, _, height, width = images.shape
    steps = torch.arange(-_RADIUS, _RADIUS + 1, device=images.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (steps / widths.view(-1, 1)) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    padded = F.pad(images, (_RADIUS,) * 4, mode="reflect").view(1, count, height + 2 * _RADIUS, width + 2 * _RADIUS)
    rows = F.conv2d(padded, kernel.view(count, 1, 1, -1), groups=count)
    return F.conv2d(rows, kernel.view(count, 1, -1, 1), groups=count).view(images.shape)


def _rand(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)


def _uniform(count: int, generator: Generator) -> Tensor:
    """One number of [0, 1) for each image, [count, 1, 1, 1]."""
    return _rand((count, 1, 1, 1), generator)


def _between(count: int, generator: Generator, low: float, high: float) -> Tensor:
    """One number for each image, [count, 1, 1, 1]."""
    return low + (high - low) * _uniform(count, generator)
