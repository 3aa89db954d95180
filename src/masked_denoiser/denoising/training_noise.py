"""Training noise: the noise that a model was trained with, derived from the noise recipe on its card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Any

from masked_denoiser.errors import RecipeError
from masked_denoiser.models.card import Card
from masked_denoiser.noise.blocks import DILATIONS
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import TYPICAL_DISTINCT_VALUES, NoiseRecipe, OneOf, Step
from masked_denoiser.noise.variance_model import NoiseVariance

#: Sigma of the Gaussian training noise of the paper, assumed for published checkpoints that do not name theirs.
_PAPER_SIGMA = 15.0 / 255


@dataclass(frozen=True)
class TrainingNoise:
    """The strongest noise that a model was trained with, in units in which white is 1.

    Attributes:
        sigma: of Gaussian noise.
        gain: of signal-dependent noise; 0 for none.
        correlation: longest distance in pixels at which its correlated noise is independent; 1 for white noise only.
    """

    sigma: float
    gain: float = 0.0
    correlation: int = 1

    def covers_photon_noise(self, noise: NoiseVariance) -> bool:
        """Return whether the signal-dependent part of a noise needs no stabilization."""
        return noise.gain <= self.gain


def training_noise(card: Card) -> TrainingNoise:
    """Return the noise that a model was trained with; that of the paper if its card does not name it.

    Fine-tuning adds noise to that of the model it began with, which it does not forget in a few hundred steps. A model
    that was trained on noisy images covers any noise of such images.
    """
    stages = [noise for recipe in _recipes_of_stages(card) if (noise := _noise_of_stage(recipe)) is not None]
    return TrainingNoise(
        max((stage.sigma for stage in stages), default=0.0) or _PAPER_SIGMA,
        max((stage.gain for stage in stages), default=0.0),
        max((stage.correlation for stage in stages), default=1),
    )


def _recipes_of_stages(card: Card) -> Iterator[dict[str, Any]]:
    """Yield the recipes of the training and those before it, the last one first."""
    training: Any = card.training
    while isinstance(training, dict):
        recipe = training.get("recipe")  # text in cards that were written by hand
        if isinstance(recipe, dict):
            yield recipe
        origin = training.get("begun_from")
        training = origin.get("training") if isinstance(origin, dict) else None


def _noise_of_stage(recipe: dict[str, Any]) -> TrainingNoise | None:
    """Return the noise of a recipe, with a sigma of 0 if none is Gaussian; None if it cannot be parsed."""
    if recipe.get("way", "clean") != "clean":
        return TrainingNoise(inf, inf, max(DILATIONS))
    try:
        steps = list(_steps(parse_noise(str(recipe.get("noise", "")))))
    except RecipeError:
        return None
    sigmas = [step.values[0].high / 255 for step in steps if step.family == "gaussian"]
    gain, correlation = max(map(_gain, steps), default=0.0), max(map(_correlation, steps), default=1)
    return TrainingNoise(max(sigmas, default=0.0), gain, correlation)


def _correlation(step: Step) -> int:
    """Return the distance in pixels at which the noise of a step is independent."""
    if step.family == "blurred":
        return max(spread for spread in DILATIONS if spread <= max(3.0, 4 * step.values[2].high))
    return 3 if step.family in ("correlated", "bayer", "reconstruction") else 1


def _gain(step: Step) -> float:
    """Return the largest gain of the noise of a step, by the definitions of the families."""
    strongest = step.values[0].high if step.values else 0.0
    if step.family == "poisson":
        return float(strongest**2 / TYPICAL_DISTINCT_VALUES)
    return strongest / 255 if step.family == "poisson_gaussian" else 0.0


def _steps(recipe: NoiseRecipe) -> Iterator[Step]:
    for step in recipe.steps:
        if isinstance(step, OneOf):
            for inner in step.recipes:
                yield from _steps(inner)
        else:
            yield step
