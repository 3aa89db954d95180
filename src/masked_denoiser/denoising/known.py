"""What noise a model knows, read from the recipe on its card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from masked_denoiser.models.card import Card
from masked_denoiser.noise.level import Level
from masked_denoiser.noise.parse import parse_noise
from masked_denoiser.noise.recipe import NoiseRecipe, OneOf, Step

#: The training noise of the paper, and of published checkpoints, which do not say: Gaussian, in grey levels of 255.
_PAPER_SIGMA = 15.0


@dataclass(frozen=True)
class Known:
    """The noise that a model was trained with.

    Attributes:
        sigma: strongest Gaussian noise, in units in which white is 1.
        gain: largest gain of noise that grows with the light, in the same units; 0 for none.
        correlated: longest distance at which the correlated noise it knows is independent; 1 for white noise only.
    """

    sigma: float
    gain: float = 0.0
    correlated: int = 1

    def knows_light(self, level: Level) -> bool:
        """Whether noise that grows so with the light needs no transform first."""
        return level.gain <= self.gain


def known_noise(card: Card) -> Known:
    """What a model knows; of one that does not say, what the paper's models know."""
    recipe = card.training.get("recipe", {})
    if recipe.get("way", "clean") != "clean" or "noise" not in recipe:
        return Known(_PAPER_SIGMA / 255)
    steps = list(_steps(parse_noise(recipe["noise"])))
    sigmas = [step.values[0].high for step in steps if step.family == "gaussian"]
    gains = [step.values[0].high for step in steps if step.family == "poisson_gaussian"]
    correlated = any(step.family == "correlated" for step in steps)
    return Known(max(sigmas, default=_PAPER_SIGMA) / 255, max(gains, default=0.0) / 255, 3 if correlated else 1)


def _steps(recipe: NoiseRecipe) -> Iterator[Step]:
    for step in recipe.steps:
        if isinstance(step, OneOf):
            for inner in step.recipes:
                yield from _steps(inner)
        else:
            yield step
