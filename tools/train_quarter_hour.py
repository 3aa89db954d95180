"""Train models within a quarter of an hour, on a machine with a GPU and few packages.

    python tools/train_quarter_hour.py OUT --images train/natural train/histology --test kodak24

Needs torch, numpy, pillow, safetensors and scikit-image; the package itself need not be installed. It compares CUDA
with the CPU, times the network and the training step, trains each model for a share of the time, and writes to OUT:

    report.json          environment, checks, timings, figures before and after
    NAME.safetensors     each trained model with its card, updated every minute
    NAME.jsonl           training log

A part that fails is reported and the others are run; the exit status is then 1. It ends after `--minutes`, at most
`--grace` seconds later: what still runs then is ended, and the models of the last minute are kept. Files that are no
images, copies and images of one colour are listed and omitted. `--train paper-rgb paper-rgb-unmasked`
trains the paper's network with and without masks instead. PSNR is measured on the central 256 x 256 pixels of up to 8
images in `--test`. Checkpoints, which are large, are written to a temporary folder.
"""

from __future__ import annotations

import time

STARTED = time.monotonic()  # before the imports, which are slow from a cold disk

# ruff: noqa: E402
import argparse
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tools")]

from training_measurements import (
    CROP,
    EXTENSIONS,
    central_crops,
    compare_with_cpu,
    compile_trainer,
    measure_psnr,
    profile_step,
    time_network,
)

from masked_denoiser.messages import Message
from masked_denoiser.models.file import Model, read_model
from masked_denoiser.models.random_weights import random_model
from masked_denoiser.network.build import NETWORKS
from masked_denoiser.network.ushape_config import UConfig
from masked_denoiser.training.data.dataset import TrainingImages
from masked_denoiser.training.events import Saved, Stepped, Trained, Validated
from masked_denoiser.training.prepare import prepare_training
from masked_denoiser.training.recipe import GENERAL, PAPER_RECIPE, TrainingRecipe

#: Folder of the bundled models.
BUNDLED = ROOT / "src" / "masked_denoiser" / "models" / "bundled"

#: Seconds after the limit at which a process ends that cannot write its report.
HANGING_REPORT = 5.0

#: Seconds reserved for saving each model.
SAVING_MARGIN = 15.0

#: Shortest training in seconds for which layers are compiled.
MIN_SECONDS_TO_COMPILE = 60.0


@dataclass(frozen=True)
class Subject:
    """Model to train: its start, its recipe, and its share of the time."""

    base: Callable[[], Model]
    recipe: TrainingRecipe
    share: float


def main() -> None:
    """Run all parts in order and write the report after each."""
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not torch.cuda.is_available() and not arguments.cpu:
        raise SystemExit("torch finds no GPU; give --cpu to train on the CPU")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True  # there are few shapes
    report: dict[str, Any] = {"environment": environment(device), "parts": {}}
    report_path = arguments.out / "report.json"
    end_in_time(STARTED + 60 * arguments.minutes + arguments.grace, report, report_path)
    images, omitted = read_images(arguments.images, arguments.min_side)
    if not images:
        raise SystemExit(f"no images of {arguments.min_side} pixels or more in {arguments.images}; give other folders")
    tests, omitted_tests = read_images([arguments.test] if arguments.test else [], CROP)
    report["omitted images"] = omitted + omitted_tests
    write_report(report, report_path)

    def run_part(name: str, run: Callable[[], Any]) -> Any:
        started = time.monotonic()
        report["running"] = name
        try:
            result = run()
        except Exception as error:  # the time on the machine is limited: run the other parts
            result = {"failed": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()[-4000:]}
        report["parts"][name] = {"seconds": round(time.monotonic() - started, 1), "result": result}
        del report["running"]
        write_report(report, report_path)
        print(f"{time.monotonic() - STARTED:6.1f} s  {name}: {json.dumps(result, default=str)[:300]}", flush=True)
        return result

    print(f"{time.monotonic() - STARTED:6.1f} s  {len(images)} images on {report['environment']['device']}", flush=True)
    crops = central_crops(tests)
    subjects = {name: SUBJECTS[name] for name in arguments.train}
    if device.type == "cuda":
        run_part("CUDA against the CPU", lambda: compare_with_cpu(BUNDLED, device))
    run_part("network", lambda: time_network({name: subject.base() for name, subject in subjects.items()}, device))
    remaining_share = sum(subject.share for subject in subjects.values())
    for number, (name, subject) in enumerate(subjects.items()):
        left = 60 * arguments.minutes - (time.monotonic() - STARTED) - SAVING_MARGIN * (len(subjects) - number)
        seconds = max(1.0, left * subject.share / remaining_share)
        remaining_share -= subject.share
        run_part(name, partial(train, name, subject, images, crops, seconds, device, arguments))
    print(f"{time.monotonic() - STARTED:6.1f} s  done", flush=True)
    if any(is_failed(part["result"]) for part in report["parts"].values()):
        raise SystemExit(1)


def is_failed(result: Any) -> bool:
    """Return whether a result is that of a part that failed."""
    return isinstance(result, dict) and "failed" in result


def write_report(report: dict[str, Any], path: Path) -> None:
    """Write the report, and replace an earlier one only when it is complete."""
    temporary = path.with_suffix(f".{threading.get_ident()}.new")
    temporary.write_text(json.dumps(report, indent=1, default=str))
    temporary.replace(path)


def end_in_time(limit: float, report: dict[str, Any], path: Path) -> None:
    """End this process at a time of `time.monotonic`, whatever it does: a disk, a compiler or a GPU may hang."""

    def end() -> None:
        report["ended"] = f"after {time.monotonic() - STARTED:.0f} s, during: {report.get('running', 'nothing')}"
        try:
            write_report(dict(report), path)
            print(f"ended {report['ended']}", flush=True)
        finally:
            os._exit(1)

    left = max(0.0, limit - time.monotonic())
    # The second timer ends a process whose report or output hangs.
    for watchdog in (threading.Timer(left, end), threading.Timer(left + HANGING_REPORT, os._exit, (1,))):
        watchdog.daemon = True
        watchdog.start()


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders of clean images")
    parser.add_argument("--test", type=Path, help="folder of clean images to measure PSNR on")
    parser.add_argument("--minutes", type=float, default=9.5, help="total time (default: 9.5)")
    parser.add_argument("--grace", type=float, default=25.0, help="seconds after that time (default: 25)")
    parser.add_argument("--train", nargs="+", choices=SUBJECTS, default=["general-rgb", "general-gray"])
    parser.add_argument("--start", type=Path, help="folder of NAME.safetensors to start from (default: bundled models)")
    parser.add_argument("--batch", type=int, help="patches per step (default: by device)")
    parser.add_argument("--patch", type=int, help="side of a patch (default: by recipe)")
    parser.add_argument("--rate", type=float, help="learning rate (default: by batch)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu", action="store_true", help="train on the CPU if there is no GPU")
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    arguments.min_side = arguments.patch or max(SUBJECTS[name].recipe.patch for name in arguments.train)
    return arguments


def environment(device: torch.device) -> dict[str, Any]:
    """Return the versions and hardware that the results depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": name,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }


def read_images(folders: list[Path], min_side: int) -> tuple[list[np.ndarray], list[str]]:
    """Return the images in folders that are at least this large in pixels, [H, W, 3] uint8, and why others are not."""
    images: dict[bytes, np.ndarray] = {}
    omitted = []
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.suffix.lower() not in EXTENSIONS:
            continue
        try:
            image = np.asarray(Image.open(path).convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            omitted.append(f"{path}: {error}")
            continue
        digest = hashlib.sha256(image.tobytes()).digest()
        if min(image.shape[:2]) < min_side or digest in images or (image == image[0, 0]).all():
            omitted.append(f"{path}: too small, a copy of another one, or of one colour")
            continue
        images[digest] = image
    return list(images.values()), omitted


def train(
    name: str,
    subject: Subject,
    images: list[np.ndarray],
    crops: torch.Tensor | None,
    seconds: float,
    device: torch.device,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Train one model for this many seconds and return its PSNR before and after, and its speed."""
    started = time.monotonic()
    start = arguments.start / f"{name}.safetensors" if arguments.start else None
    base = read_model(start) if start and start.is_file() else subject.base()
    recipe = replace(subject.recipe, seed=arguments.seed, **device_settings(subject.recipe, device, arguments))
    output, folder = arguments.out / f"{name}.safetensors", Path(tempfile.mkdtemp()) / name
    prepared = prepare_training(
        TrainingImages(tuple(images), axes="YXS"),
        recipe,
        base=base,
        output=output,
        folder=folder,
        device=device,
        overwrite=True,
    )
    trainer = prepared.trainer
    before = measure_psnr(trainer.state.average, crops, recipe, device)
    too_short = seconds < MIN_SECONDS_TO_COMPILE
    profile = {} if arguments.no_compile or too_short else compile_trainer(trainer)
    if device.type == "cuda":
        profile |= profile_step(trainer, device)
    left = seconds - (time.monotonic() - started) - min(8.0, 0.1 * seconds)  # reserved for the PSNR after it
    trainer.recipe = replace(recipe, minutes=max(left, 1.0) / 60)
    steps, speed = 0, 0.0
    try:
        for event in print_events(prepared.run()):
            if isinstance(event, Stepped):
                steps = event.done
                speed = event.done * recipe.batch / max(event.seconds, 1e-9)
            if isinstance(event, Saved):
                step = trainer.state.step
                prepared.model(Trained(step, step, None, "stopped"), name).save(output)
    finally:
        shutil.copyfile(folder / "log.jsonl", arguments.out / f"{name}.jsonl")
    return {
        "patches": steps * recipe.batch,
        "patches per second": round(speed, 1),
        "batch": recipe.batch,
        "rate": recipe.rate,
        "profile": profile,
        "before": before,
        "after": measure_psnr(trainer.state.average, crops, recipe, device),
    }


def device_settings(recipe: TrainingRecipe, device: torch.device, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return batch, learning rate and patch for a device: large batches with a higher rate on a GPU."""
    is_paper = recipe.precision == "float32"
    batch = arguments.batch or (256 if device.type == "cuda" and not is_paper else recipe.batch)
    rate = arguments.rate or (1e-3 if batch >= 128 and not is_paper else recipe.rate)
    return {"batch": batch, "rate": rate, "patch": arguments.patch or recipe.patch, "validate_every": 0}


def print_events(events: Iterator[Any]) -> Iterator[Any]:
    """Yield the events of a training; print messages and validations, and a step every 20 seconds."""
    last = 0.0
    for event in events:
        if isinstance(event, Message | Validated | Trained) or time.monotonic() - last > 20:
            print(f"    {str(event)[-200:]}", flush=True)
            last = time.monotonic()
        yield event


def general_base(channels: int) -> Callable[[], Model]:
    """Return a function that makes the start of a general model: the bundled one with a noise map of zero weight."""

    def base() -> Model:
        bundled = read_model(BUNDLED / f"general-{'rgb' if channels == 3 else 'gray'}.safetensors")
        config = bundled.card.architecture
        assert isinstance(config, UConfig)
        return bundled if config.noise_map else with_noise_map(bundled, config)

    return base


def with_noise_map(model: Model, config: UConfig, limit: float = 5.0) -> Model:
    """Return the model with a noise map as additional input channels, whose weights are zero."""
    wider = replace(config, noise_map=True, limit=limit)
    weights, new = dict(model.weights), random_model(wider).weights
    stem = torch.zeros_like(new["stem.weight"])
    stem[:, : weights["stem.weight"].shape[1]] = weights["stem.weight"]
    return Model(replace(model.card, architecture=wider), weights | {"stem.weight": stem})


def paper_base() -> Model:
    """Return the paper's network with random weights."""
    return random_model(NETWORKS["paper"])


_PAPER = replace(PAPER_RECIPE, schedule="cosine", mask_rise=0.2, clip=1.0)
_UNMASKED = replace(_PAPER, masked_patches=0.0, attention_mask=(0.0, 0.0))
SUBJECTS = {
    "general-rgb": Subject(general_base(3), GENERAL, 2.0),
    "general-gray": Subject(general_base(1), replace(GENERAL, microscope=0.35), 1.0),
    "paper-rgb": Subject(paper_base, _PAPER, 1.0),
    "paper-rgb-unmasked": Subject(paper_base, _UNMASKED, 1.0),
}

if __name__ == "__main__":
    main()
