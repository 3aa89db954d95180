"""Configuration of networks of the masked Swin family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from masked_denoiser.errors import ConfigError

Residual = Literal["1conv", "3conv"]

#: Mean of SwinIR's training photographs (Liang et al., ICCVW 2021), which it subtracts from RGB input.
RGB_MEAN = (0.4488, 0.4371, 0.4040)

#: Upper limits of the settings, about ten times those of any network of this family.
MAX_WIDTH, MAX_BLOCKS, MAX_GROUPS = 4096, 64, 32


@dataclass(frozen=True)
class SwinConfig:
    """Swin denoiser; the defaults are the network of Chen et al., CVPR 2023 (masked training).

    The family includes the plain SwinIR denoisers: `first_kernel=3, body_skip=True, global_skip=True,
    attention_mask=0.0`.

    Attributes:
        channels: channels of input and output, 1 (gray) or 3 (RGB).
        embed: channels of a token.
        depths: window-attention blocks in each residual group.
        heads: attention heads in each residual group; each divides `embed`.
        window: side of an attention window in pixels; even, since every other block shifts by half.
        mlp_ratio: hidden width of a block's MLP over `embed`.
        first_kernel: side of the first convolution; 1 in the paper, so that masked pixels do not
            leak into their neighbours before the first attention.
        residual: convolution at the end of a group, one 3x3 or a bottleneck of three.
        body_skip: whether the output of the first convolution is added to that of the groups, as in SwinIR. The paper
            has no skip there, as masked and noisy pixels would bypass the groups.
        global_skip: whether the network predicts a correction of its input instead of the image.
        qkv_bias: whether queries, keys and values have a bias.
        mean: subtracted from each channel first and added back last.
        attention_mask: share of tokens set to zero before every window attention, in training and
            at inference (section 3.2 of the paper); 0 disables masking.
    """

    channels: int = 3
    embed: int = 60
    depths: tuple[int, ...] = (6, 6, 6, 6)
    heads: tuple[int, ...] = (6, 6, 6, 6)
    window: int = 8
    mlp_ratio: float = 2.0
    first_kernel: int = 1
    residual: Residual = "3conv"
    body_skip: bool = False
    global_skip: bool = False
    qkv_bias: bool = True
    mean: tuple[float, ...] = RGB_MEAN
    attention_mask: float = 0.75

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ConfigError(f"this network cannot be built: {problem}")

    def _problems(self) -> list[str]:
        limits = {
            "embed": (self.embed, MAX_WIDTH),
            "depths": (self.depths, MAX_BLOCKS),
            "window": (self.window, 32),
            "mlp_ratio": (self.mlp_ratio, 16),
            "mean": (self.mean, 1e6),
        }
        if oversized := limit_problems(limits):
            return oversized
        checks = [
            (len(self.depths) <= MAX_GROUPS, f"{len(self.depths)} groups are more than {MAX_GROUPS}"),
            (self.embed > 0, f"embed is {self.embed}, not positive"),
            (self.mlp_ratio > 0, f"mlp_ratio is {self.mlp_ratio}, not positive"),
            (self.channels in (1, 3), f"channels is {self.channels}, not 1 (gray) or 3 (RGB)"),
            (len(self.mean) == self.channels, f"mean has {len(self.mean)} values for {self.channels} channels"),
            (len(self.depths) == len(self.heads) > 0, f"{len(self.depths)} depths but {len(self.heads)} heads"),
            (all(depth > 0 for depth in self.depths), f"depths {str(self.depths)[:80]} has a group without blocks"),
            (
                all(count > 0 and self.embed % count == 0 for count in self.heads),
                f"embed {self.embed} is not a multiple of every number of heads in {str(self.heads)[:80]}",
            ),
            (self.window >= 2 and self.window % 2 == 0, f"window is {self.window}, not an even number"),
            (self.first_kernel in (1, 3), f"first_kernel is {self.first_kernel}, not 1 or 3"),
            (self.residual in ("1conv", "3conv"), f"residual is {self.residual!r:.80}, not '1conv' or '3conv'"),
            (self.residual == "1conv" or self.embed >= 4, f"a '3conv' residual needs embed >= 4, not {self.embed}"),
            (int(self.embed * self.mlp_ratio) > 0, f"mlp_ratio {self.mlp_ratio} leaves no hidden units"),
            (0.0 <= self.attention_mask < 1.0, f"attention_mask is {self.attention_mask}, not in [0, 1)"),
        ]
        return [text for valid, text in checks if not valid]

    @property
    def scale(self) -> int:
        """Side of a token in pixels."""
        return 1

    @property
    def grid(self) -> int:
        """Number of pixels of which heights, widths and tile origins must be multiples."""
        return self.window

    @property
    def blocks(self) -> int:
        """Number of window-attention blocks in the whole network."""
        return sum(self.depths)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON values."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the configuration of values from `to_dict`.

        Args:
            values: plain JSON values. Cards from before December 2026 lack `body_skip`, which their networks have.

        Raises:
            ConfigError: if a name is unknown or a value is invalid.
        """
        return cls(**checked_settings(cls, {"body_skip": True} | values))


def limit_problems(limits: Mapping[str, tuple[Any, float]]) -> list[str]:
    """Return descriptions of the settings above their limits, which prevent files from exhausting the memory.

    Args:
        limits: value or values of each setting, and the largest allowed magnitude, by name.
    """
    problems = []
    for name, (value, limit) in limits.items():
        values = value if isinstance(value, tuple) else (value,)
        if not all(abs(v) <= limit for v in values):
            problems.append(f"{name} is {str(value)[:80]}, over {limit:g}")
    return problems


def checked_settings(config: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return plain JSON values as arguments of a configuration.

    Raises:
        ConfigError: if a name is unknown, or a value has another type than the default.
    """
    defaults = {f.name: f.default for f in fields(config)}
    if unknown := sorted(set(values) - set(defaults)):
        raise ConfigError(f"unknown network settings {str(unknown)[:80]}; this version knows {sorted(defaults)}")
    settings = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    for key, value in settings.items():
        if not _has_type_of(value, defaults[key]):
            raise ConfigError(f"network setting {key} is {value!r:.80}; give a value such as {defaults[key]!r}")
    return settings


def _has_type_of(value: Any, default: Any) -> bool:
    if isinstance(default, tuple) and isinstance(value, tuple):
        return all(_has_type_of(v, default[0]) for v in value)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


PAPER = SwinConfig()
