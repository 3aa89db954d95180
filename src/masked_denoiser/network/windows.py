"""Which tokens lie in which window: tables of indices, made once for each shape.

Windows of a shifted block wrap around the image as in Liu et al., ICCV 2021, figure 4: those that the border of the
image cuts hold tokens of two or four sides, which must not see each other. They come last, so that all others need no
attention mask of that kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

#: Added to the logits of token pairs that a cut separates; exp(-100) is zero beside any real logit.
_CUT = -100.0

#: Tables of this many shapes and shifts are kept: the tiles of a job have few shapes.
_SHAPES = 8


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a block on images of one shape.

    Attributes:
        order: [N] int32: where each token of the windows, one window after the other, is among the N = B * H * W tokens
            of the images, row by row.
        back: [N] int32: the inverse of `order`.
        area: tokens of a window.
        cuts: how many windows are whole, which come first, then how many are cut as each row of `cut_logits` says.
    """

    order: Tensor
    back: Tensor
    area: int
    cuts: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of windows."""
        return len(self.order) // self.area


@lru_cache(maxsize=_SHAPES)
@torch.inference_mode(mode=False)  # tables that inference made serve training, too
def find_windows(shape: tuple[int, int, int], window: int, shift: int, device: torch.device) -> Windows:
    """The windows of images.

    Args:
        shape: (B, H, W) of the tokens; H and W are multiples of `window`.
        window: side of a window.
        shift: windows are cut `shift` tokens further down and right, and wrap around.
        device: where the tables go.
    """
    batch, height, width = shape
    rows, columns = height // window, width // window
    image = torch.arange(batch * height * width).view(batch, height, width).roll((-shift, -shift), dims=(1, 2))
    tokens = image.view(batch, rows, window, columns, window).transpose(2, 3).reshape(-1, window * window)
    last_row = torch.arange(rows)[:, None] == rows - 1
    last_column = torch.arange(columns)[None, :] == columns - 1
    kind = (last_row.long() + 2 * last_column.long()) * bool(shift)  # 0 whole, then as the rows of `cut_logits`
    kind = kind.expand(batch, rows, columns).flatten()
    order = tokens[kind.argsort(stable=True)].flatten()
    order, back = (table.int().to(device) for table in (order, torch.argsort(order)))
    cut = (batch * (columns - 1), batch * (rows - 1), batch) if shift else (0, 0, 0)
    return Windows(order, back, window * window, (batch * rows * columns - sum(cut), *cut))


@lru_cache(maxsize=_SHAPES)
@torch.inference_mode(mode=False)
def cut_logits(window: int, shift: int, device: torch.device) -> Tensor:
    """What keeps the sides of a cut window apart: [3, w*w, w*w] for the last row of windows, the last column, and both.

    Added to the logits of attention.
    """
    far = torch.arange(window) >= window - shift
    below = far[:, None].expand(window, window).flatten()
    right = far[None, :].expand(window, window).flatten()
    rows, columns = (side[:, None] != side[None, :] for side in (below, right))
    return torch.stack([rows, columns, rows | columns]).to(device, torch.float32) * _CUT


def permute(x: Tensor, order: Tensor, back: Tensor) -> Tensor:
    """Rows [N, C] in another order: row i becomes what row `order[i]` was; `back` is the inverse."""
    out: Tensor = _Permute.apply(x, order, back)  # type: ignore[no-untyped-call]
    return out


def pick(x: Tensor, rows: Tensor) -> Tensor:
    """The rows [K, C] of [N, C], none of them twice."""
    out: Tensor = _Pick.apply(x, rows)  # type: ignore[no-untyped-call]
    return out


class _Permute(torch.autograd.Function):
    """Rows in another order, whose gradient is a permutation, too, and not the slow sum of any selection."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, order: Tensor, back: Tensor) -> Tensor:
        """[N, C] -> [N, C]: row i is what row `order[i]` was."""
        ctx.save_for_backward(back)
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The gradient in the order of the input."""
        (back,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradients[0].index_select(0, back), None, None


class _Pick(torch.autograd.Function):
    """Some rows, none of them twice."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, rows: Tensor) -> Tensor:
        """[N, C], [K] -> [K, C]."""
        ctx.save_for_backward(rows)
        ctx.count = len(x)  # type: ignore[attr-defined]
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        """Zero for the rows that were left out."""
        (rows,) = ctx.saved_tensors  # type: ignore[attr-defined]
        (gradient,) = gradients
        whole = gradient.new_zeros(ctx.count, gradient.shape[1])  # type: ignore[attr-defined]
        return whole.index_copy_(0, rows, gradient), None
