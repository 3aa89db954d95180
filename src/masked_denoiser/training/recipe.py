"""Training recipe: all settings of a training in one frozen value, with conversion from and to JSON."""

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

#: Share of the "one-cycle" schedule in which the learning rate rises.
_RISE_SHARE = 0.05


@dataclass(frozen=True)
class TrainingRecipe:
    """Settings of a training. The defaults are those of Chen et al., CVPR 2023; `PRESETS` has named recipes.

    Attributes:
        way: "clean": the images are clean and `noise` is added; "noisy": there are only noisy images, and masked
            pixels are blind spots (Noise2Self, Batson and Royer, ICML 2019); "pairs": pairs of noisy and clean images.
        noise: noise recipe, for `way` "clean".
        unseen: noise recipes that are never trained; validation measures how well the network generalises to them.
        gray: share of the patches that are made gray, with the same noise in all channels, which a network that was
            not trained with it mistakes for structure; for `way` "clean".
        downscaled: share of the patches that are downscaled, by 0.5 to 1; for `way` "clean".
        contrast: share of the patches whose contrast and brightness are changed; for `way` "clean".
        microscope: share of the patches that are synthetic microscope images; for `way` "clean".
        stretch: whether the network sees patches with the contrast that it sees when it denoises them, which follows
            the bulk of their image; otherwise in the units of the noise recipe, where 255 is white in 8-bit images.
        pixel_mask: range of the share of masked pixels, which is drawn for each masked patch.
        masked_patches: share of the patches that have masked pixels; 0 disables the input mask.
        pixel_fill: value of masked pixels: "constant", the paper's -0.1, or a random "neighbour"
            (Noise2Void, Krull et al., CVPR 2019), which a network cannot tell from other pixels.
        attention_mask: range of the share of masked tokens, which is drawn for each step. At inference it is the middle
            of the range; with a lower end of 0 attention is not masked at inference.
        masked_steps: share of the steps in which attention is masked; below 1 attention is not masked at inference.
        mask_rise: share of the training over which both masks grow linearly from zero; 0 for full masks from the start.
        loss: "l1", "mse" or "charbonnier"; with `way` "noisy" over masked pixels only.
        optimiser: "adam" or "adamw".
        rate: peak learning rate.
        schedule: "constant", "cosine" (to nearly zero), or "one-cycle" (cosine after a linear rise over 5 %).
        weight_decay: weight decay of the optimiser.
        clip: largest norm of the gradient; 0 disables clipping.
        ema: decay of the exponential moving average of the weights, which the trained model consists of; 0 for none.
        batch: patches per step.
        micro_batch: patches per forward pass, with accumulated gradients; 0 chooses by device.
        patch: side of a patch in pixels.
        steps: length of the training in steps.
        minutes: length of the training in minutes of wall-clock time; 0 for a length of `steps`.
        precision: "float32", or "bfloat16" for the network's matrix products (torch autocast).
        seed: seed of all random numbers.
        validate_every: steps between two validations; 0 validates at the beginning and the end only.
        save_every: steps between two checkpoints; 0 for one every minute.
        patience: validations without improvement after which training stops; 0 never stops early.
        keep: weights that are kept: the "last" (their average), as in the paper, or those of the "best" validation. A
            long schedule ends in its best weights, which a few validation patches do not show.
    """

    way: Way = "clean"
    noise: str = "gaussian(sigma=15)"
    unseen: tuple[str, ...] = ("poisson(alpha=3)", "speckle(variance=0.04)", "salt_and_pepper(density=0.02)")
    gray: float = 0.0
    downscaled: float = 0.0
    contrast: float = 0.0
    microscope: float = 0.0
    stretch: bool = False
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
            raise TrainingError(f"invalid training recipe: {problem}")

    def _problems(self) -> list[str]:
        problems = [_choice_problem(name, getattr(self, name), allowed) for name, allowed in _CHOICES.items()]
        problems += [_limit_problem(name, getattr(self, name), *limits) for name, limits in LIMITS.items()]
        for name in ("pixel_mask", "attention_mask"):
            low, high = getattr(self, name)
            if not 0.0 <= low <= high < 1.0:
                problems.append(f"{name} is {low:g}..{high:g}; give shares with 0 <= low <= high < 1")
        if self.way == "noisy" and not (self.masked_patches and self.pixel_mask[1]):
            problems.append('way "noisy" trains on masked pixels only; set masked_patches and pixel_mask above 0')
        if self.stretch and self.microscope:
            problems.append("stretch follows the images, which synthetic ones have no part in; set microscope to 0")
        return [problem for problem in problems if problem]

    @property
    def inference_mask(self) -> float:
        """Share of tokens that the trained model masks at inference."""
        low, high = self.attention_mask
        return (low + high) / 2 if low and self.masked_steps == 1.0 else 0.0

    @property
    def downscaled_share(self) -> float:
        """Share of the patches that are downscaled: none of noisy images, whose noise would be averaged."""
        return self.downscaled if self.way == "clean" else 0.0

    def rate_at(self, progress: float) -> float:
        """Return the learning rate at a completed share of the training, 0 to 1."""
        if self.schedule == "constant":
            return self.rate
        rise = _RISE_SHARE if self.schedule == "one-cycle" else 0.0
        if progress < rise:
            return self.rate * progress / rise
        decay_progress = (progress - rise) / (1 - rise)
        return self.rate * (1e-3 + (1 - 1e-3) * 0.5 * (1 + math.cos(math.pi * min(1.0, decay_progress))))

    def to_json(self) -> str:
        """Return the recipe as one line of JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the recipe of a JSON text; omitted fields have the paper's values.

        Raises:
            TrainingError: if the text is not JSON, a field is unknown, or a value is invalid.
        """
        try:
            values = parse_json(text)
        except ValueError as error:
            raise TrainingError(f"the training recipe is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise TrainingError("the training recipe is not a JSON object; write it as {...}")
        return cls(**checked_values(values))


def checked_values(values: dict[str, Any]) -> dict[str, Any]:
    """Return JSON values of fields of `TrainingRecipe` in the types of the fields.

    Raises:
        TrainingError: for an unknown field or a value of another type.
    """
    defaults = {f.name: f.default for f in fields(TrainingRecipe)}
    unknown = sorted(set(values) - set(defaults))
    if unknown:
        raise TrainingError(f"unknown training recipe field {unknown[0]!r:.60}; choose from {', '.join(defaults)}")
    return {name: _converted(name, value, defaults[name]) for name, value in values.items()}


def _converted(name: str, value: Any, default: Any) -> Any:
    """Return a value in the type of a default, as JSON has no tuples and does not distinguish 1 from 1.0."""
    expected = type(default)
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if expected is tuple and isinstance(value, list | tuple) and (name == "unseen" or len(value) == len(default)):
        return tuple(_converted(name, v, default[0]) for v in value)
    if type(value) is not expected:
        raise TrainingError(f"{name} of the training recipe is {value!r:.60}; give a value such as {default!r}")
    return value


def _choice_problem(name: str, value: str, allowed: tuple[str, ...]) -> str:
    return "" if value in allowed else f"{name} is {value!r:.60}; choose {', '.join(allowed)}"


def _limit_problem(name: str, value: float, low: float, high: float) -> str:
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

LIMITS = {
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

#: Settings of Chen et al., CVPR 2023.
PAPER_RECIPE = TrainingRecipe()

#: Fine-tuning of a trained model on the user's images, in minutes to hours.
FINE_TUNE = TrainingRecipe(
    stretch=True,
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

#: One model for all images: many noises of any strength, clean images, and masks in few patches and steps only, as
#: the model denoises without masks.
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
        "bayer(sigma=2..25, gain=0..6) + jpeg(quality=80..98), "
        "blurred(sigma=2..20, gain=0..4, width=0.6..1.5) + jpeg(quality=80..98), "
        "rician(sigma=1..25), "
        "reconstruction(sigma=1..30, cutoff=0.4..1.6, streaks=0..4), "
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

#: Settings for `way` "noisy": few blind spots, which the network cannot recognise, and a loss that the mean minimises.
WITHOUT_TRUTH: dict[str, Any] = {
    "pixel_mask": (0.05, 0.05),
    "masked_patches": 1.0,
    "pixel_fill": "neighbour",
    "loss": "mse",
}
