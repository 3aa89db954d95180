"""The loss of JPEG compression (ITU-T T.81, baseline; colours as JFIF): quantised cosines of blocks of 8 x 8 pixels.

Only what loses information is done: the entropy coding that follows in a file does not. So it runs on any device, for a
whole batch at once, each image with a quality of its own.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name)

from masked_denoiser.noise.synthetic.pixelwise import GREY, Amount, constant

#: Side of a block.
_BLOCK = 8
#: Tables K.1 and K.2 of the standard: steps of the coefficients at quality 50.
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
#: From RGB to luminance and two colour differences (JFIF), and back.
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def jpeg(images: Tensor, generator: Generator, *, quality: Amount) -> Tensor:
    """Return images as a JPEG file gives them back, colour at half resolution (4:2:0); nothing is drawn.

    Args:
        images, generator: see `pixelwise`; of three channels the first is red.
        quality: 1 to 100, in the scale of the Independent JPEG Group.
    """
    _, channels, height, width = images.shape
    pixels = (images.clamp(0, 1) * 255).round()
    pixels = _padded(pixels, -height % (2 * _BLOCK), -width % (2 * _BLOCK)) - 128
    scale = _scale(torch.as_tensor(quality, dtype=torch.float32, device=images.device).round())
    if channels != 3:
        return ((_quantised(pixels, scale, _LUMINANCE) + 128).round().clamp(0, 255) * GREY)[..., :height, :width]
    luminance, colour = torch.split(_rotated(pixels, _TO_YCC).round(), [1, 2], dim=1)
    luminance = _quantised(luminance, scale, _LUMINANCE)
    colour = _quantised(F.avg_pool2d(colour, 2).round(), scale, _CHROMINANCE)
    colour = F.interpolate(colour, scale_factor=2, mode="bilinear", align_corners=False)
    out = _rotated(torch.cat([luminance, colour], dim=1), _TO_RGB) + 128
    return (out.round().clamp(0, 255) * GREY)[..., :height, :width]


def _padded(pixels: Tensor, rows: int, columns: int) -> Tensor:
    """With the last row and column repeated."""
    return F.pad(pixels, (0, columns, 0, rows), mode="replicate")


def _scale(quality: Tensor) -> Tensor:
    """Per cent of the steps of quality 50, as libjpeg computes it."""
    return torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)


def _rotated(pixels: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Other channels [B, 3, H, W] by a matrix [3, 3]."""
    return torch.einsum("ij,bjhw->bihw", constant(matrix, pixels.device), pixels)


def _quantised(pixels: Tensor, scale: Tensor, steps: tuple[tuple[int, ...], ...]) -> Tensor:
    """Pixels around 0 after their coefficients were rounded to whole steps; sides are multiples of 8."""
    table = ((constant(steps, pixels.device) * scale.view(-1, 1, 1, 1, 1, 1) + 50) / 100).floor().clamp(1, 255)
    cosines = _cosines(pixels.device)
    batch, channels, height, width = pixels.shape
    blocks = pixels.view(batch, channels, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).transpose(3, 4)
    coefficients = cosines @ blocks @ cosines.T
    blocks = cosines.T @ ((coefficients / table).round() * table) @ cosines
    return blocks.transpose(3, 4).reshape(pixels.shape)


def _cosines(device: torch.device) -> Tensor:
    """The orthonormal cosine transform of 8 values, [8 frequencies, 8 places]."""
    frequency, place = torch.arange(_BLOCK, device=device)[:, None], torch.arange(_BLOCK, device=device)[None, :]
    waves = torch.cos(math.pi / _BLOCK * (place + 0.5) * frequency) * math.sqrt(2 / _BLOCK)
    return torch.where(frequency == 0, math.sqrt(1 / _BLOCK), waves)
