"""The two masks of masked training: input pixels, and tokens in front of every window attention.

While training both are random. At inference only the attention mask remains, and it is a
counter-based hash of (seed, pass, block, global window, token): a token's mask never depends on
the tile that it is computed in, on the batch, the device or the order of the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_SIGN = -(2**63)

#: What a masked input pixel is set to, in all channels, before the mean is subtracted.
MASKED_PIXEL = -0.1


def mask_pixels(images: Tensor, low: float, high: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sets random pixels of every image to `MASKED_PIXEL` (Chen et al. 2023, section 3.1).

    Args:
        images: [B, C, H, W] float, noisy and already clipped.
        low, high: each image draws its own share of masked pixels uniformly from [low, high].
        generator: on the device of `images`.

    Returns:
        The masked images [B, C, H, W], and the mask [B, 1, H, W], bool, true where masked.
    """
    if not 0.0 <= low <= high <= 1.0:
        raise ValueError(f"pixel mask shares must satisfy 0 <= low <= high <= 1, not {low}..{high}")
    batch, _, height, width = images.shape
    device = images.device
    ratio = low + (high - low) * torch.rand(batch, 1, 1, 1, generator=generator, device=device)
    masked = torch.rand(batch, 1, height, width, generator=generator, device=device) < ratio
    return images.masked_fill(masked, MASKED_PIXEL), masked


def blind_spots(images: Tensor, low: float, high: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sets random pixels of every image to one of their neighbours, up to 2 pixels away (Krull et al., CVPR 2019).

    Unlike `MASKED_PIXEL` a neighbour's value does not give away which pixels are masked: a network that must
    restore them from their surroundings does so at every pixel, and needs no mask at inference.

    Args:
        images: [B, C, H, W] float, H and W at least 5.
        low, high: as in `mask_pixels`.
        generator: on the device of `images`.

    Returns:
        The masked images [B, C, H, W], and the mask [B, 1, H, W], bool, true where masked.
    """
    _, masked = mask_pixels(images, low, high, generator)
    batch, _, height, width = images.shape
    # One of the 24 others of the 5 x 5 around a pixel; those beyond the edge are taken on the other side.
    number = torch.randint(24, (batch, height, width), generator=generator, device=images.device)
    number = number + (number >= 12)
    y = _inside(torch.arange(height, device=images.device)[:, None], number // 5 - 2, height)
    x = _inside(torch.arange(width, device=images.device)[None, :], number % 5 - 2, width)
    at = (y * width + x).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    neighbours = images.flatten(2).gather(2, at).view_as(images)
    return torch.where(masked, neighbours, images), masked


def _inside(at: Tensor, step: Tensor, side: int) -> Tensor:
    there = at + step
    return torch.where((there < 0) | (there >= side), at - step, there)


class TokenMask(Protocol):
    """Says which tokens reach a window attention."""

    def keep(self, block: int, shift: int, window: int, shape: tuple[int, int, int]) -> Tensor:
        """The tokens of one block that stay.

        Args:
            block: index of the block in the whole network, from 0.
            shift: how far the block's windows are shifted up and left, in pixels.
            window: side of a window in pixels.
            shape: (B, H, W) of the tokens; H and W are multiples of `window`.

        Returns:
            [B or 1, H, W, 1] float32 on the CPU or the tokens' device: 1 stays, 0 is masked.
        """
        ...


def kept_tokens(ratio: float, window: int) -> int:
    """How many tokens of a window stay: every window loses exactly the same number."""
    return max(1, round(window * window * (1.0 - ratio)))


@dataclass(frozen=True)
class RandomTokenMask:
    """Fresh random masks at every call, for training: in each window `ratio` of the tokens go."""

    ratio: float
    generator: torch.Generator

    def keep(self, block: int, shift: int, window: int, shape: tuple[int, int, int]) -> Tensor:
        """See `TokenMask.keep`; `block` plays no part."""
        batch, height, width = shape
        rows, cols = height // window + 1, width // window + 1
        score = torch.rand(batch, rows, cols, window**2, generator=self.generator, device=self.generator.device)
        chosen = score.topk(kept_tokens(self.ratio, window), dim=-1).indices
        keep = torch.zeros_like(score).scatter_(-1, chosen, 1.0)
        keep = keep.view(batch, rows, cols, window, window).transpose(2, 3)
        return keep.reshape(batch, rows * window, cols * window, 1)[:, shift : shift + height, shift : shift + width]


@dataclass(frozen=True)
class HashedTokenMask:
    """Reproducible masks for inference, the same for a pixel of the image in whatever tile it is read.

    Attributes:
        ratio: share of the tokens of each window that is set to zero.
        seed: seed of the job.
        number: number of the pass, from 0.
        origins: (row, column) of each tile's top left pixel in the image, multiples of the window.
        scale: pixels along a side of one token.
        device: where masks are made.
    """

    ratio: float
    seed: int
    number: int
    origins: tuple[tuple[int, int], ...]
    scale: int = 1
    device: torch.device | str = "cpu"

    def keep(self, block: int, shift: int, window: int, shape: tuple[int, int, int]) -> Tensor:
        """See `TokenMask.keep`. `origins` holds one entry, or one for each image of the batch."""
        _, height, width = shape
        masks = [self._image(block, shift, window, origin, (height, width)) for origin in self.origins]
        return torch.stack(masks)[..., None].float()

    def _image(self, block: int, shift: int, window: int, origin: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """The mask of one tile [H, W] bool: whole windows of the shifted global grid, cropped to the tile."""
        height, width = size
        grid = window * self.scale
        if any(start % grid for start in origin):
            raise ValueError(f"tile origin {origin} is off the grid of {grid}-pixel windows")
        rows = torch.arange(height // window + 1, device=self.device) + origin[0] // grid
        cols = torch.arange(width // window + 1, device=self.device) + origin[1] // grid
        keep = hashed_windows((self.seed, self.number, block), rows, cols, window, kept_tokens(self.ratio, window))
        windows = keep.view(len(rows), len(cols), window, window).transpose(1, 2)
        image = windows.reshape(len(rows) * window, len(cols) * window)
        return image[shift : shift + height, shift : shift + width]


def hashed_windows(counters: tuple[int, ...], rows: Tensor, cols: Tensor, window: int, kept: int) -> Tensor:
    """The tokens with the `kept` smallest hashes of each window: [rows, cols, window * window] bool.

    Args:
        counters: below 2^63 each.
        rows, cols: [n] int64, numbers of windows in the image.
        window: side of a window.
        kept: tokens that stay in each window.
    """
    state = torch.zeros((), dtype=torch.int64)  # on the CPU: a number that is sent to a GPU waits for all it has to do
    for counter in counters:
        state = _mix(state, torch.tensor(counter))
    per_window = _mix(_mix(state, rows)[:, None], cols[None, :])
    hashes = _mix(per_window[..., None], torch.arange(window * window, device=rows.device))
    # The bits are those of unsigned numbers; without the sign bit they are in the order of signed ones.
    smallest = (hashes ^ _SIGN).topk(kept, dim=-1, largest=False, sorted=False).indices
    return torch.zeros_like(hashes, dtype=torch.bool).scatter_(-1, smallest, True)


def _mix(state: Tensor, counter: Tensor) -> Tensor:
    """One step of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), keyed by a counter; int64 wraps as uint64 does."""
    z = (state ^ counter) + _signed(0x9E3779B97F4A7C15)
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)


def _signed(bits: int) -> int:
    """64 bits as a signed number."""
    return bits - 2**64 if bits >= 2**63 else bits


def _shifted(z: Tensor, bits: int) -> Tensor:
    """To the right with zeros from the left, as unsigned numbers are."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
