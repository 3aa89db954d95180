"""What noise a model knows, read from the recipe on its card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from masked_denoiser.errors import RecipeError
from masked_denoiser.models.card import Card
from masked_denoiser.noise.blocks import SPREADS
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import USUAL_VALUES, NoiseRecipe, OneOf, Step
from masked_denoiser.noise.variance_model import NoiseVariance

#: The training noise of the paper, and of published checkpoints, which do not say: Gaussian.
_PAPER_SIGMA = 15.0 / 255


@dataclass(frozen=True)
class TrainingNoise:
    """The noise that a model was trained with.

    Attributes:
        sigma: strongest Gaussian noise, in units in which white is 1.
        gain: largest gain of noise that grows with the light, in the same units; 0 for none.
        correlated: longest distance at which the correlated noise it knows is independent; 1 for white noise only.
    """

    sigma: float
    gain: float = 0.0
    correlated: int = 1

    def knows_light(self, level: NoiseVariance) -> bool:
        """Whether noise that grows so with the light needs no transform first."""
        return level.gain <= self.gain


def training_noise(card: Card) -> TrainingNoise:
    """What a model knows; of one that does not say, what the paper's models know.

    A model that was trained on noisy images themselves knows their noise, whatever it is.
    """
    recipe = card.training.get("recipe")
    if not isinstance(recipe, dict):
        return TrainingNoise(_PAPER_SIGMA)
    if recipe.get("way", "clean") != "clean":
        return TrainingNoise(inf, inf, max(SPREADS))
    try:
        steps = list(_steps(parse_noise(str(recipe.get("noise", "")))))
    except RecipeError:
        return TrainingNoise(_PAPER_SIGMA)
    sigmas = [step.values[0].high / 255 for step in steps if step.family == "gaussian"]
    gains = [_gain(step) for step in steps]
    shared = max((_shared(step) for step in steps), default=1)
    return TrainingNoise(max(sigmas, default=0.0) or _PAPER_SIGMA, max(gains, default=0.0), shared)


def _shared(step: Step) -> int:
    """Distance in pixels at which the noise of a step is independent."""
    if step.family == "blurred":
        return max(spread for spread in SPREADS if spread <= max(3.0, 4 * step.values[2].high))
    return 3 if step.family in ("correlated", "bayer") else 1


def _gain(step: Step) -> float:
    """Largest growth of the variance with the light, by the definitions of the families."""
    strongest = step.values[0].high if step.values else 0.0
    if step.family == "poisson":
        return float(strongest**2 / USUAL_VALUES)
    return strongest / 255 if step.family == "poisson_gaussian" else 0.0


def _steps(recipe: NoiseRecipe) -> Iterator[Step]:
    for step in recipe.steps:
        if isinstance(step, OneOf):
            for inner in step.recipes:
                yield from _steps(inner)
        else:
            yield step
