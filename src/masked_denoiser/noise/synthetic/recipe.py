"""Noise recipes: synthetic noise as text, such as `poisson(alpha=1..3) + correlated(sigma=20)`.

recipe  = step { "+" step }              one noise on top of the other, left to right
step    = family [ "(" name "=" value { "," name "=" value } ")" ]
        | "one_of" "(" recipe { "," recipe } ")"
value   = number [ ".." number ]         a range is drawn uniformly, for each image anew
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from masked_denoiser.noise.synthetic.families import FAMILIES
from masked_denoiser.noise.synthetic.pixelwise import Amount

#: What a mixture consists of.
_MIXED = {"poisson", "speckle", "gaussian", "correlated", "salt_and_pepper"}

#: Distinct values of an 8-bit image as a rule: what patches of unknown images are taken to have.
USUAL_VALUES = 256


@dataclass(frozen=True)
class Interval:
    """A value of a recipe: every number from `low` to `high`; one number where they are equal."""

    low: float
    high: float

    def draw(self, generator: Generator) -> Interval:
        """One number of the range. A fixed value draws nothing from the generator."""
        if self.low == self.high:
            return self
        value = self.low + (self.high - self.low) * float(torch.rand((), generator=generator))
        return Interval(value, value)

    def draw_each(self, count: int, generator: Generator) -> Amount:
        """One number of the range for each of `count` images: [count, 1, 1, 1] on the generator's device."""
        if self.low == self.high:
            return self.low
        drawn = torch.rand(count, 1, 1, 1, generator=generator, device=generator.device)
        return self.low + (self.high - self.low) * drawn

    def __str__(self) -> str:
        return f"{self.low:.15g}" if self.low == self.high else f"{self.low:.15g}..{self.high:.15g}"


@dataclass(frozen=True)
class Step:
    """One family with its values, in the order of the family's parameters, all of them given."""

    family: str
    values: tuple[Interval, ...]

    def draw(self, generator: Generator) -> Step:
        """The step with every range replaced by one of its numbers."""
        return Step(self.family, tuple(value.draw(generator) for value in self.values))

    def add(self, images: Tensor, generator: Generator, distinct: int | None = None) -> Tensor:
        """Adds the noise of a drawn step."""
        return self._add(images, generator, [value.low for value in self.values], distinct)

    def add_to_batch(self, images: Tensor, generator: Generator, choices: np.random.Generator) -> Tensor:
        """Add the noise to a batch, every image with numbers of its own; see `add_noise_to_batch`."""
        drawn = [value.draw_each(len(images), generator) for value in self.values]
        return self._add(images, generator, drawn, USUAL_VALUES)

    def _add(self, images: Tensor, generator: Generator, values: Sequence[Amount], distinct: int | None) -> Tensor:
        family = FAMILIES[self.family]
        named: dict[str, Amount | None] = {p.name: v for p, v in zip(family.parameters, values, strict=True)}
        if family.counts:
            named["distinct"] = distinct
        return family.add(images, generator, **named)

    def __str__(self) -> str:
        parameters = FAMILIES[self.family].parameters
        values = ", ".join(f"{p.name}={v}" for p, v in zip(parameters, self.values, strict=True))
        return f"{self.family}({values})" if values else self.family


@dataclass(frozen=True)
class OneOf:
    """One of several recipes, each as likely as the others."""

    recipes: tuple[NoiseRecipe, ...]

    def draw(self, generator: Generator) -> NoiseRecipe:
        """The recipe that is taken, drawn in turn."""
        chosen = int(torch.randint(len(self.recipes), (), generator=generator))
        return self.recipes[chosen].draw(generator)

    def add_to_batch(self, images: Tensor, generator: Generator, choices: np.random.Generator) -> Tensor:
        """Add each recipe to a share of a batch, as equal as their number allows; see `add_noise_to_batch`."""
        counts = [int(count) for count in self.shares(len(images), choices)]
        parts = zip(torch.split(images, counts), self.recipes, strict=True)
        return torch.cat([recipe.add_to_batch(part, generator, choices) for part, recipe in parts if len(part)])

    def shares(self, count: int, choices: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """How many of `count` images each recipe gets; what does not divide is drawn."""
        every, left = divmod(count, len(self.recipes))
        shares = np.full(len(self.recipes), every, np.int64)
        shares[choices.permutation(len(self.recipes))[:left]] += 1
        return shares

    def __str__(self) -> str:
        return f"one_of({', '.join(map(str, self.recipes))})"


@dataclass(frozen=True)
class NoiseRecipe:
    """Steps on top of each other, left to right. `str` gives the text back in full."""

    steps: tuple[Step | OneOf, ...]

    def draw(self, generator: Generator) -> NoiseRecipe:
        """A recipe without ranges and choices.

        Args:
            generator: on the CPU.
        """
        drawn = [step.draw(generator) for step in self.steps]
        return NoiseRecipe(tuple(s for d in drawn for s in (d.steps if isinstance(d, NoiseRecipe) else (d,))))

    def add_to_batch(self, images: Tensor, generator: Generator, choices: np.random.Generator) -> Tensor:
        """Add the steps one after the other; see `add_noise_to_batch`."""
        for step in self.steps:
            images = step.add_to_batch(images, generator, choices)
        return images

    def __str__(self) -> str:
        return " + ".join(map(str, self.steps))

    @property
    def families(self) -> frozenset[str]:
        """The kinds of noise that may come; those that a mixture consists of are among them."""
        found: set[str] = set()
        for step in self.steps:
            inner = [recipe.families for recipe in step.recipes] if isinstance(step, OneOf) else [{step.family}]
            found.update(*inner)
        return frozenset(found | (_MIXED if "mixture" in found else set()))


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
    """Adds noise to images, each with its own draw of the recipe's ranges and choices.

    Args:
        images: [B, C, H, W] float in [0, 1].
        recipe: what to add.
        generator: draws the noise; on the images' device.
        choices: draws ranges and choices; on the CPU. Left out, `generator` does both, and is then on the CPU.
        clip: whether to clip to [0, 1], as a camera does.
        levels: rounds to this many steps above 0, 255 for 8 bit; None does not round.
        distinct: values that the whole image has, of which `images` are parts; None counts those of each.

    Returns:
        [B, C, H, W].
    """
    drawn = [recipe.draw(choices or generator) for _ in range(len(images))]
    pairs = zip(images, drawn, strict=True)
    out = torch.cat([_run(image[None], one.steps, generator, distinct) for image, one in pairs])
    out = out.clamp(0.0, 1.0) if clip else out
    return (out * levels).round() / levels if levels else out


def add_noise_to_batch(
    images: Tensor, recipe: NoiseRecipe, generator: Generator, choices: np.random.Generator
) -> Tensor:
    """Add noise to the patches of a training step: on their device, and without waiting for it.

    Each patch has its own numbers. Choices are shared out over the batch, so that all recipes of a `one_of` come
    equally often: patches that lie next to each other get the same one, and are to be in random order.

    Args:
        images: [B, C, H, W] float in [0, 1].
        recipe: what to add.
        generator: draws noise and numbers; on the images' device.
        choices: draws what does not divide.

    Returns:
        [B, C, H, W], clipped to [0, 1].
    """
    return recipe.add_to_batch(images, generator, choices).clamp(0.0, 1.0)


def _run(image: Tensor, steps: Sequence[Step | OneOf], generator: Generator, distinct: int | None) -> Tensor:
    for step in steps:
        assert isinstance(step, Step), "a drawn recipe has no choices"
        image = step.add(image, generator, distinct)
    return image
