"""What must be the same for an interrupted training to go on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from masked_denoiser.images.source import Source
from masked_denoiser.models.file import Model
from masked_denoiser.training.data.patches import PatchSampler, batch_of
from masked_denoiser.training.recipe import TrainingRecipe

#: Patches that are hashed to know images again.
_PRINTED = 4

#: Fields of a recipe that may change when a training goes on.
_CHANGEABLE = ("steps", "minutes", "micro_batch", "validate_every", "save_every", "patience", "keep")


def _fingerprint(pool: PatchSampler, seed: int) -> str:
    """A hash of some patches: other pixels, regions or orders give another one."""
    patches, truths = batch_of(pool, range(_PRINTED), seed, 0)
    sha = hashlib.sha256(patches.tobytes())
    sha.update(b"" if truths is None else truths.tobytes())
    return sha.hexdigest()[:16]


def training_identity(
    recipe: TrainingRecipe, base: Model, sources: list[Source], learned: PatchSampler, held: PatchSampler
) -> str:
    """What must be the same for a checkpoint to be gone on from, a line each."""
    kept = {name: value for name, value in asdict(recipe).items() if name not in _CHANGEABLE}
    lines = [f"{name} {json.dumps(value)}" for name, value in sorted(kept.items())]
    lines.append(f"base {base.digest}")
    lines += [f"image {s.name} {s.axes} {s.shape} {s.dtype}" for s in sources]
    prints = (
        f"pixels {what} {_fingerprint(pool, recipe.seed)}" for what, pool in (("learned", learned), ("held out", held))
    )
    return "\n".join([*lines, *prints])
