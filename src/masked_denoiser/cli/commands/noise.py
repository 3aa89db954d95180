"""Handlers of `masked-denoiser noise add | estimate | list`."""

from __future__ import annotations

import json
from argparse import Namespace
from math import isfinite
from pathlib import Path

from tqdm import tqdm

from masked_denoiser.cli.input_image import open_input
from masked_denoiser.cli.progress import print_note
from masked_denoiser.denoising.intensity.epochs import count_epochs
from masked_denoiser.denoising.noise_measurement import measure_noise
from masked_denoiser.denoising.noise_settings import choose_treatments
from masked_denoiser.evaluation.noise_plot import plot_noise
from masked_denoiser.evaluation.pictures import check_picture_path
from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.noisy_copy import noisy_copy
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.resolve import planes_of, resolve_channels
from masked_denoiser.messages import Message
from masked_denoiser.models.catalogue import AUTO, load_model, resolve_auto
from masked_denoiser.noise.channel_noise import ChannelNoise
from masked_denoiser.noise.synthetic.families import FAMILIES
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.units import figures_in_image_units


def add(arguments: Namespace) -> int:
    """Write a noisy copy of an image."""
    recipe = parse_noise(arguments.noise)
    with open_image(arguments.input, axes=arguments.axes, level=arguments.level, reader=arguments.reader) as source:
        for note in source.notes:
            print_note(note, arguments.quiet)
        bands = noisy_copy(source, Path(arguments.output), recipe, seed=arguments.seed, overwrite=arguments.overwrite)
        with tqdm(desc="adding noise", unit="band", delay=0.1, disable=arguments.quiet) as bar:
            for band in bands:
                if isinstance(band, Message):
                    print_note(band.text, arguments.quiet)
                    continue
                bar.total = band.total
                bar.update(band.done - bar.n)
    if not arguments.quiet:
        print(f"wrote {arguments.output}: {recipe}, seed {arguments.seed}")
    return 0


def estimate(arguments: Namespace) -> int:
    """Print the measured noise of an image, and the recommended model and noise treatment."""
    plot = check_picture_path(arguments.plot) if arguments.plot else None
    with open_input(arguments) as source:
        for note in source.notes:
            print_note(note, arguments.json)
        channels = resolve_channels(source, AUTO, Options(channels=arguments.channels, seed=arguments.seed)).channels
        epochs = count_epochs(source, planes_of(source, channels))
        planes = [plane for plane in planes_of(source, channels, epochs) if not plane.copied]
        measured = measure_noise(source, planes=planes, seed=arguments.seed, modality=arguments.modality)
        model = load_model(resolve_auto(AUTO, any(plane.channels == 3 for plane in planes)))
    result = measured.estimate
    treatments = choose_treatments(measured, planes, measured.ranges, model)
    advice = " / ".join(dict.fromkeys(treatment.summary for treatment in treatments.values()))
    if arguments.json:
        values = result.to_dict()
        for channel, name in zip(values["channels"], measured.channel_names, strict=True):
            channel["name"] = name
        print(json.dumps(values | {"model": model.card.name, "recommended": "--noise auto", "which": advice}))
    else:
        print(result.verdict)
        for name, noise, (black, white) in zip(measured.channel_names, result.channels, result.ranges, strict=True):
            print(f"{name}: {_figures(noise, black, white)}")
        print(f"recommended: --model {model.card.name} --noise auto: {advice}")
    if plot is not None:
        plot_noise(measured, plot)
        print_note(f"wrote {arguments.plot}", arguments.json)
    return 0


def _figures(noise: ChannelNoise, black: float, white: float) -> str:
    """Return the noise of a channel in one line, in units of the image."""
    scaled = figures_in_image_units(noise, black, white)
    text = f"sigma {scaled['sigma']:.4g} at the median intensity"
    if noise.gain > 0:
        text += f", gain {scaled['gain']:.4g} per photon, offset {scaled['offset']:.4g}"
        text += f", read noise {scaled['read']:.4g}"
    text += ", white" if noise.correlation == 1 else f", independent at {noise.correlation} pixels or more"
    if noise.impulses.share > 1e-4:
        text += f", {noise.impulses.share:.2%} impulses"
    if noise.stripes:
        text += f", stripes of {scaled['stripes']:.4g}"
    ends = [end for end, limit in zip(("black", "white"), noise.clipped, strict=True) if isfinite(limit)]
    return text + (f", clipped at {' and '.join(ends)}" if ends else "")


def list_families(_arguments: Namespace) -> int:
    """Print the noise families and their parameters."""
    for family in FAMILIES.values():
        print(f"{family.name:18} {family.description}")
        for p in family.parameters:
            print(f"    {p.name}={p.default:g}  {p.description}, {p.minimum:g} to {p.maximum:g}")
    print("\nExample recipes: gaussian(sigma=0..50), poisson(alpha=2) + correlated(sigma=20), one_of(gaussian, none)")
    return 0
