"""Train models in a quarter of an hour on a machine with a GPU and little else.

    python tools/train_quarter_hour.py OUT --images train/natural train/histology --test kodak24

Needs torch, numpy, pillow, safetensors and scikit-image; the program itself need not be installed. It checks CUDA
against the CPU, times the network and the training step, trains each model by the clock, and writes into OUT:

    report.json          environment, checks, timings, figures before and after
    NAME.safetensors     each trained model, with its card; every minute as it is then
    NAME.jsonl           its log

Whatever happens in one part is in the report, and the others are done all the same. It ends by itself in `--minutes`.
`--train paper-rgb paper-rgb-unmasked` trains the paper's network and its twin without masks instead. Of the folder
`--test` the middle 256 x 256 pixels of 8 images are used. Checkpoints, which are large, go into a temporary folder.
"""

from __future__ import annotations

import time

BEGAN = time.monotonic()  # before the imports, which may take a while on a cold disk

# ruff: noqa: E402
import argparse
import json
import platform
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from masked_denoiser.inference.compilation import compile_layers, release_layers
from masked_denoiser.messages import Message
from masked_denoiser.models.file import Model, read_model
from masked_denoiser.models.random_weights import random_model
from masked_denoiser.network.build import NETWORKS
from masked_denoiser.network.exact import exact_float32
from masked_denoiser.network.masks import HashedTokenMask
from masked_denoiser.network.ushape_config import UConfig
from masked_denoiser.noise.synthetic.parse import parse_noise
from masked_denoiser.noise.synthetic.recipe import add_noise_to_batch
from masked_denoiser.training.data.batches import BatchMaker
from masked_denoiser.training.data.noise_map import exact_noise_map
from masked_denoiser.training.events import Saved, Stepped, Trained, Validated
from masked_denoiser.training.prepare import TrainingImages, prepare_training
from masked_denoiser.training.recipe import GENERAL, PAPER_RECIPE, TrainingRecipe
from masked_denoiser.training.step import TrainingStep

BUNDLED = ROOT / "src" / "masked_denoiser" / "models" / "bundled"
#: Seconds kept for writing what was learned.
MARGIN = 15.0
#: Standard deviations, in grey levels, of the Gaussian noise of the figures, and of noise blurred by 0.7 pixels.
SIGMAS, BLURRED = (15.0, 50.0), 20.0
#: Side of the test crops, and how many there are at most.
CROP, CROPS = 256, 8
EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class Subject:
    """A model to train: where it begins, how, and its share of the time."""

    base: Callable[[], Model]
    recipe: TrainingRecipe
    share: float


def main() -> None:
    """Do all parts one after the other, and write the report after each."""
    arguments = parsed()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not torch.cuda.is_available() and not arguments.cpu:
        raise SystemExit("torch finds no GPU here; --cpu trains on the CPU all the same")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True  # shapes are few
    report: dict[str, Any] = {"environment": environment(device), "parts": {}}

    def part(name: str, do: Callable[[], Any]) -> Any:
        since = time.monotonic()
        try:
            found = do()
        except Exception as error:  # a machine that is lent for minutes: the other parts are still worth having
            found = {"failed": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()[-4000:]}
        report["parts"][name] = {"seconds": round(time.monotonic() - since, 1), "result": found}
        (arguments.out / "report.json").write_text(json.dumps(report, indent=1, default=str))
        print(f"{time.monotonic() - BEGAN:6.1f} s  {name}: {json.dumps(found, default=str)[:300]}", flush=True)
        return found

    images = part_images(arguments.images, arguments.least_side)
    print(f"{time.monotonic() - BEGAN:6.1f} s  {len(images)} images on {report['environment']['device']}", flush=True)
    crops = test_crops(arguments.test)
    subjects = {name: SUBJECTS[name] for name in arguments.train}
    if device.type == "cuda":
        part("CUDA against the CPU", lambda: compare_with_cpu(device))
    part("network", lambda: time_network(device, subjects))
    whole = sum(subject.share for subject in subjects.values())
    for number, (name, subject) in enumerate(subjects.items()):
        left = 60 * arguments.minutes - (time.monotonic() - BEGAN) - MARGIN * (len(subjects) - number)
        seconds = max(1.0, left * subject.share / whole)
        whole -= subject.share
        part(name, partial(train, name, subject, images, crops, seconds, device, arguments))
    print(f"{time.monotonic() - BEGAN:6.1f} s  done", flush=True)


def parsed() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders of clean images")
    parser.add_argument("--test", type=Path, help="folder of clean images for the figures")
    parser.add_argument("--minutes", type=float, default=9.5, help="for everything together (default: 9.5)")
    parser.add_argument("--train", nargs="+", choices=SUBJECTS, default=["general-rgb", "general-gray"])
    parser.add_argument("--start", type=Path, help="folder of NAME.safetensors to begin with, instead of the bundled")
    parser.add_argument("--batch", type=int, help="patches a step (default: by device)")
    parser.add_argument("--patch", type=int, help="side of a patch (default: as the recipe)")
    parser.add_argument("--rate", type=float, help="learning rate (default: by batch)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu", action="store_true", help="also where there is no GPU")
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    arguments.least_side = arguments.patch or max(SUBJECTS[name].recipe.patch for name in arguments.train)
    return arguments


def environment(device: torch.device) -> dict[str, Any]:
    """Return what the figures depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": name,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }


def part_images(folders: list[Path], least: int) -> list[np.ndarray]:
    """Return all images of the folders that hold a patch, [H, W, 3] uint8."""
    paths = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix.lower() in EXTENSIONS]
    images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return [image for image in images if min(image.shape[:2]) >= least]


def test_crops(folder: Path | None) -> torch.Tensor | None:
    """Return [B, 3, CROP, CROP] in [0, 1], the middle of some images."""
    if folder is None:
        return None
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in EXTENSIONS]
    crops = []
    for path in paths[:: max(1, len(paths) // CROPS)][:CROPS]:
        image = np.asarray(Image.open(path).convert("RGB"))
        top, left = ((side - CROP) // 2 for side in image.shape[:2])
        if min(top, left) >= 0:
            crops.append(image[top : top + CROP, left : left + CROP])
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255 if crops else None


def compare_with_cpu(device: torch.device) -> dict[str, float]:
    """Return the largest difference of each bundled model between CPU and GPU, in float32."""
    differences = {}
    for path in sorted(BUNDLED.glob("*.safetensors")):
        model = read_model(path)
        images = torch.rand(1, model.card.architecture.channels, 128, 128, generator=torch.Generator().manual_seed(0))
        network = model.build()
        with torch.inference_mode(), exact_float32():
            wanted = network(images)
            got = network.to(device)(images.to(device)).cpu()
        differences[path.stem] = float((got - wanted).abs().max())
    return differences


def time_network(device: torch.device, subjects: dict[str, Subject]) -> dict[str, Any]:
    """Return megapixels per second of each network at inference, in float32 and bfloat16."""
    found: dict[str, Any] = {}
    side = 1024 if device.type == "cuda" else 128
    for name, subject in subjects.items():
        model = subject.base()
        network = model.build().to(device).eval()
        images = torch.rand(1, model.card.architecture.channels, side, side, device=device)
        for precision in (torch.float32, torch.bfloat16):
            half = torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16)
            with torch.inference_mode(), exact_float32(), half:
                seconds = seconds_of(partial(network, images), device)
            found[f"{name} {precision}"] = round(side * side / seconds / 1e6, 2)
    return found


def seconds_of(do: Callable[[], Any], device: torch.device, times: int = 3) -> float:
    """Return how long something takes, after a first time that does not count."""
    do()
    wait(device)
    since = time.perf_counter()
    for _ in range(times):
        do()
    wait(device)
    return (time.perf_counter() - since) / times


def wait(device: torch.device) -> None:
    """Wait for what a GPU was given to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def train(
    name: str,
    subject: Subject,
    images: list[np.ndarray],
    crops: torch.Tensor | None,
    seconds: float,
    device: torch.device,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Train one model for so many seconds, and return its figures before and after."""
    since = time.monotonic()
    started = arguments.start / f"{name}.safetensors" if arguments.start else None
    base = read_model(started) if started and started.is_file() else subject.base()
    recipe = replace(subject.recipe, seed=arguments.seed, **by_device(subject.recipe, device, arguments))
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
    before = figures(trainer.state.average, crops, recipe, device)
    profile = {} if arguments.no_compile else compiled(trainer)
    if device.type == "cuda":
        profile |= profiled(trainer, device)
    left = seconds - (time.monotonic() - since) - min(8.0, 0.1 * seconds)  # for the figures after it
    trainer.recipe = replace(recipe, minutes=max(left, 1.0) / 60)
    counted, speed = 0, 0.0
    for event in logged(prepared.run()):
        if isinstance(event, Stepped):
            counted = event.done
            speed = event.done * recipe.batch / max(event.seconds, 1e-9)
        if isinstance(event, Saved):
            step = trainer.state.step
            prepared.model(Trained(step, step, None, "stopped"), name).save(output)
    shutil.copyfile(folder / "log.jsonl", arguments.out / f"{name}.jsonl")
    return {
        "patches": counted * recipe.batch,
        "patches per second": round(speed, 1),
        "batch": recipe.batch,
        "rate": recipe.rate,
        "profile": profile,
        "before": before,
        "after": figures(trainer.state.average, crops, recipe, device),
    }


def by_device(recipe: TrainingRecipe, device: torch.device, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return batch, learning rate and patch of a recipe for a device: large batches for a GPU, with a higher rate."""
    paper = recipe.precision == "float32"
    batch = arguments.batch or (256 if device.type == "cuda" and not paper else recipe.batch)
    rate = arguments.rate or (1e-3 if batch >= 128 and not paper else recipe.rate)
    return {"batch": batch, "rate": rate, "patch": arguments.patch or recipe.patch, "validate_every": 0}


def logged(events: Iterator[Any]) -> Iterator[Any]:
    """Print what a training says, and the loss now and then."""
    last = 0.0
    for event in events:
        if isinstance(event, Message | Validated | Trained) or time.monotonic() - last > 20:
            print(f"    {str(event)[-200:]}", flush=True)
            last = time.monotonic()
        yield event


def compiled(trainer: Any) -> dict[str, Any]:
    """Compile the layers before the clock of the training begins; without them if that fails in whatever way."""
    since = time.perf_counter()
    try:
        compile_layers(trainer.state.network, dynamic=False)
        with restored(trainer):
            one_step(trainer, 0)
        return {"compiled in s": round(time.perf_counter() - since, 1)}
    except Exception as error:
        release_layers(trainer.state.network)
        return {"not compiled": f"{type(error).__name__}: {error}"[:1000]}


def profiled(trainer: Any, device: torch.device) -> dict[str, Any]:
    """Return milliseconds of the parts of a step, and what in it waits for the GPU."""
    maker = batch_maker(trainer)
    torch.cuda.reset_peak_memory_stats(device)
    found: dict[str, Any] = {}
    try:
        with restored(trainer):
            found["patches ms"] = 1e3 * seconds_of(lambda: trainer.patches.get(0), device)
            found["patches and noise ms"] = 1e3 * seconds_of(lambda: maker.make(trainer.patches.get(0), 0), device)
            found["whole step ms"] = 1e3 * seconds_of(lambda: one_step(trainer, 0), device)
            found["memory GiB"] = torch.cuda.max_memory_allocated(device) / 2**30
            with warnings.catch_warnings(record=True) as waits:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                one_step(trainer, 1)
            found["waits"] = [f"{w.filename}:{w.lineno} {w.message}"[-200:] for w in waits]
    except Exception as error:
        found["failed"] = f"{type(error).__name__}: {error}"[:1000]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {key: round(value, 2) if isinstance(value, float) else value for key, value in found.items()}


def batch_maker(trainer: Any) -> BatchMaker:
    """Return what makes the batches of a training."""
    takes_map = bool(getattr(trainer.state.network.config, "noise_map", False))
    return BatchMaker(trainer.recipe, trainer.device, takes_map)


def one_step(trainer: Any, number: int) -> None:
    """Make a step that changes no weights."""
    step = TrainingStep(trainer.recipe, trainer.state, trainer.device, trainer.ranks, trainer.cancel, print)
    step(batch_maker(trainer).make(trainer.patches.get(number), number), 0.0, 1.0)


@contextmanager
def restored(trainer: Any) -> Iterator[None]:
    """Give a training back as it was before some steps were tried."""
    state = trainer.state
    weights = {key: value.clone() for key, value in state.network.state_dict().items()}
    try:
        yield
    finally:
        for network in (state.network, state.average):
            network.load_state_dict(weights)
        state.optimiser.state.clear()
        state.step = 0


@torch.inference_mode()
def figures(network: Any, crops: torch.Tensor | None, recipe: TrainingRecipe, device: torch.device) -> dict[str, float]:
    """Return PSNR in dB on the test crops, with the noise map and without it where the network takes one."""
    if crops is None:
        return {}
    clean = crops.to(device) if network.config.channels == 3 else crops.mean(dim=1, keepdim=True).to(device)
    generator, found = torch.Generator(device).manual_seed(1), {}
    takes_map = bool(getattr(network.config, "noise_map", False))
    ratio = recipe.inference_mask
    tokens = HashedTokenMask(ratio, 0, 0, ((0, 0),), device=device) if ratio else None
    noises = [*(f"gaussian(sigma={sigma:g})" for sigma in SIGMAS), f"blurred(sigma={BLURRED:g}, width=0.7)", "none"]
    for noise in noises:
        noisy = add_noise_to_batch(clean, parse_noise(noise), generator, np.random.default_rng(0))
        noisy = (noisy * 255).round() / 255
        for known in (True, False) if takes_map else (False,):
            with exact_float32():
                outs = [
                    network(n[None], tokens, exact_noise_map(n[None], c[None])) if known else network(n[None], tokens)
                    for n, c in zip(noisy, clean, strict=True)
                ]
            out = (torch.cat(outs).float().clamp(0, 1) * 255).round() / 255
            error = (out - clean).square().mean(dim=(1, 2, 3)).clamp(min=1e-8)
            found[noise + (" with map" if known else "")] = round(float((-10 * error.log10()).mean()), 3)
    return found


def general(channels: int) -> Callable[[], Model]:
    """Return what begins a general model: the bundled one, with a noise map that starts at zero weight."""

    def base() -> Model:
        bundled = read_model(BUNDLED / f"general-{'rgb' if channels == 3 else 'gray'}.safetensors")
        config = bundled.card.architecture
        assert isinstance(config, UConfig)
        return bundled if config.noise_map else with_noise_map(bundled, config)

    return base


def with_noise_map(model: Model, config: UConfig, limit: float = 5.0) -> Model:
    """Return a model whose network also takes a noise map: its new input channels start at zero weight."""
    wider = replace(config, noise_map=True, limit=limit)
    weights, new = dict(model.weights), random_model(wider).weights
    stem = torch.zeros_like(new["stem.weight"])
    stem[:, : weights["stem.weight"].shape[1]] = weights["stem.weight"]
    return Model(replace(model.card, architecture=wider), weights | {"stem.weight": stem})


def paper() -> Model:
    """Return the paper's network with random weights."""
    return random_model(NETWORKS["paper"])


_PAPER = replace(PAPER_RECIPE, schedule="cosine", mask_rise=0.2, clip=1.0)
_UNMASKED = replace(_PAPER, masked_patches=0.0, attention_mask=(0.0, 0.0))
SUBJECTS = {
    "general-rgb": Subject(general(3), GENERAL, 2.0),
    "general-gray": Subject(general(1), replace(GENERAL, microscope=0.35), 1.0),
    "paper-rgb": Subject(paper, _PAPER, 1.0),
    "paper-rgb-unmasked": Subject(paper, _UNMASKED, 1.0),
}

if __name__ == "__main__":
    main()
