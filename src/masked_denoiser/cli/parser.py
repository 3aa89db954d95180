"""Commands of `masked-denoiser` and their options. Imports stay light, so that `--help` responds immediately."""

from __future__ import annotations

import argparse

from masked_denoiser.cli.options import (
    add_cluster,
    add_job,
    add_last_resort,
    add_messages,
    add_option,
    add_reader,
    add_reading,
    positive,
    seed_number,
)
from masked_denoiser.images.suffixes import OUTPUT_SUFFIXES
from masked_denoiser.jobs.spec.options import OPTIONS
from masked_denoiser.version import program_version


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="masked-denoiser", description="Denoise microscopy and medical images of any size, tile by tile."
    )
    parser.add_argument("--version", action="version", version=program_version())
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    adders = (
        _add_denoise,
        _add_run,
        _add_train,
        _add_fine_tune,
        _add_noise,
        _add_evaluate,
        _add_info,
        _add_models,
        _add_doctor,
        _add_demo,
    )
    for add in adders:
        add(commands)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, handler: str, text: str
) -> argparse.ArgumentParser:
    """Add a command with the options that every command has, and return its parser."""
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    parser.set_defaults(handler=handler)
    return parser


def _add_denoise(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _command(commands, "denoise", "denoise:denoise", "denoise one or more images")
    p.add_argument(
        "input",
        nargs="+",
        help="image of any supported format, or a folder of DICOM files; several files, folders, or patterns such as "
        "'in/*.tif'; FILE::NAME is one image of a file that holds several",
    )
    p.add_argument(
        "output",
        help="path ending in .ome.zarr, .ome.tif, .nii.gz, .mrc or .dicom (a folder); for several images a folder",
    )
    p.add_argument(
        "--ending",
        default="auto",
        choices=("auto", *(suffixes[0] for suffixes in OUTPUT_SUFFIXES.values())),
        help="suffix of the outputs in a folder; auto: as the image for NIfTI, DICOM and MRC, else .ome.zarr "
        "(default: auto)",
    )
    p.add_argument("--resume", action="store_true", help="continue an interrupted job or list of images")
    p.add_argument("--overwrite", action="store_true", help="replace an existing output")
    p.add_argument("--residual", metavar="FILE", help="also write what was removed to FILE, and judge it")
    p.add_argument(
        "--report", metavar="FILE", help="also write a report to FILE (.html): places, noise, spectrum, bias"
    )
    p.add_argument("--save-job", metavar="FILE", help="write the job to FILE for `run`, instead of running it")
    add_reading(p)
    add_job(p)
    add_cluster(p)
    add_messages(p)


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _command(commands, "run", "denoise:run", "run a job file")
    p.add_argument("job", help="JSON file written by `denoise --save-job`")
    p.add_argument("--resume", action="store_true", help="continue an interrupted job")
    p.add_argument("--overwrite", action="store_true", help="replace an existing output")
    p.add_argument("--device", help="cuda:N, to choose among several devices of the job's kind")
    add_last_resort(p)
    p.add_argument("--threads", type=int, help="number of CPU threads (default: all cores)")
    add_cluster(p)
    add_messages(p)


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _command(commands, "train", "train:train", "train a network; use torchrun for several GPUs")
    p.add_argument("images", nargs="+", metavar="FOLDER", help="folders or files of clean images")
    p.add_argument("--recipe", default="paper", help="paper, general, fine-tune, or a JSON file (default: paper)")
    p.add_argument("--from", dest="start", metavar="MODEL", help="model to start from (default: random weights)")
    p.add_argument("--network", choices=("paper", "general"), help="network for random weights (default: by recipe)")
    p.add_argument("--gray", action="store_true", help="start from random weights for one channel instead of RGB")
    _add_training(p, "that of the recipe")


def _add_fine_tune(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _command(commands, "fine-tune", "train:fine_tune", "continue the training of a model on your own images")
    p.add_argument("images", nargs="+", metavar="IMAGES", help="files or folders, clean by default (see --way)")
    p.add_argument(
        "--from",
        dest="start",
        metavar="MODEL",
        default="auto",
        help="model to start from (default: auto, which is general-rgb or general-gray, depending on the images)",
    )
    p.add_argument(
        "--way",
        choices=("clean", "noisy", "pairs"),
        help="clean: noise is added to your images; noisy: only noisy images; pairs: with --clean",
    )
    p.add_argument("--clean", nargs="+", metavar="IMAGES", help="clean images of pairs, in the same order")
    p.add_argument("--validation-clean", nargs="+", metavar="IMAGES", help="clean images of --validation, for pairs")
    _add_training(p, "that of the training of the model, or gaussian(sigma=15) if its card names none")


def _add_training(p: argparse.ArgumentParser, noise: str) -> None:
    """Add the options that `train` and `fine-tune` share; `noise` describes the default noise."""
    p.add_argument("--output", required=True, help="model to write, .safetensors; checkpoint and log go next to it")
    p.add_argument(
        "--noise",
        help="noise recipe that is added to clean images, such as 'gaussian(sigma=0..50)' (see `noise list`; "
        f"default: {noise})",
    )
    p.add_argument("--validation", nargs="+", metavar="IMAGES", help="validation images (default: a held-out part)")
    p.add_argument("--steps", type=int, help="length of the training in steps")
    p.add_argument("--minutes", type=float, help="length of the training in minutes, instead of --steps")
    p.add_argument("--batch", type=int, help="patches per step")
    p.add_argument("--rate", type=float, help="learning rate")
    p.add_argument("--seed", type=int, help="seed of all random numbers")
    p.add_argument("--set", action="append", metavar="NAME=VALUE", help="set any other value of the recipe, as JSON")
    p.add_argument("--licence", default="", metavar="TEXT", help="licence of the new model (default: not stated)")
    add_reader(p)
    p.add_argument("--axes", help="axes of the images, such as ZYX, instead of those that the files state")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    p.add_argument("--threads", type=int, help="number of CPU threads (default: all cores)")
    p.add_argument("--resume", action="store_true", help="continue from the checkpoint")
    p.add_argument("--overwrite", action="store_true", help="start again and replace an existing output")
    p.add_argument("--compile", action="store_true", help="compile the layers first: faster on a GPU")
    p.add_argument("--tensorboard", action="store_true", help="also write TensorBoard logs")
    p.add_argument("--quiet", action="store_true", help="print no progress bar and no notes")
    p.add_argument("--json", action="store_true", help="print a summary as JSON at the end")


def _add_noise(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("noise", help="measure the noise of an image, or add synthetic noise")
    sub = group.add_subparsers(title="commands", required=True, metavar="COMMAND")
    p = _command(sub, "add", "noise:add", "write a noisy copy of an image")
    p.add_argument("input", help="image of any supported format, or a folder of DICOM files")
    p.add_argument("output", help="path ending in .ome.zarr, .ome.tif, .nii.gz or .mrc")
    p.add_argument(
        "--noise",
        required=True,
        help="noise recipe, such as 'poisson(alpha=2) + correlated(sigma=20)', in grey levels of 8-bit images; 255 "
        "grey levels of other images are the range of intensities, or 0 to 1 for floats within it",
    )
    p.add_argument("--seed", type=seed_number, default=0, help="the same seed gives the same noise (default: 0)")
    add_reader(p)
    p.add_argument("--axes", help="axes of the input, such as ZYX, instead of those that the file states")
    p.add_argument("--level", type=int, default=0, help="pyramid level; 0 is full resolution (default: 0)")
    p.add_argument("--overwrite", action="store_true", help="replace an existing output")
    p.add_argument("--quiet", action="store_true", help="print no progress bar and no notes")
    p = _command(sub, "estimate", "noise:estimate", "measure the noise of an image")
    p.add_argument("input", help="image of any supported format, or a folder of DICOM files")
    add_reading(p)
    p.add_argument("--seed", type=seed_number, default=0, help="seed of the sample that is read (default: 0)")
    add_option(p, OPTIONS["modality"])
    p.add_argument("--plot", metavar="PNG", help="plot variance against intensity, with the fitted noise model")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    _command(sub, "list", "noise:list_families", "list the noise families for recipes")


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _command(commands, "evaluate", "evaluate:evaluate", "measure PSNR and SSIM with added noise or on real pairs")
    p.add_argument("images", nargs="*", help="clean 8-bit images, or folders of them, to which noise is added")
    p.add_argument("--model", action="append", metavar="MODEL", help="name or file; may be given more than once")
    p.add_argument(
        "--baseline",
        action="append",
        choices=("noisy", "nlm", "wavelet", "bm3d", "vst-bm3d"),
        help="also evaluate a classical denoiser; may be given more than once",
    )
    p.add_argument("--noise", action="append", help="noise recipe, replaces the defaults; may be repeated")
    p.add_argument("--noisy", metavar="FOLDER", help="noisy images of real pairs")
    p.add_argument("--clean", metavar="FOLDER", help="clean images of the pairs, matched in order of name")
    p.add_argument(
        "--safety",
        action="store_true",
        help="report what the default treatment removes from noisy or clean images, worst result first",
    )
    p.add_argument("--synthetic", action="store_true", help="with --safety: include synthetic images with known truth")
    p.add_argument("--features", action="store_true", help="compare deep features under different noise instead (CKA)")
    p.add_argument("--training-curve", nargs="+", metavar="FOLDER", help="show validations of NAME.training instead")
    p.add_argument("--plot", metavar="PNG", help="also plot the result")
    p.add_argument(
        "--pictures", metavar="PNG", help="also save the first image noisy, denoised and clean; a row per noise"
    )
    p.add_argument("--crop", type=positive, default=0, metavar="N", help="use only the central N x N pixels")
    p.add_argument("--lpips", action="store_true", help="also measure the perceptual distance, by the package lpips")
    p.add_argument("--fit-gain", action="store_true", help="fit gain and offset to the clean image before PSNR")
    p.add_argument("--treat", default="auto", metavar="NOISE", help="as --noise of `denoise` (default: auto)")
    p.add_argument(
        "--passes",
        type=int,
        default=1,
        help="number of passes to average: attention masks, or up to 8 flips and rotations (default: 1)",
    )
    p.add_argument("--seed", type=seed_number, default=0, help="seed of noise and masks (default: 0)")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    p.add_argument("--threads", type=int, help="number of CPU threads (default: all cores)")
    p.add_argument("--quiet", action="store_true", help="print no progress bar")
    p.add_argument("--json", action="store_true", help="print all scores as JSON")


def _add_info(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _command(commands, "info", "info:info", "describe an image and how it would be denoised")
    p.add_argument("input", help="image of any supported format, or a folder of DICOM files")
    add_reading(p)
    p.add_argument(
        "--plan", action="store_true", help="also show what `denoise` would do, and its memory and disk space"
    )
    p.add_argument("--preview", metavar="PNG", help="with --plan --skip-background: draw which tiles are background")
    add_job(p)
    p.add_argument("--json", action="store_true", help="print the result as JSON")


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("models", help="list, describe, import and export models")
    sub = group.add_subparsers(title="commands", required=True, metavar="COMMAND")
    p = _command(sub, "list", "models:list_all", "list the bundled models and your own")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p = _command(sub, "info", "models:info", "show the card of a model")
    p.add_argument("model", help="name or file")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p = _command(sub, "card", "model_card:write", "write the model card (README.md) for the Hugging Face hub")
    p.add_argument("model", help="name or file")
    p.add_argument("--output", metavar="FILE", help="file to write, which must not exist (default: print the card)")
    p = _command(sub, "import", "models:import_", "import a published checkpoint, a model file or a package")
    p.add_argument(
        "checkpoint",
        help=".safetensors of this program, a package of bioimage.io (.zip) that it exported, or a checkpoint of torch "
        "that has the weights of a SwinIR denoiser",
    )
    p.add_argument("--name", help="name of the imported model (default: that of the file)")
    p.add_argument("--output", help="file to write (default: in your model folder)")
    p.add_argument("--no-ema", action="store_true", help="use the plain weights even if there are averaged ones")
    p.add_argument("--global-skip", choices=("yes", "no"), help="network predicts a correction (default: inferred)")
    p.add_argument("--attention-mask", type=float, metavar="SHARE", help="share of masked tokens (default: inferred)")
    p.add_argument("--licence", default="", help="licence of the weights, as their authors state it")
    p.add_argument("--overwrite", action="store_true", help="replace a model of the same name")
    p = _command(sub, "export", "models:export", "write a model for other programs, and check it")
    p.add_argument("model", help="name or file")
    p.add_argument(
        "--to",
        required=True,
        choices=("onnx", "torchscript", "bioimageio", "checkpoint"),
        help="ONNX; TorchScript, for QuPath and DeepImageJ; a package of bioimage.io; or the weights in KAIR's layout",
    )
    p.add_argument("--output", help="file to write (default: the name of the model, in the current folder)")


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _command(commands, "doctor", "doctor:doctor", "show versions, devices and memory, and run a self-test")
    p.add_argument("--json", action="store_true", help="print the result as JSON")
    p.add_argument(
        "--halo", action="store_true", help="measure the error of smaller halos on the sample slide (takes minutes)"
    )
    p.add_argument("--model", help="model whose halo is measured (default: the default model)")


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = _command(commands, "demo", "demo:demo", "denoise the bundled slide and show it before and after")
    p.add_argument("--output", default="demo-output", help="folder for the results (default: demo-output)")
    p.add_argument("--model", help="name or file of a model")
    p.add_argument("--no-window", action="store_true", help="do not open napari")
