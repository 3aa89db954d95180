"""`masked-denoiser noise add`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from tqdm import tqdm

from masked_denoiser.cli.progress import say
from masked_denoiser.denoising.noisy_copy import noisy_copy
from masked_denoiser.images.open import open_image
from masked_denoiser.noise.families import FAMILIES
from masked_denoiser.noise.parse import parse_noise


def add(arguments: Namespace) -> int:
    """Writes a noisy copy of an image."""
    recipe = parse_noise(arguments.noise)
    with open_image(arguments.input, axes=arguments.axes, level=arguments.level) as source:
        for note in source.notes:
            say(note, arguments.quiet)
        bands = noisy_copy(source, Path(arguments.output), recipe, seed=arguments.seed, overwrite=arguments.overwrite)
        with tqdm(desc="adding noise", unit="band", disable=arguments.quiet) as bar:
            for band in bands:
                bar.total = band.total
                bar.update(band.done - bar.n)
    if not arguments.quiet:
        print(f"wrote {arguments.output}: {recipe}, seed {arguments.seed}")
    return 0


def list_families(_arguments: Namespace) -> int:
    """Prints what a recipe may be made of."""
    for family in FAMILIES.values():
        print(f"{family.name:18} {family.text}")
        for p in family.parameters:
            print(f"    {p.name}={p.default:g}  {p.text}, {p.smallest:g} to {p.largest:g}")
    print("\nA recipe: gaussian(sigma=0..50), poisson(alpha=2) + correlated(sigma=20), one_of(gaussian, none)")
    return 0
