"""Identity of a training: what must be unchanged for its checkpoint to be resumed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from masked_denoiser.images.source import Source
from masked_denoiser.models.file import Model
from masked_denoiser.training.data.lazy_patches import draw_patches
from masked_denoiser.training.data.patches import PatchSampler
from masked_denoiser.training.recipe import TrainingRecipe

#: Number of patches whose pixels are hashed.
_HASHED_PATCHES = 4

#: Fields of a recipe that may change when a training is resumed.
_CHANGEABLE = ("steps", "minutes", "micro_batch", "validate_every", "save_every", "patience", "keep")

#: Field that identities of earlier versions do not have, with the value that changes nothing.
_LATER_DEFAULT = ("stretch", False)


def training_identity(
    recipe: TrainingRecipe, base: Model, sources: list[Source], training: PatchSampler, validation: PatchSampler
) -> str:
    """Return the text that must be equal to resume from a checkpoint, with one property per line."""
    fixed = {name: value for name, value in asdict(recipe).items() if name not in _CHANGEABLE}
    lines = [f"{name} {json.dumps(value)}" for name, value in sorted(fixed.items()) if (name, value) != _LATER_DEFAULT]
    lines.append(f"base {base.digest}")
    lines += [f"image {s.name} {s.axes} {s.shape} {s.dtype}" for s in sources]
    samplers = (("learned", training), ("held out", validation))
    return "\n".join([*lines, *(f"pixels {name} {_pixel_hash(s, recipe.seed)}" for name, s in samplers)])


def recipe_of_identity(identity: str) -> TrainingRecipe:
    """Return the recipe in an identity, with defaults for the settings that may change.

    Raises:
        TrainingError: if it has none.
    """
    pairs = (line.split(" ", 1) for line in identity.partition("\nbase ")[0].splitlines())
    return TrainingRecipe.from_json("{" + ", ".join(f'"{name}": {value}' for name, value in pairs) + "}")


def _pixel_hash(sampler: PatchSampler, seed: int) -> str:
    """Return a hash of some patches, which changes with pixels, regions and the order of images."""
    patches, truths, _ = draw_patches(sampler, range(_HASHED_PATCHES), seed, 0)
    sha = hashlib.sha256(patches.tobytes())
    sha.update(b"" if truths is None else truths.tobytes())
    return sha.hexdigest()[:16]
