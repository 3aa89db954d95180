"""Noise recipes: text that describes synthetic noise, such as `poisson(alpha=1..3) + correlated(sigma=20)`.

recipe  = step { "+" step }              noises are added from left to right
step    = family [ "(" name "=" value { "," name "=" value } ")" ]
        | "one_of" "(" recipe { "," recipe } ")"
value   = number [ ".." number ]         a range is drawn uniformly for each image
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from masked_denoiser.noise.synthetic.families import FAMILIES
from masked_denoiser.noise.synthetic.pixelwise import Amount

#: Families that a mixture consists of.
_MIXTURE_FAMILIES = {"poisson", "speckle", "gaussian", "correlated", "salt_and_pepper"}

#: Number of distinct values of a typical 8-bit image, assumed for patches of unknown images.
TYPICAL_DISTINCT_VALUES = 256

#: Period in pixels of the grids of all families; the longest is that of the colour blocks of JPEG.
_GRID_PERIOD = 16


@dataclass(frozen=True)
class Interval:
    """Value of a recipe: a range from `low` to `high`, or a fixed value if they are equal."""

    low: float
    high: float

    def draw(self, generator: Generator) -> Interval:
        """Draw a number of the range. A fixed value draws nothing from the generator."""
        if self.low == self.high:
            return self
        value = self.low + (self.high - self.low) * float(torch.rand((), generator=generator, device=generator.device))
        return Interval(value, value)

    def draw_each(self, count: int, generator: Generator) -> Amount:
        """Draw a number of the range for each of `count` images, [count, 1, 1, 1] on the device of the generator."""
        if self.low == self.high:
            return self.low
        drawn = torch.rand(count, 1, 1, 1, generator=generator, device=generator.device)
        return self.low + (self.high - self.low) * drawn

    def __str__(self) -> str:
        return f"{self.low:.15g}" if self.low == self.high else f"{self.low:.15g}..{self.high:.15g}"


@dataclass(frozen=True)
class Step:
    """Family with the values of all of its parameters, in their order."""

    family: str
    values: tuple[Interval, ...]

    def draw(self, generator: Generator) -> Step:
        """Return the step with every range replaced by a drawn number."""
        return Step(self.family, tuple(value.draw(generator) for value in self.values))

    def add(self, images: Tensor, generator: Generator, distinct: int | None = None) -> Tensor:
        """Add the noise of a drawn step."""
        return self._add(images, generator, [value.low for value in self.values], distinct)

    def add_to_batch(self, images: Tensor, generator: Generator, choices: np.random.Generator) -> Tensor:
        """Add the noise to a batch, with individual numbers for each image; see `add_noise_to_batch`."""
        drawn = [value.draw_each(len(images), generator) for value in self.values]
        phase = None
        if FAMILIES[self.family].has_grid:  # else a network, which has a grid too, learns one phase only
            phase = torch.randint(_GRID_PERIOD, (len(images), 2), generator=generator, device=images.device)
        return self._add(images, generator, drawn, TYPICAL_DISTINCT_VALUES, phase)

    def _add(
        self,
        images: Tensor,
        generator: Generator,
        values: Sequence[Amount],
        distinct: int | None,
        phase: Tensor | None = None,
    ) -> Tensor:
        family = FAMILIES[self.family]
        named: dict[str, Amount | None] = {p.name: v for p, v in zip(family.parameters, values, strict=True)}
        if family.needs_distinct:
            named["distinct"] = distinct
        if phase is not None:
            named["phase"] = phase
        return family.add(images, generator, **named)

    def __str__(self) -> str:
        parameters = FAMILIES[self.family].parameters
        values = ", ".join(f"{p.name}={v}" for p, v in zip(parameters, self.values, strict=True))
        return f"{self.family}({values})" if values else self.family


@dataclass(frozen=True)
class OneOf:
    """Choice of one of several recipes with equal probability."""

    recipes: tuple[NoiseRecipe, ...]

    def draw(self, generator: Generator) -> NoiseRecipe:
        """Draw one of the recipes, and its ranges and choices."""
        chosen = int(torch.randint(len(self.recipes), (), generator=generator, device=generator.device))
        return self.recipes[chosen].draw(generator)

    def add_to_batch(self, images: Tensor, generator: Generator, choices: np.random.Generator) -> Tensor:
        """Add each recipe to an equal share of a batch, up to the remainder; see `add_noise_to_batch`."""
        counts = [int(count) for count in self.shares(len(images), choices)]
        parts = zip(torch.split(images, counts), self.recipes, strict=True)
        return torch.cat([recipe.add_to_batch(part, generator, choices) for part, recipe in parts if len(part)])

    def shares(self, count: int, choices: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return how many of `count` images each recipe gets, distributing the remainder randomly."""
        quotient, remainder = divmod(count, len(self.recipes))
        shares = np.full(len(self.recipes), quotient, np.int64)
        shares[choices.permutation(len(self.recipes))[:remainder]] += 1
        return shares

    def __str__(self) -> str:
        return f"one_of({', '.join(map(str, self.recipes))})"


@dataclass(frozen=True)
class NoiseRecipe:
    """Steps that are added from left to right; `str` returns the full text."""

    steps: tuple[Step | OneOf, ...]

    def draw(self, generator: Generator) -> NoiseRecipe:
        """Return a recipe whose ranges and choices are drawn.

        Args:
            generator: generator on the CPU.
        """
        drawn = [step.draw(generator) for step in self.steps]
        return NoiseRecipe(tuple(s for d in drawn for s in (d.steps if isinstance(d, NoiseRecipe) else (d,))))

    def add_to_batch(self, images: Tensor, generator: Generator, choices: np.random.Generator) -> Tensor:
        """Add the steps in their order; see `add_noise_to_batch`."""
        for step in self.steps:
            images = step.add_to_batch(images, generator, choices)
        return images

    def __str__(self) -> str:
        return " + ".join(map(str, self.steps))

    @property
    def families(self) -> frozenset[str]:
        """Names of all families in the recipe, including those that a mixture consists of."""
        names: set[str] = set()
        for step in self.steps:
            inner = [recipe.families for recipe in step.recipes] if isinstance(step, OneOf) else [{step.family}]
            names.update(*inner)
        return frozenset(names | (_MIXTURE_FAMILIES if "mixture" in names else set()))


def add_noise(
    images: Tensor,
    recipe: NoiseRecipe,
    generator: Generator,
    choices: Generator | None = None,
    *,
    clip: bool = True,
    levels: int | None = None,
    distinct: int | None = None,
) -> Tensor:
    """Add noise to images, with an individual draw of the ranges and choices for each.

    Args:
        images: [B, C, H, W] float in [0, 1].
        recipe: noise to add.
        generator: generator of the noise, on the device of the images.
        choices: generator of ranges and choices, on the CPU; `generator`, which must then be on the CPU, by default.
        clip: whether to clip to [0, 1], as a camera does.
        levels: number of steps above 0 to round to, 255 for 8 bit; None does not round.
        distinct: number of distinct values in the whole image, of which `images` are parts; None counts those of each.

    Returns:
        [B, C, H, W].
    """
    drawn = [recipe.draw(choices or generator) for _ in range(len(images))]
    pairs = zip(images, drawn, strict=True)
    out = torch.cat([_add_steps(image[None], drawn_recipe.steps, generator, distinct) for image, drawn_recipe in pairs])
    out = out.clamp(0.0, 1.0) if clip else out
    return (out * levels).round() / levels if levels else out


def add_noise_to_batch(
    images: Tensor, recipe: NoiseRecipe, generator: Generator, choices: np.random.Generator
) -> Tensor:
    """Add noise to the patches of a training step, on their device and without synchronizing with it.

    Each patch has individual numbers. The recipes of a `one_of` get equal shares of the batch: consecutive patches get
    the same one, and must therefore be in random order.

    Args:
        images: [B, C, H, W] float in [0, 1].
        recipe: noise to add.
        generator: generator of noise and numbers, on the device of the images.
        choices: generator for the remainder of equal shares.

    Returns:
        [B, C, H, W], clipped to [0, 1].
    """
    return recipe.add_to_batch(images, generator, choices).clamp(0.0, 1.0)


def _add_steps(image: Tensor, steps: Sequence[Step | OneOf], generator: Generator, distinct: int | None) -> Tensor:
    for step in steps:
        assert isinstance(step, Step), "a drawn recipe has no choices"
        image = step.add(image, generator, distinct)
    return image
