"""A training recipe: every number that decides how a network learns, as one frozen value with a JSON text."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from masked_denoiser.errors import TrainingError
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.plain_json import parse_json

Way = Literal["clean", "noisy", "pairs"]
Loss = Literal["l1", "mse", "charbonnier"]
Keep = Literal["last", "best"]
Fill = Literal["constant", "neighbour"]

#: Share of a "one-cycle" schedule in which the learning rate rises.
_RISE = 0.05


@dataclass(frozen=True)
class TrainingRecipe:
    """How to train. The defaults are those of Chen et al., CVPR 2023; `PRESETS` holds named recipes.

    Attributes:
        way: "clean": the images are the truth and `noise` is added; "noisy": the images are noisy, there is no truth,
            and masked pixels are blind spots (Noise2Self, Batson and Royer, ICML 2019); "pairs": noisy and clean
            images.
        noise: a noise recipe, for the way "clean".
        unseen: noise recipes that are never trained; validation tells how far the network generalises to them.
        gray: share of the patches that are made gray, and their noise the same in all channels: a network that never
            saw such noise takes it for structure. For the way "clean".
        downscaled: share of the patches that are downscaled, by 0.5 to 1. For the way "clean", as are the next two.
        contrast: share of the patches whose contrast and brightness are changed.
        microscope: share of the patches that are not of the images but synthetic, as microscopes see them.
        pixel_mask: range from which each masked patch draws its share of masked pixels.
        masked_patches: share of the patches that are masked at all; 0 switches the input mask off.
        pixel_fill: what masked pixels become: "constant", the paper's -0.1, or a random "neighbour"
            (Noise2Void, Krull et al., CVPR 2019), which a network cannot tell from other pixels.
        attention_mask: range from which each step draws the share of masked tokens. At inference it is the middle of
            the range; with a lower end of 0 attention is not masked at inference.
        masked_steps: share of the steps in which attention is masked at all; below 1 attention is not masked at
            inference.
        mask_rise: share of the training over which both masks grow from nothing to what they are; 0 for none.
        loss: "l1", "mse" or "charbonnier"; in the way "noisy" over masked pixels only.
        optimiser: "adam" or "adamw".
        rate: learning rate, at its peak.
        schedule: "constant", "cosine" (to nearly zero), or "one-cycle" (a linear rise over 5 % first).
        weight_decay: of AdamW.
        clip: largest norm of the gradient; 0 does not clip.
        ema: decay of the exponential moving average of the weights, which is what is kept; 0 for none.
        batch: patches a step.
        micro_batch: patches at once on a device, gradients are accumulated; 0 decides by device.
        patch: side of a patch in pixels.
        steps: length of the training.
        minutes: length of the training by the clock, whatever the machine does in it; 0 goes by `steps`.
        precision: "float32", or "bfloat16" for the network's matrix products (torch autocast).
        seed: of everything that is random.
        validate_every: steps between two validations; 0 for none but at the beginning and the end.
        save_every: steps between two checkpoints; 0 for one every minute.
        patience: validations without a better one, after which training stops; 0 goes on to the end.
        keep: which weights are kept: the "last" (their average), as the paper does, or those of the "best" validation.
            A long schedule ends in its best weights, and a few validation patches do not see that.
    """

    way: Way = "clean"
    noise: str = "gaussian(sigma=15)"
    unseen: tuple[str, ...] = ("poisson(alpha=3)", "speckle(variance=0.04)", "salt_and_pepper(density=0.02)")
    gray: float = 0.0
    downscaled: float = 0.0
    contrast: float = 0.0
    microscope: float = 0.0
    pixel_mask: tuple[float, float] = (0.8, 0.9)
    masked_patches: float = 1.0
    pixel_fill: Fill = "constant"
    attention_mask: tuple[float, float] = (0.75, 0.75)
    masked_steps: float = 1.0
    mask_rise: float = 0.0
    loss: Loss = "l1"
    optimiser: Literal["adam", "adamw"] = "adam"
    rate: float = 1e-4
    schedule: Literal["constant", "cosine", "one-cycle"] = "constant"
    weight_decay: float = 0.0
    clip: float = 0.0
    ema: float = 0.999
    batch: int = 64
    micro_batch: int = 0
    patch: int = 64
    steps: int = 200_000
    minutes: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    validate_every: int = 1000
    save_every: int = 0
    patience: int = 0
    keep: Keep = "last"

    def __post_init__(self) -> None:
        for text in (self.noise, *self.unseen):
            parse_noise(text)
        for problem in self._problems():
            raise TrainingError(f"this training cannot be done: {problem}")

    def _problems(self) -> list[str]:
        problems = [_not_one_of(name, getattr(self, name), allowed) for name, allowed in _CHOICES.items()]
        problems += [_outside(name, getattr(self, name), *limits) for name, limits in _LIMITS.items()]
        for name in ("pixel_mask", "attention_mask"):
            low, high = getattr(self, name)
            if not 0.0 <= low <= high < 1.0:
                problems.append(f"{name} is {low:g}..{high:g}; give shares with 0 <= low <= high < 1")
        if self.way == "noisy" and not (self.masked_patches and self.pixel_mask[1]):
            problems.append("without truth the input mask is what is learned from; switch it on")
        return [problem for problem in problems if problem]

    @property
    def inference_mask(self) -> float:
        """The share of tokens that the trained model masks at inference."""
        low, high = self.attention_mask
        return (low + high) / 2 if low and self.masked_steps == 1.0 else 0.0

    def rate_at(self, share: float) -> float:
        """Return the learning rate when this share of the training is done, 0 to 1."""
        if self.schedule == "constant":
            return self.rate
        rise = _RISE if self.schedule == "one-cycle" else 0.0
        if share < rise:
            return self.rate * share / rise
        done = (share - rise) / (1 - rise)
        return self.rate * (1e-3 + (1 - 1e-3) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

    def to_json(self) -> str:
        """One line of JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of `to_json`; values that are left out are those of the paper.

        Raises:
            TrainingError: if the text is not JSON, names something unknown, or a value is not allowed.
        """
        try:
            values = parse_json(text)
        except ValueError as error:
            raise TrainingError(f"the training recipe is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise TrainingError("the training recipe is no JSON object; write it as {...}")
        return cls(**checked_values(values))


def checked_values(values: dict[str, Any]) -> dict[str, Any]:
    """Values for fields of `TrainingRecipe`, as plain JSON, in the types of the fields.

    Raises:
        TrainingError: for an unknown name or a value of another type.
    """
    defaults = {f.name: f.default for f in fields(TrainingRecipe)}
    unknown = sorted(set(values) - set(defaults))
    if unknown:
        raise TrainingError(f"a training recipe knows no {unknown[0]!r:.60}; it knows {', '.join(defaults)}")
    return {name: _as_type_of(name, value, defaults[name]) for name, value in values.items()}


def _as_type_of(name: str, value: Any, like: Any) -> Any:
    """JSON knows neither tuples nor the difference between 1 and 1.0."""
    wanted = type(like)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is tuple and isinstance(value, list | tuple) and (name == "unseen" or len(value) == len(like)):
        return tuple(_as_type_of(name, v, like[0]) for v in value)
    if type(value) is not wanted:
        raise TrainingError(f"{name} of a training recipe is {value!r:.60}; a value such as {like!r} is wanted")
    return value


def _not_one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    return "" if value in allowed else f"{name} is {value!r:.60}; choose {', '.join(allowed)}"


def _outside(name: str, value: float, low: float, high: float) -> str:
    return "" if low <= value <= high else f"{name} is {value:g}; choose {low:g} to {high:g}"


_CHOICES = {
    "way": ("clean", "noisy", "pairs"),
    "pixel_fill": ("constant", "neighbour"),
    "loss": ("l1", "mse", "charbonnier"),
    "optimiser": ("adam", "adamw"),
    "schedule": ("constant", "cosine", "one-cycle"),
    "precision": ("float32", "bfloat16"),
    "keep": ("last", "best"),
}

_LIMITS = {
    "gray": (0.0, 1.0),
    "masked_patches": (0.0, 1.0),
    "masked_steps": (0.0, 1.0),
    "downscaled": (0.0, 1.0),
    "contrast": (0.0, 1.0),
    "microscope": (0.0, 1.0),
    "mask_rise": (0.0, 1.0),
    "minutes": (0.0, 1e6),
    "rate": (1e-9, 1.0),
    "weight_decay": (0.0, 10.0),
    "clip": (0.0, 1e6),
    "ema": (0.0, 0.999999),
    "batch": (1, 65536),
    "micro_batch": (0, 65536),
    "patch": (16, 1024),
    "steps": (1, 10**9),
    "seed": (0, 2**63 - 1),
    "validate_every": (0, 10**9),
    "save_every": (0, 10**9),
    "patience": (0, 10**6),
}

#: What the paper states, and nothing else.
PAPER_RECIPE = TrainingRecipe()

#: From a trained model to one for the user's own images, in minutes to hours.
FINE_TUNE = TrainingRecipe(
    masked_patches=0.25,
    rate=2e-4,
    schedule="one-cycle",
    clip=1.0,
    ema=0.99,
    batch=8,
    steps=500,
    validate_every=50,
    keep="best",
)

#: For one model that serves all: many noises of any strength and none, masks in a part of the patches and steps only,
#: so that it denoises in one pass without masks. Nothing is masked at inference, so few patches are.
GENERAL = TrainingRecipe(
    noise=(
        "one_of("
        "gaussian(sigma=0..55), "
        "gaussian(sigma=0..55), "
        "gaussian(sigma=0..25), "
        "poisson(alpha=0.3..4), "
        "poisson_gaussian(gain=0.2..12, read=0..4), "
        "poisson_gaussian(gain=8..32, read=0..3), "
        "speckle(variance=0..0.06), "
        "correlated(sigma=5..75), "
        "blurred(sigma=1..30, gain=0..6, width=0.3..1.5), "
        "blurred(sigma=1..40, width=0.3..1.5), "
        "blurred(sigma=3..25, width=0.3..1.5) + gaussian(sigma=0..10), "
        "bayer(sigma=1..30, gain=0..6), "
        "gaussian(sigma=0..25) + jpeg(quality=60..95), "
        "rician(sigma=1..25), "
        "gaussian(sigma=0..10) + stripes(sigma=1..10, vertical=0..1), "
        "gaussian(sigma=0..10) + salt_and_pepper(density=0.002..0.04), "
        "poisson(alpha=0.3..2) + salt_and_pepper(density=0..0.02), "
        "mixture(level=0.3..4), "
        "none, "
        "none)"
    ),
    unseen=(),
    gray=0.1,
    downscaled=0.25,
    contrast=0.2,
    microscope=0.15,
    pixel_mask=(0.1, 0.9),
    masked_patches=0.05,
    attention_mask=(0.0, 0.75),
    masked_steps=0.05,
    optimiser="adamw",
    rate=4e-4,
    schedule="one-cycle",
    clip=0.5,
    batch=16,
    patch=128,
    steps=20_000,
    precision="bfloat16",
)

PRESETS = {"paper": PAPER_RECIPE, "general": GENERAL, "fine-tune": FINE_TUNE}

#: What differs where there is no truth: few blind spots, which the network cannot recognise, and their mean.
WITHOUT_TRUTH: dict[str, Any] = {
    "pixel_mask": (0.05, 0.05),
    "masked_patches": 1.0,
    "pixel_fill": "neighbour",
    "loss": "mse",
}
