"""Configuration of U-shaped denoisers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from masked_denoiser.errors import ConfigError
from masked_denoiser.network.config import MAX_BLOCKS, MAX_WIDTH, RGB_MEAN, SwinConfig, checked_settings, limit_problems

#: Largest limit of corrections, in standard deviations of the noise, which has practically no effect.
_MAX_LIMIT = 100.0


@dataclass(frozen=True)
class UConfig:
    """U-shaped network of convolutions with masked window attention at its lowest level.

    Attributes:
        channels: channels of input and output, 1 (gray) or 3 (RGB).
        unshuffle: factor of the pixel unshuffle at the input and the pixel shuffle at the output (Shi et al., CVPR
            2016, eq. 4).
        widths: feature channels of each level, finest first; each level halves height and width.
        blocks: residual blocks of each level in the encoder, and again in the decoder except at the lowest level.
        attention: window-attention blocks at the lowest level.
        heads: attention heads, a divisor of the last width.
        window: side of an attention window, in positions of the lowest level; even.
        mlp_ratio: hidden width of an attention block's MLP over its width.
        mean: subtracted from each channel of the input of the layers.
        noise_map: whether the network also takes a map of the standard deviation of the noise.
        limit: soft limit of corrections in standard deviations of the noise map; 0 for no limit.
        attention_mask: share of tokens set to zero before every window attention; 0 for inference with
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
        _ = self.bottom  # validates the settings of the attention

    def _problems(self) -> list[str]:
        checks = [
            (self.unshuffle in (1, 2, 4), f"unshuffle is {self.unshuffle}, not 1, 2 or 4"),
            (len(self.widths) == len(self.blocks) > 0, f"{len(self.widths)} widths but {len(self.blocks)} blocks"),
            (all(width > 0 for width in self.widths), f"widths {str(self.widths)[:80]} has a level without channels"),
            (all(count >= 0 for count in self.blocks), f"blocks {str(self.blocks)[:80]} has a negative number"),
            (0.0 <= self.limit <= _MAX_LIMIT, f"limit is {self.limit:g}, not 0 to {_MAX_LIMIT:g}"),
            (self.noise_map or not self.limit, "a limit of corrections needs a noise map"),
            (self.attention > 0, f"attention is {self.attention}; at least one block is needed"),
        ]
        limits = {
            "widths": (self.widths, MAX_WIDTH),
            "blocks": (self.blocks, MAX_BLOCKS),
            "attention": (self.attention, MAX_BLOCKS),
            "levels": (len(self.widths), 8),
        }
        return [text for valid, text in checks if not valid] + limit_problems(limits)

    @property
    def scale(self) -> int:
        """Side of a token in pixels."""
        return self.unshuffle << (len(self.widths) - 1)

    @property
    def grid(self) -> int:
        """Number of pixels of which heights, widths and tile origins must be multiples."""
        return self.scale * self.window

    @property
    def bottom(self) -> SwinConfig:
        """Configuration of the group of window attentions at the lowest level, as in the paper's network."""
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
        """Return the configuration as plain JSON values."""
        return {"kind": "u", **{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the configuration of values from `to_dict`.

        Raises:
            ConfigError: if a name is unknown or a value is invalid.
        """
        return cls(**checked_settings(cls, {key: v for key, v in values.items() if key != "kind"}))
