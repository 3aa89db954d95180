"""A model as a function of one image of any size, in operations whose record is valid for every size.

`torch.jit.trace` and `torch.export` record what a network does to one image. `SwinBlock` cuts an image into windows by
tables that are computed for its shape, and the caller pads the image, so neither would be valid for another image.
Here windows are cut by views, positions are counted by tensors, which other devices get with the model, and padding
and attention mask are parts of the function.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from masked_denoiser.models.file import Model
from masked_denoiser.network.block import SwinBlock
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.masks import TokenMask, hash_state, kept_tokens, token_hashes
from masked_denoiser.network.swin import MaskedSwin, SwinGroup
from masked_denoiser.network.ushape import MaskedU
from masked_denoiser.network.windows import SEPARATED_LOGIT

#: Keys of the token masks: those of the first pass of a job with the default seed.
_SEED, _PASS = 0, 0


class TraceableDenoiser(nn.Module):
    """Denoiser of images of any size, padded and cropped inside.

    Tokens are masked as in the first pass of a job with the default seed, in an image whose origin is that of the tile.

    Args:
        model: whose network is rearranged; its weights are copied.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = cast("MaskedU | MaskedSwin", model.build())
        self.counter = _Counter()
        self.grid = self.network.config.grid
        for blocks in _blocks_of_groups(self.network):
            for index, block in enumerate(blocks):
                blocks[index] = _TraceableBlock(cast("SwinBlock", block), self.counter)
        swin = self.network.config.bottom if isinstance(self.network, MaskedU) else self.network.config
        self.masks = _HashedMasks(swin, self.counter) if swin.attention_mask else None

    def forward(self, image: Tensor, noise_std: Tensor | None = None) -> Tensor:
        """Denoise images.

        Args:
            image: [B, C, H, W] float32 in [0, 1], of any height and width.
            noise_std: for networks with a noise map: [B or 1, 1, H or 1, W or 1], standard deviation of the noise in
                the units of the image; 0 where it is not known, as everywhere if it is None. A map of another shape is
                an error of the runtime.

        Returns:
            [B, C, H, W], not clipped.
        """
        height, width = image.shape[2:]
        rows, columns = self._padded_index(height), self._padded_index(width)
        padded = image.index_select(2, rows).index_select(3, columns)
        scale = self.network.config.scale
        masks = None if self.masks is None else _CutMasks(self.masks(*(side // scale for side in padded.shape[2:])))
        if isinstance(self.network, MaskedSwin):
            out = self.network(padded, masks)
        else:
            noise = None if noise_std is None else self._noise_map(noise_std, image.shape, (rows, columns))
            out = self.network(padded, masks, noise, masked=False)
        return cast("Tensor", out[:, :, :height, :width])

    def with_noise_std(self, image: Tensor, noise_std: Tensor) -> Tensor:
        """Denoise images whose noise is known: another method, as TorchScript methods have a fixed number of inputs."""
        return self.forward(image, noise_std)

    def _padded_index(self, length: int) -> Tensor:
        """Return the index of the pixel at each position of a side that is padded by reflection to the grid."""
        index = self.counter((length + self.grid - 1) // self.grid * self.grid)
        period = (2 * self.counter(length)[-1]).clamp(min=1)
        index = index % period
        return torch.minimum(index, period - index)

    def _noise_map(self, noise_std: Tensor, shape: torch.Size, indices: tuple[Tensor, Tensor]) -> Tensor:
        """Return the noise map [B, 2, H, W] of the padded images, whose rows and columns have the given indices.

        A record has no conditions, so that a map of another shape is refused by an index that does not exist.
        """
        noise_std = noise_std.clamp(min=0)
        for dimension, index in ((0, self.counter(shape[0])), (2, indices[0]), (3, indices[1])):
            last = self.counter(noise_std.shape[dimension])[-1]
            excess = (last - self.counter(shape[dimension])[-1]).clamp(min=0)
            index = (index + excess * (last + 1)) * (last > 0)  # 0 for a side of one position, which is repeated
            noise_std = noise_std.index_select(dimension, index)
        return torch.cat([noise_std, (noise_std > 0).to(noise_std.dtype)], dim=1)


def example_image(channels: int, grid: int) -> Tensor:
    """Return images to record a model with, [2, C, H, W] float32: neither square nor on the grid of the network."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, channels, grid + 1, 2 * grid + 1, generator=generator, device="cpu", dtype=torch.float32)


class _Counter(nn.Module):
    """Counting without `arange`, whose record would name the device on which it was made."""

    one: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("one", torch.ones(1, dtype=torch.int64))

    def forward(self, length: int) -> Tensor:
        """Return 0, 1, ... [length] int64."""
        return self.one.expand(length).cumsum(0) - self.one


class _HashedMasks(nn.Module):
    """Token masks of all blocks for images at the origin, as `HashedTokenMask` makes them for each block."""

    states: Tensor

    def __init__(self, config: SwinConfig, counter: _Counter) -> None:
        super().__init__()
        self.window, self.kept = config.window, kept_tokens(config.attention_mask, config.window)
        states = [hash_state((_SEED, _PASS, block)) for block in range(config.blocks)]
        self.register_buffer("states", torch.stack(states))
        self.counter = counter

    def forward(self, height: int, width: int) -> Tensor:
        """Return the masks, [blocks, H + window, W + window, 1] float32, for H x W tokens."""
        rows, columns = height // self.window + 1, width // self.window + 1
        hashes = token_hashes(
            self.states, self.counter(rows), self.counter(columns), self.counter(self.window * self.window)
        )
        largest = hashes.topk(self.kept, dim=-1, largest=False).values[..., -1:]
        windows = (hashes <= largest).float().view(-1, rows, columns, self.window, self.window).transpose(2, 3)
        return windows.reshape(-1, rows * self.window, columns * self.window, 1)


class _CutMasks:
    """Token mask of each block, cut from the masks of all blocks; see `TokenMask`."""

    def __init__(self, masks: Tensor) -> None:
        self.masks = masks

    def keep(self, block: int, shift: int, window: int, shape: tuple[int, int, int]) -> Tensor:
        """Return the mask of one block, [1, H, W, 1]; see `TokenMask.keep`."""
        _, height, width = shape
        return self.masks[block : block + 1, shift : shift + height, shift : shift + width]


class _TraceableBlock(nn.Module):
    """The same computation as a `SwinBlock`, whose windows are cut by views of a rolled image."""

    def __init__(self, block: SwinBlock, counter: _Counter) -> None:
        super().__init__()
        self.block, self.counter = block, counter

    def forward(self, x: Tensor, tokens: TokenMask | None, inplace: bool = False) -> Tensor:
        """Transform tokens, [B, H, W, embed] -> [B, H, W, embed]; see `SwinBlock.forward`."""
        block, (batch, height, width, _) = self.block, x.shape
        normalized = block.norm1(x)
        if tokens is not None:
            normalized = normalized * tokens.keep(block.index, block.shift, block.window, (batch, height, width))
        shifts = (-block.shift, -block.shift)
        windows = _cut(normalized.roll(shifts, (1, 2)) if block.shift else normalized, block.window)
        attended = _join(self._attend(windows), (batch, height, width), block.window)
        x = x + (attended.roll((block.shift, block.shift), (1, 2)) if block.shift else attended)
        return x + cast("Tensor", block.mlp(block.norm2(x)))

    def _attend(self, windows: Tensor) -> Tensor:
        """Return the attention within windows, [B, rows, columns, w*w, embed] -> the same."""
        attention, (batch, rows, columns, area, embed) = self.block.attn, windows.shape
        heads = attention.heads
        qkv = attention.qkv(windows).view(batch, rows * columns, area, 3, heads, embed // heads)
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
        logits = (q * attention.scale) @ k.transpose(-1, -2) + attention.bias()
        if self.block.shift:
            logits = logits + self._wrap_mask(rows, columns)
        out = logits.softmax(dim=-1) @ v
        return cast("Tensor", attention.proj(out.transpose(2, 3).reshape(batch, rows, columns, area, embed)))

    def _wrap_mask(self, rows: int, columns: int) -> Tensor:
        """Return what separates the sides of windows that wrap around the image, [rows * columns, 1, w*w, w*w]."""
        window, shift = self.block.window, self.block.shift
        y, x = (self.counter(count * window) >= count * window - shift for count in (rows, columns))
        side = (2 * y[:, None].float() + x[None, :].float())[None, :, :, None]
        tokens = _cut(side, window).view(rows * columns, 1, window * window)
        return (tokens[..., :, None] != tokens[..., None, :]).float() * SEPARATED_LOGIT


def _cut(image: Tensor, window: int) -> Tensor:
    """Return the windows of tokens: [B, H, W, C] -> [B, rows, columns, w*w, C]."""
    batch, height, width, channels = image.shape
    rows, columns = height // window, width // window
    windows = image.view(batch, rows, window, columns, window, channels).transpose(2, 3)
    return windows.reshape(batch, rows, columns, window * window, channels)


def _join(windows: Tensor, shape: tuple[int, int, int], window: int) -> Tensor:
    """Return the tokens of windows: the inverse of `_cut`, for (B, H, W)."""
    _, rows, columns, _, channels = windows.shape
    image = windows.view(-1, rows, columns, window, window, channels).transpose(2, 3)
    return image.reshape(*shape, channels)


def _blocks_of_groups(network: MaskedU | MaskedSwin) -> list[nn.ModuleList]:
    groups = [network.attention] if isinstance(network, MaskedU) else [cast("SwinGroup", g) for g in network.layers]
    return [group.residual_group.blocks for group in groups]
