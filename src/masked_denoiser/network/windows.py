"""Index tables of the tokens in each window, cached by shape.

Windows of a shifted block wrap around the image as in Liu et al., ICCV 2021, figure 4: those at the border contain
tokens of two or four sides of the image, which must not attend to each other. They come last, so that all other
windows need no attention mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

#: Added to the logits of token pairs from different sides of the image; exp(-100) is negligible.
SEPARATED_LOGIT = -100.0

#: Number of shapes and shifts whose tables are cached; the tiles of a job have few shapes.
_CACHE_SIZE = 8


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of a block on images of one shape.

    Attributes:
        order: [N] int32, the tokens window by window, as indices of the N = B * H * W tokens of the images in row-major
            order.
        inverse: [N] int32, the inverse permutation of `order`.
        area: tokens in a window.
        kind_counts: number of windows that do not wrap, then of those that wrap as in each row of `wrap_masks`.
    """

    order: Tensor
    inverse: Tensor
    area: int
    kind_counts: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.order) // self.area


@lru_cache(maxsize=_CACHE_SIZE)
@torch.inference_mode(mode=False)  # tables made during inference must be usable in training
def make_windows(shape: tuple[int, int, int], window: int, shift: int, device: torch.device) -> Windows:
    """Return the windows of images.

    Args:
        shape: (B, H, W) of the tokens; H and W are multiples of `window`.
        window: side of a window, in tokens.
        shift: shift of the windows down and right, in tokens; they wrap around.
        device: device of the tables.
    """
    batch, height, width = shape
    rows, columns = height // window, width // window
    image = (
        torch.arange(batch * height * width, device="cpu")
        .view(batch, height, width)
        .roll((-shift, -shift), dims=(1, 2))
    )
    tokens = image.view(batch, rows, window, columns, window).transpose(2, 3).reshape(-1, window * window)
    last_row = torch.arange(rows, device="cpu")[:, None] == rows - 1
    last_column = torch.arange(columns, device="cpu")[None, :] == columns - 1
    kind = (last_row.long() + 2 * last_column.long()) * bool(shift)  # 0 does not wrap, then as the rows of `wrap_masks`
    kind = kind.expand(batch, rows, columns).flatten()
    order = tokens[kind.argsort(stable=True)].flatten()
    order, inverse = (table.int().to(device) for table in (order, torch.argsort(order)))
    wrapped = (batch * (columns - 1), batch * (rows - 1), batch) if shift else (0, 0, 0)
    return Windows(order, inverse, window * window, (batch * rows * columns - sum(wrapped), *wrapped))


@lru_cache(maxsize=_CACHE_SIZE)
@torch.inference_mode(mode=False)
def wrap_masks(window: int, shift: int, device: torch.device) -> Tensor:
    """Return the attention masks of windows that wrap, [3, w*w, w*w]: of the last row, the last column, and both.

    They are added to the logits.
    """
    wraps = torch.arange(window, device="cpu") >= window - shift
    below = wraps[:, None].expand(window, window).flatten()
    right = wraps[None, :].expand(window, window).flatten()
    rows, columns = (side[:, None] != side[None, :] for side in (below, right))
    return torch.stack([rows, columns, rows | columns]).to(device, torch.float32) * SEPARATED_LOGIT


def permute_rows(x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """Return rows [N, C] in the order given by a permutation and its inverse: row i is the former row `order[i]`."""
    out: Tensor = _PermuteRows.apply(x, order, inverse)  # type: ignore[no-untyped-call]
    return out


def select_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Return some rows [K, C] of [N, C], each at most once."""
    out: Tensor = _SelectRows.apply(x, rows)  # type: ignore[no-untyped-call]
    return out


class _PermuteRows(torch.autograd.Function):
    """Permutation of rows whose gradient is a permutation, too, instead of the slow sum of a general selection."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        """Return the permuted rows, [N, C] -> [N, C]."""
        ctx.save_for_backward(inverse)
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient in the order of the input."""
        (inverse,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradients[0].index_select(0, inverse), None, None


class _SelectRows(torch.autograd.Function):
    """Selection of rows without repetition."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, rows: Tensor) -> Tensor:
        """Return the selected rows, [N, C], [K] -> [K, C]."""
        ctx.save_for_backward(rows)
        ctx.count = len(x)  # type: ignore[attr-defined]
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the input, which is zero for rows that were not selected."""
        (rows,) = ctx.saved_tensors  # type: ignore[attr-defined]
        (gradient,) = gradients
        whole = gradient.new_zeros(ctx.count, gradient.shape[1])  # type: ignore[attr-defined]
        return whole.index_copy_(0, rows, gradient), None
