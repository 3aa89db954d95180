"""Window attention with relative position bias (Liu et al., ICCV 2021, eq. 4), shifted windows included.

Tokens stay an image [B, H, W, C] throughout. Windows are attended to in runs of whole rows of
windows, small enough for the attention matrices of a run to stay in the processor's cache.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Windows attended to at once: 64 windows of 6 heads are 6 MB of float32 attention.
_RUN = 64

#: Added to the logits of token pairs that a cut separates; exp(-100) is zero beside any real logit.
_CUT = -100.0


class WindowAttention(nn.Module):
    """Multi-head self-attention inside non-overlapping windows.

    Args:
        embed: width C of a token.
        heads: number of heads.
        window: side of a window.
        bias: whether queries, keys and values have a bias.
    """

    relative_position_index: Tensor

    def __init__(self, embed: int, heads: int, window: int, bias: bool = True) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv = nn.Linear(embed, 3 * embed, bias=bias)
        self.proj = nn.Linear(embed, embed)
        self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, shift: int) -> Tensor:
        """Attends within windows.

        Args:
            x: [B, H, W, C]; H and W multiples of the window.
            shift: windows are cut `shift` pixels further up and left, and at the borders of `x`.

        Returns:
            [B, H, W, C].
        """
        if shift:
            x = x.roll((-shift, -shift), dims=(1, 2))
        out = self._attend(self._split(self.qkv(x)), self._bias(), shift)
        if shift:
            out = out.roll((shift, shift), dims=(1, 2))
        projected: Tensor = self.proj(out)
        return projected

    def _bias(self) -> Tensor:
        """The relative position bias of every pair of tokens, [heads, w*w, w*w]."""
        pairs = self.relative_position_bias_table[self.relative_position_index.flatten()]
        return pairs.view(self.window**2, self.window**2, self.heads).permute(2, 0, 1).contiguous()

    def _split(self, qkv: Tensor) -> Tensor:
        """[B, H, W, 3C] -> [3, B, rows, cols, heads, w*w, C/heads], queries scaled; a view until a run is cut."""
        b, h, w, c3 = qkv.shape
        side, head = self.window, c3 // 3 // self.heads
        cut = qkv.view(b, h // side, side, w // side, side, 3, self.heads, head)
        return cut.permute(5, 0, 1, 3, 6, 2, 4, 7)

    def _attend(self, qkv: Tensor, bias: Tensor, shift: int) -> Tensor:
        """[3, B, rows, cols, heads, w, w, head] -> [B, H, W, C], in runs of whole rows of windows."""
        _, batch, rows, cols, heads, side, _, head = qkv.shape
        step = max(1, _RUN // cols)
        cuts = cut_logits(side, shift, bias) if shift else None
        images = []
        for b in range(batch):
            runs = []
            for start in range(0, rows, step):
                part = qkv[:, b, start : start + step]
                last = start + step >= rows
                runs.append(self._attend_run(part, bias, cuts, last))
            images.append(runs[0] if len(runs) == 1 else torch.cat(runs))
        return torch.stack(images).view(batch, rows * side, cols * side, heads * head)

    def _attend_run(self, qkv: Tensor, bias: Tensor, cuts: tuple[Tensor, Tensor] | None, last_rows: bool) -> Tensor:
        """[3, rows, cols, heads, w, w, head] -> [rows * w, cols * w, heads * head]."""
        _, rows, cols, heads, side, _, head = qkv.shape
        q, k, v = qkv.reshape(3, rows, cols, heads, side * side, head).unbind(0)
        logits = (q * head**-0.5) @ k.transpose(-2, -1) + bias
        if cuts is not None:
            logits[:, -1] += cuts[1]
            if last_rows:
                logits[-1] += cuts[0]
        out: Tensor = logits.softmax(dim=-1).to(v.dtype) @ v
        image = out.view(rows, cols, heads, side, side, head).permute(0, 3, 1, 4, 2, 5)
        return image.reshape(rows * side, cols * side, heads * head)


def relative_position_index(window: int) -> Tensor:
    """Which row of the bias table serves tokens (i, j) of a window: [w*w, w*w] int64."""
    steps = torch.arange(window)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="ij")).flatten(1)
    offset = grid[:, :, None] - grid[:, None, :] + window - 1
    return offset[0] * (2 * window - 1) + offset[1]


def cut_logits(window: int, shift: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """What keeps the two sides of the image apart in the wrapped windows of a shifted block.

    Returns:
        Addends [w*w, w*w] for the last row of windows and for the last column of windows.
    """
    far = torch.arange(window, device=like.device) >= window - shift
    rows = far[:, None].expand(window, window).flatten()
    cols = far[None, :].expand(window, window).flatten()
    return tuple((side[:, None] != side[None, :]).to(like.dtype) * _CUT for side in (rows, cols))  # type: ignore[return-value]
