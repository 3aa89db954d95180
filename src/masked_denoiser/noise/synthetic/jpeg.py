"""Loss of JPEG compression (ITU-T T.81, baseline; JFIF colours): quantisation of the DCT of 8 x 8 blocks.

Entropy coding is omitted, as it is lossless, so that this runs on any device and for a whole batch, with an individual
quality for each image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name)

from masked_denoiser.noise.synthetic.pixelwise import GREY_LEVEL, Amount, constant_tensor

#: Side of a block in pixels.
_BLOCK = 8

#: Tables K.1 and K.2 of the standard: quantisation steps of the coefficients at quality 50.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)

#: Conversion from RGB to luminance and two colour differences (JFIF), and back.
_RGB_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_YCC_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def jpeg(images: Tensor, generator: Generator, *, quality: Amount, phase: Tensor | None = None) -> Tensor:
    """Return images after JPEG compression with colour at half resolution (4:2:0); it draws no random numbers.

    Args:
        images, generator: see `pixelwise`; three channels are RGB.
        quality: quality from 1 to 100, on the scale of the Independent JPEG Group.
        phase: [B, 2] int64, row and column of the blocks at which each image begins, 0 to 15, as if it were cut out of
            a larger one; 0 by default.
    """
    pixels = (images.clamp(0, 1) * 255).round() - 128
    scale = _quality_scale(torch.as_tensor(quality, dtype=torch.float32, device=images.device).round())
    start = torch.zeros(len(images), 2, dtype=torch.int64, device=images.device) if phase is None else phase
    margin = 0 if phase is None else 2 * _BLOCK
    sides = [side + margin + -side % (2 * _BLOCK) for side in images.shape[-2:]]
    compressed = _compress(_shifted(pixels, -start, sides), scale)
    return _shifted(compressed, start, images.shape[-2:]) * GREY_LEVEL


def _compress(pixels: Tensor, scale: Tensor) -> Tensor:
    """Return pixels from 0 to 255 after compression of pixels from -128 to 127 whose sides are multiples of 16."""
    if pixels.shape[1] != 3:
        return (_quantise(pixels, scale, _LUMINANCE) + 128).round().clamp(0, 255)
    luminance, colour = torch.split(_convert_colours(pixels, _RGB_TO_YCC).round(), [1, 2], dim=1)
    luminance = _quantise(luminance, scale, _LUMINANCE)
    colour = _quantise(F.avg_pool2d(colour, 2).round(), scale, _CHROMINANCE)
    colour = F.interpolate(colour, scale_factor=2, mode="bilinear", align_corners=False)
    out = _convert_colours(torch.cat([luminance, colour], dim=1), _YCC_TO_RGB) + 128
    return out.round().clamp(0, 255)


def _shifted(pixels: Tensor, start: Tensor, sides: Sequence[int]) -> Tensor:
    """Return a part of each image, which repeats its border beyond it.

    Args:
        pixels: [B, C, H, W].
        start: [B, 2] int64, its first row and column.
        sides: its height and width.
    """
    rows, columns = (
        (torch.arange(side, device=pixels.device) + first[:, None]).clamp(0, whole - 1)
        for side, first, whole in zip(sides, start.T, pixels.shape[-2:], strict=True)
    )
    images = torch.arange(len(pixels), device=pixels.device)[:, None, None]
    return pixels.movedim(1, -1)[images, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def _quality_scale(quality: Tensor) -> Tensor:
    """Return the quantisation steps in per cent of those at quality 50, as libjpeg does."""
    return torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)


def _convert_colours(pixels: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Return channels [B, 3, H, W] multiplied by a matrix [3, 3]."""
    return torch.einsum("ij,bjhw->bihw", constant_tensor(matrix, pixels.device), pixels)


def _quantise(pixels: Tensor, scale: Tensor, steps: tuple[tuple[int, ...], ...]) -> Tensor:
    """Return pixels around 0 after quantisation of their DCT; sides are multiples of 8."""
    table = ((constant_tensor(steps, pixels.device) * scale.view(-1, 1, 1, 1, 1, 1) + 50) / 100).floor().clamp(1, 255)
    dct = _dct_matrix(pixels.device)
    batch, channels, height, width = pixels.shape
    blocks = pixels.view(batch, channels, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).transpose(3, 4)
    coefficients = dct @ blocks @ dct.T
    blocks = dct.T @ ((coefficients / table).round() * table) @ dct
    return blocks.transpose(3, 4).reshape(pixels.shape)


def _dct_matrix(device: torch.device) -> Tensor:
    """Return the matrix of the orthonormal DCT of 8 values, [8 frequencies, 8 positions]."""
    frequency, position = torch.arange(_BLOCK, device=device)[:, None], torch.arange(_BLOCK, device=device)[None, :]
    cosines = torch.cos(math.pi / _BLOCK * (position + 0.5) * frequency) * math.sqrt(2 / _BLOCK)
    return torch.where(frequency == 0, math.sqrt(1 / _BLOCK), cosines)
