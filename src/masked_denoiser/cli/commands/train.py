"""`masked-denoiser train` and `masked-denoiser fine-tune`."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from masked_denoiser.cli.commands.run_job import set_threads
from masked_denoiser.cli.progress import cancel_on_interrupt, say
from masked_denoiser.errors import TrainingError
from masked_denoiser.inference.device import choose_device
from masked_denoiser.messages import Message
from masked_denoiser.models.catalogue import load_model
from masked_denoiser.models.file import Model
from masked_denoiser.models.random_weights import start_network
from masked_denoiser.training.distributed import process_group
from masked_denoiser.training.events import Saved, Stepped, Trained, Validated
from masked_denoiser.training.fine_tune import fine_tune_recipe, load_base
from masked_denoiser.training.prepare import PreparedTraining, TrainingImages, prepare_training, training_folder
from masked_denoiser.training.recipe import PRESETS, TrainingRecipe, checked_values

_FAILED, _CANCELLED = 1, 130


def train(arguments: Namespace) -> int:
    """Trains a network, from random weights unless a model is named."""
    recipe = _recipe(arguments)
    channels = 1 if arguments.gray else 3
    network = arguments.network or ("general" if arguments.recipe == "general" else "paper")
    base = (
        load_model(arguments.start)
        if arguments.start
        else start_network(channels, recipe.seed, recipe.inference_mask, network)
    )
    return _run(arguments, recipe, base)


def fine_tune(arguments: Namespace) -> int:
    """Trains a model on, on the user's own images."""
    base = load_base(arguments.start, arguments.images, arguments.axes)
    device, _ = choose_device(arguments.device)
    resumed = training_folder(Path(arguments.output)) if arguments.resume else None
    return _run(arguments, fine_tune_recipe(base, _settings(arguments), device, resumed), base)


def _run(arguments: Namespace, recipe: TrainingRecipe, base: Model) -> int:
    if arguments.threads is not None:
        set_threads(arguments.threads)
    output = Path(arguments.output)
    given = TrainingImages(
        tuple(arguments.images),
        tuple(getattr(arguments, "clean", None) or ()),
        tuple(arguments.validation or ()),
        tuple(getattr(arguments, "validation_clean", None) or ()),
        arguments.axes,
    )
    chosen, _ = choose_device(arguments.device)
    with process_group(chosen) as (ranks, device):
        quiet = arguments.quiet or not ranks.first
        say("opening the images", quiet)
        prepared = prepare_training(
            given,
            recipe,
            base=base,
            output=output,
            folder=training_folder(output),
            device=device,
            resume=arguments.resume,
            overwrite=arguments.overwrite,
            tensorboard=arguments.tensorboard,
            ranks=ranks,
            compile=arguments.compile,
        )
        for message in prepared.messages:
            say(message, quiet)
        end = _show(prepared, quiet)
        if ranks.first:
            kept = "their average" if prepared.trainer.keeps_last(end.why) else "the best validation"
            _report(end, output, arguments, kept)
    return {"stopped": _CANCELLED, "diverged": _FAILED}.get(end.why, 0)


def _show(prepared: PreparedTraining, quiet: bool) -> Trained:
    """Trains behind a bar with rate and time left; Ctrl-C saves and ends."""
    trainer = prepared.trainer
    end: Trained | None = None
    what = "stopping, and saving what was learned; Ctrl-C again to stop at once"
    with cancel_on_interrupt(trainer.cancel, what), _bar(trainer, quiet) as bar:
        for event in prepared.run():
            match event:
                case Stepped():
                    bar.set_postfix_str(_postfix(event), refresh=False)
                    bar.update(_progress(event) - bar.n)
                case Validated():
                    bar.unpause()  # the time it took says nothing of how fast steps are
                    say(str(event), quiet)
                case Message(text):
                    say(text, quiet)
                case Trained():
                    end = event
                case Saved():
                    pass
    assert end is not None  # a training ends with it, or raises
    return end


def _progress(event: Stepped) -> float:
    """Steps done, or seconds of a training by the clock."""
    return event.step if event.seconds_to_go is None else event.seconds_in_all - event.seconds_to_go


def _postfix(event: Stepped) -> str:
    """The loss; of a training by the clock, whose bar counts seconds, the step and the rate, too."""
    loss = f"loss {event.loss:.4f}"
    if event.seconds_to_go is None:
        return loss
    return f"step {event.step}, {event.done / max(event.seconds, 1e-9):.2f} steps/s, {loss}"


def _bar(trainer: Any, quiet: bool) -> tqdm[None]:
    if trainer.recipe.minutes:
        return tqdm(
            total=60 * trainer.recipe.minutes,
            initial=trainer.state.seconds,
            desc="training",
            disable=quiet,
            bar_format="{desc} {percentage:3.0f} %|{bar}| {remaining} left{postfix}",
        )
    return tqdm(
        total=trainer.recipe.steps,
        initial=trainer.state.step,
        unit="step",
        desc="training",
        disable=quiet,
        smoothing=0.1,
        bar_format="{desc} {percentage:3.0f} %|{bar}| step {n} of {total}, {rate_noinv_fmt}, {remaining} left{postfix}",
    )


def _report(end: Trained, output: Path, arguments: Namespace, why: str) -> None:
    """What happened: as JSON, or a line for each noise."""
    if arguments.json:
        values = {name: getattr(end, name) for name in ("step", "best_step", "best_psnr", "why", "before", "after")}
        print(json.dumps({"output": str(output)} | values))
        return
    if arguments.quiet:
        return
    for noise, after in end.after.items():
        before = end.before.get(noise)
        gain = "" if before is None else f", {before:.2f} dB before ({after - before:+.2f})"
        print(f"{noise}: {after:.2f} dB on held-out patches{gain}")
    kept = f"the weights of step {end.best_step}, {why}"
    ended = {
        "finished": "trained to the end",
        "stopped": f"stopped after step {end.step}: go on with --resume",
        "no better": f"stopped after step {end.step}, as validation got no better",
        "diverged": f"stopped after step {end.step}: the training diverged",
    }[end.why]
    print(f"{ended}; wrote {output}, {kept}; log and pictures: {training_folder(output)}")
    print(f"use it: --model {output}; to find it by name, here and in napari: masked-denoiser models import {output}")


def _recipe(arguments: Namespace) -> TrainingRecipe:
    """A preset or a JSON file, with what the command line sets."""
    if arguments.recipe in PRESETS:
        recipe = PRESETS[arguments.recipe]
    else:
        path = Path(arguments.recipe)
        if not path.is_file():
            raise TrainingError(f"recipe {arguments.recipe!r} is neither a file nor one of {', '.join(PRESETS)}")
        recipe = TrainingRecipe.from_json(path.read_text())
    return replace(recipe, **checked_values(_settings(arguments)))


def _settings(arguments: Namespace) -> dict[str, Any]:
    """What the command line sets of a recipe; `--set` has the last word."""
    named = ("noise", "way", "steps", "minutes", "batch", "rate", "seed")
    settings = {name: value for name in named if (value := getattr(arguments, name, None)) is not None}
    for text in arguments.set or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise TrainingError(f"--set {text} has no '='; write --set patch=32")
        settings[name.strip()] = _value(value.strip())
    return settings


def _value(text: str) -> Any:
    """JSON where it is JSON, such as 3, [0, 0.75] or "l1"; else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
