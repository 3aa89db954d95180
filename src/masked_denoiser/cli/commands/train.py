"""Handlers of `masked-denoiser train` and `masked-denoiser fine-tune`."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from masked_denoiser.cli.commands.run_job import set_threads
from masked_denoiser.cli.progress import cancel_on_interrupt, print_note
from masked_denoiser.errors import TrainingError
from masked_denoiser.inference.device import choose_device
from masked_denoiser.messages import Message
from masked_denoiser.models.catalogue import load_model
from masked_denoiser.models.file import Model
from masked_denoiser.models.random_weights import start_network
from masked_denoiser.training.data.dataset import TrainingImages
from masked_denoiser.training.distributed import process_group
from masked_denoiser.training.events import Saved, Stepped, Trained, Validated, brief_noise
from masked_denoiser.training.fine_tune import fine_tune_recipe, load_base
from masked_denoiser.training.prepare import PreparedTraining, prepare_training, training_folder
from masked_denoiser.training.recipe import PRESETS, TrainingRecipe, checked_values

_FAILED, _CANCELLED = 1, 130


def train(arguments: Namespace) -> int:
    """Train a network, from random weights unless a model is given."""
    if arguments.start and arguments.recipe == "fine-tune":
        return fine_tune(arguments)
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
    """Continue the training of a model on the user's images."""
    base = load_base(arguments.start, arguments.images, arguments.axes, arguments.reader)
    device, _ = choose_device(arguments.device)
    resumed = training_folder(Path(arguments.output)) if arguments.resume else None
    return _run(arguments, fine_tune_recipe(base, _settings(arguments), device, resumed), base)


def _run(arguments: Namespace, recipe: TrainingRecipe, base: Model) -> int:
    if arguments.threads is not None:
        set_threads(arguments.threads)
    output = Path(arguments.output)
    images = TrainingImages(
        tuple(arguments.images),
        tuple(getattr(arguments, "clean", None) or ()),
        tuple(arguments.validation or ()),
        tuple(getattr(arguments, "validation_clean", None) or ()),
        arguments.axes,
        reader=arguments.reader,
    )
    requested, _ = choose_device(arguments.device)
    with process_group(requested) as (ranks, device):
        quiet = arguments.quiet or not ranks.first
        print_note("opening the images", quiet)
        prepared = prepare_training(
            images,
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
            licence=arguments.licence,
        )
        for message in prepared.messages:
            print_note(message, quiet)
        end = _run_with_bar(prepared, quiet)
        if ranks.first:
            _report(end, output, arguments, prepared)
    return {"stopped": _CANCELLED, "diverged": _FAILED}.get(end.why, 0)


def _run_with_bar(prepared: PreparedTraining, quiet: bool) -> Trained:
    """Train with a bar that shows rate and time left; Ctrl-C saves the model and ends the training."""
    trainer = prepared.trainer
    end: Trained | None = None
    note = "stopping and saving the model; press Ctrl-C again to stop immediately"
    with cancel_on_interrupt(trainer.cancel, note), _bar(trainer, quiet) as bar:
        for event in prepared.run():
            match event:
                case Stepped():
                    bar.set_postfix_str(_postfix(event), refresh=False)
                    bar.update(_progress(event) - bar.n)
                case Validated():
                    bar.unpause()  # the time of a validation must not lower the rate of steps
                    print_note(str(event), quiet)
                case Message(text):
                    print_note(text, quiet)
                case Trained():
                    end = event
                case Saved():
                    pass
    assert end is not None  # a training ends with this event, or raises
    return end


def _progress(event: Stepped) -> float:
    """Return the finished steps, or the elapsed seconds if the length is given in minutes."""
    return event.step if event.clock_seconds_left is None else event.clock_seconds - event.clock_seconds_left


def _postfix(event: Stepped) -> str:
    """Return the loss; also step and rate if the length is given in minutes, since the bar then counts seconds."""
    loss = f"loss {event.loss:.4f}"
    if event.clock_seconds_left is None:
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


def _report(end: Trained, output: Path, arguments: Namespace, prepared: PreparedTraining) -> None:
    """Print the result as JSON, or as a line for each noise and where the model is, if the training was of use."""
    if arguments.json:
        values = {name: getattr(end, name) for name in ("step", "best_step", "best_psnr", "why", "before", "after")}
        print(json.dumps({"output": str(output)} | values))
        return
    if arguments.quiet:
        return
    for noise, after in end.after.items():
        before = end.before.get(noise)
        gain = "" if before is None else f", {before:.2f} dB before ({after - before:+.2f})"
        print(f"{brief_noise(noise)}: {after:.2f} dB on held-out patches{gain}")
    status = {
        "finished": "training finished",
        "stopped": f"stopped after step {end.step}: continue with --resume",
        "no better": f"stopped after step {end.step}: validation no longer improved",
        "diverged": f"stopped after step {end.step}: the training diverged",
    }[end.why]
    log = f"log and pictures: {training_folder(output)}"
    if not end.best_step:
        base = prepared.base.card.name
        print(f"{status}; no validated step was better than {base}: {output} holds {base}, unchanged; {log}")
        return
    selection = "running average" if prepared.trainer.keeps_last(end.why) else "best validation"
    print(f"{status}; wrote {output} (step {end.best_step}, {selection}); {log}")
    print(f"use it: --model {output}; to use it by name, also in napari: masked-denoiser models import {output}")


def _recipe(arguments: Namespace) -> TrainingRecipe:
    """Return a preset or the recipe of a JSON file, changed by the settings of the command line."""
    if arguments.recipe in PRESETS:
        recipe = PRESETS[arguments.recipe]
    else:
        path = Path(arguments.recipe)
        if not path.is_file():
            raise TrainingError(f"recipe {arguments.recipe!r} is neither a file nor one of {', '.join(PRESETS)}")
        recipe = TrainingRecipe.from_json(path.read_text())
    return replace(recipe, **checked_values(_settings(arguments)))


def _settings(arguments: Namespace) -> dict[str, Any]:
    """Return the recipe values set on the command line; `--set` takes precedence."""
    named = ("noise", "way", "steps", "minutes", "batch", "rate", "seed")
    settings = {name: value for name in named if (value := getattr(arguments, name, None)) is not None}
    for text in arguments.set or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise TrainingError(f"--set {text} has no '='; write --set patch=32")
        settings[name.strip()] = _value(value.strip())
    return settings


def _value(text: str) -> Any:
    """Return the value of JSON such as 3, [0, 0.75] or "l1"; any other text unchanged."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
