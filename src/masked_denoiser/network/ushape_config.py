"""What a U-shaped denoiser is made of, as one frozen value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from masked_denoiser.errors import ConfigError
from masked_denoiser.network.config import MOST_BLOCKS, MOST_WIDTH, RGB_MEAN, SwinConfig, known_values, too_large

#: Limit of corrections, in standard deviations of the noise, that limits nothing.
_MOST_LIMIT = 100.0


@dataclass(frozen=True)
class UConfig:
    """A U of convolutions with masked window attention at its lowest level.

    Attributes:
        channels: image channels in and out, 1 (gray) or 3 (RGB).
        unshuffle: side of the squares of pixels that become one position with more channels first
            (Shi et al., CVPR 2016, the inverse of eq. 4), and are taken apart again last.
        widths: feature channels of each level, the finest first; each level halves height and width.
        blocks: residual blocks of each level on the way down, and again on the way up but for the lowest.
        attention: window-attention blocks at the lowest level.
        heads: attention heads; a divisor of the last width.
        window: side of an attention window, in positions of the lowest level; even.
        mlp_ratio: hidden width of an attention block's MLP over its width.
        mean: subtracted from each channel of what the layers see.
        noise_map: whether the network takes a map of the noise's standard deviation besides the image.
        limit: with a map, corrections are limited softly to so many standard deviations; 0 for no limit.
        attention_mask: share of tokens set to zero before every window attention; 0 at inference of
            models that were also trained without masks.
    """

    channels: int = 3
    unshuffle: int = 1
    widths: tuple[int, ...] = (24, 48, 96)
    blocks: tuple[int, ...] = (2, 2, 1)
    attention: int = 6
    heads: int = 6
    window: int = 8
    mlp_ratio: float = 2.0
    mean: tuple[float, ...] = RGB_MEAN
    noise_map: bool = False
    limit: float = 0.0
    attention_mask: float = 0.0

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ConfigError(f"this network cannot be built: {problem}")
        _ = self.bottom  # which checks what belongs to the attention

    def _problems(self) -> list[str]:
        checks = [
            (self.unshuffle in (1, 2, 4), f"unshuffle is {self.unshuffle}, not 1, 2 or 4"),
            (len(self.widths) == len(self.blocks) > 0, f"{len(self.widths)} widths but {len(self.blocks)} blocks"),
            (all(width > 0 for width in self.widths), f"widths {str(self.widths)[:80]} has a level without channels"),
            (all(count >= 0 for count in self.blocks), f"blocks {str(self.blocks)[:80]} has a negative number"),
            (0.0 <= self.limit <= _MOST_LIMIT, f"limit is {self.limit:g}, not 0 to {_MOST_LIMIT:g}"),
            (self.noise_map or not self.limit, "a limit of corrections needs a noise map"),
            (self.attention > 0, f"attention is {self.attention}; at least one block is needed"),
        ]
        limits = {
            "widths": (self.widths, MOST_WIDTH),
            "blocks": (self.blocks, MOST_BLOCKS),
            "attention": (self.attention, MOST_BLOCKS),
            "levels": (len(self.widths), 8),
        }
        return [text for fine, text in checks if not fine] + too_large(limits)

    @property
    def scale(self) -> int:
        """Pixels along a side of one token."""
        return self.unshuffle << (len(self.widths) - 1)

    @property
    def grid(self) -> int:
        """Heights, widths and tile origins are multiples of this many pixels."""
        return self.scale * self.window

    @property
    def bottom(self) -> SwinConfig:
        """The residual group of window attentions at the lowest level, as in the paper's network."""
        return SwinConfig(
            channels=self.channels,
            embed=self.widths[-1],
            depths=(self.attention,),
            heads=(self.heads,),
            window=self.window,
            mlp_ratio=self.mlp_ratio,
            mean=self.mean,
            attention_mask=self.attention_mask,
        )

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return {"kind": "u", **{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Inverse of `to_dict`.

        Raises:
            ConfigError: if a name is unknown or a value is impossible.
        """
        return cls(**known_values(cls, {key: v for key, v in values.items() if key != "kind"}))
