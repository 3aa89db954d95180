"""Masks of masked training: of input pixels, and of tokens before every window attention.

Both are random in training. At inference only the attention mask remains, a counter-based hash of
(seed, pass, block, global window, token), so that the mask of a token does not depend on its tile, its
batch, the device or the order of computation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

#: Sign bit of int64, to compare signed numbers as unsigned ones.
_SIGN_BIT = -(2**63)

#: Value of masked input pixels, in all channels, before the mean is subtracted.
MASKED_PIXEL = -0.1


def mask_pixels(images: Tensor, low: float, high: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Set random pixels of every image to `MASKED_PIXEL` (Chen et al. 2023, section 3.1).

    Args:
        images: [B, C, H, W] float, noisy and already clipped.
        low, high: limits of the share of masked pixels, which is drawn uniformly for each image.
        generator: generator on the device of `images`.

    Returns:
        The masked images [B, C, H, W], and the mask [B, 1, H, W], bool, true where masked.

    Raises:
        ValueError: if `low` and `high` are not ordered shares.
    """
    if not 0.0 <= low <= high <= 1.0:
        raise ValueError(f"pixel mask shares must satisfy 0 <= low <= high <= 1, not {low}..{high}")
    batch, _, height, width = images.shape
    device = images.device
    ratio = low + (high - low) * torch.rand(batch, 1, 1, 1, generator=generator, device=device)
    masked = torch.rand(batch, 1, height, width, generator=generator, device=device) < ratio
    return images.masked_fill(masked, MASKED_PIXEL), masked


def blind_spots(images: Tensor, low: float, high: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Set random pixels of every image to one of their neighbours, up to 2 pixels away (Krull et al., CVPR 2019).

    Unlike `MASKED_PIXEL`, the value of a neighbour does not reveal which pixels are masked: a network that must
    restore them from their surroundings does so at every pixel, and needs no mask at inference.

    Args:
        images: [B, C, H, W] float; H and W at least 5.
        low, high: as in `mask_pixels`.
        generator: generator on the device of `images`.

    Returns:
        The masked images [B, C, H, W], and the mask [B, 1, H, W], bool, true where masked.
    """
    _, masked = mask_pixels(images, low, high, generator)
    batch, _, height, width = images.shape
    # One of the 24 neighbours in the 5 x 5 pixels around a pixel; the opposite one if it lies outside the image.
    number = torch.randint(24, (batch, height, width), generator=generator, device=images.device)
    number = number + (number >= 12)
    y = _reflected_index(torch.arange(height, device=images.device)[:, None], number // 5 - 2, height)
    x = _reflected_index(torch.arange(width, device=images.device)[None, :], number % 5 - 2, width)
    index = (y * width + x).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    neighbours = images.flatten(2).gather(2, index).view_as(images)
    return torch.where(masked, neighbours, images), masked


def _reflected_index(index: Tensor, step: Tensor, side: int) -> Tensor:
    moved = index + step
    return torch.where((moved < 0) | (moved >= side), index - step, moved)


class TokenMask(Protocol):
    """Mask of the tokens that enter a window attention."""

    def keep(self, block: int, shift: int, window: int, shape: tuple[int, int, int]) -> Tensor:
        """Return the mask of the tokens of one block.

        Args:
            block: index of the block in the whole network, from 0.
            shift: shift of the windows of the block, in tokens.
            window: side of a window, in tokens.
            shape: (B, H, W) of the tokens; H and W are multiples of `window`.

        Returns:
            [B or 1, H, W, 1] float32 on the CPU or the device of the tokens: 1 for kept tokens, 0 for masked ones.
        """
        ...


def kept_tokens(ratio: float, window: int) -> int:
    """Return the number of kept tokens of a window, which is the same for every window."""
    return max(1, round(window * window * (1.0 - ratio)))


@dataclass(frozen=True)
class RandomTokenMask:
    """New random masks at every call, for training; `ratio` is the share of masked tokens in each window."""

    ratio: float
    generator: torch.Generator

    def keep(self, block: int, shift: int, window: int, shape: tuple[int, int, int]) -> Tensor:
        """Return a random mask, independent of `block`; see `TokenMask.keep`."""
        batch, height, width = shape
        rows, cols = height // window + 1, width // window + 1
        score = torch.rand(batch, rows, cols, window**2, generator=self.generator, device=self.generator.device)
        chosen = score.topk(kept_tokens(self.ratio, window), dim=-1).indices
        keep = torch.zeros_like(score).scatter_(-1, chosen, 1.0)
        keep = keep.view(batch, rows, cols, window, window).transpose(2, 3)
        return keep.reshape(batch, rows * window, cols * window, 1)[:, shift : shift + height, shift : shift + width]


@dataclass(frozen=True)
class HashedTokenMask:
    """Reproducible masks for inference, which depend on the position of a token in the image but not on its tile.

    Attributes:
        ratio: share of masked tokens in each window.
        seed: seed of the job.
        number: number of the inference pass, from 0.
        origins: (row, column) of the top left pixel of each tile in the image, multiples of the window.
        scale: side of a token in pixels.
        device: device on which masks are computed.
    """

    ratio: float
    seed: int
    number: int
    origins: tuple[tuple[int, int], ...]
    scale: int = 1
    device: torch.device | str = "cpu"

    def keep(self, block: int, shift: int, window: int, shape: tuple[int, int, int]) -> Tensor:
        """Return the masks of all `origins`, either one or one for each image of the batch; see `TokenMask.keep`."""
        _, height, width = shape
        masks = [self._tile_mask(block, shift, window, origin, (height, width)) for origin in self.origins]
        return torch.stack(masks)[..., None].float()

    def _tile_mask(self, block: int, shift: int, window: int, origin: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Return the mask of one tile, [H, W] bool: windows of the shifted global grid, cropped to the tile."""
        height, width = size
        grid = window * self.scale
        if any(start % grid for start in origin):
            raise ValueError(f"tile origin {origin} is not on the grid of {grid}-pixel windows")
        rows = torch.arange(height // window + 1, device=self.device) + origin[0] // grid
        cols = torch.arange(width // window + 1, device=self.device) + origin[1] // grid
        keep = hashed_windows((self.seed, self.number, block), rows, cols, window, kept_tokens(self.ratio, window))
        windows = keep.view(len(rows), len(cols), window, window).transpose(1, 2)
        image = windows.reshape(len(rows) * window, len(cols) * window)
        return image[shift : shift + height, shift : shift + width]


def hashed_windows(counters: tuple[int, ...], rows: Tensor, cols: Tensor, window: int, kept: int) -> Tensor:
    """Return the tokens with the `kept` smallest hashes of each window, [rows, cols, window * window] bool.

    Args:
        counters: keys of the hash, each below 2^63.
        rows, cols: [n] int64, indices of the windows in the image.
        window: side of a window, in tokens.
        kept: number of kept tokens in each window.
    """
    hashes = token_hashes(hash_state(counters), rows, cols, torch.arange(window * window, device=rows.device))
    smallest = hashes.topk(kept, dim=-1, largest=False, sorted=False).indices
    return torch.zeros_like(hashes, dtype=torch.bool).scatter_(-1, smallest, True)


def hash_state(counters: tuple[int, ...]) -> Tensor:
    """Return the hash of counters, [] int64, on the CPU: sending a number to a GPU would synchronize."""
    state = torch.zeros((), dtype=torch.int64, device="cpu")
    for counter in counters:
        state = _mix(state, torch.tensor(counter, device="cpu"))
    return state


def token_hashes(state: Tensor, rows: Tensor, cols: Tensor, tokens: Tensor) -> Tensor:
    """Return the hashes of the tokens of windows, [..., rows, cols, tokens] int64.

    Args:
        state: [...], hashes of what else the masks depend on: see `hash_state`.
        rows, cols, tokens: [n] int64, indices of the windows in the image, and of the tokens in a window.
    """
    # A GPU combines its tensors with a CPU tensor of no dimension only, without synchronizing.
    per_row = _mix(state[..., None] if state.ndim else state, rows)
    per_window = _mix(per_row[..., None], cols)
    # The hashes are unsigned; flipping the sign bit makes the signed order equal to theirs.
    return _mix(per_window[..., None], tokens) ^ _SIGN_BIT


def _mix(state: Tensor, counter: Tensor) -> Tensor:
    """Return one step of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), keyed by a counter, in wrapping int64."""
    z = (state ^ counter) + _signed(0x9E3779B97F4A7C15)
    z = (z ^ _unsigned_shift(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _unsigned_shift(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _unsigned_shift(z, 31)


def _signed(bits: int) -> int:
    """Return 64 bits as a signed integer."""
    return bits - 2**64 if bits >= 2**63 else bits


def _unsigned_shift(z: Tensor, bits: int) -> Tensor:
    """Return a logical right shift, which fills with zeros."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
