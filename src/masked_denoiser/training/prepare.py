"""Preparation of a training: all checks that can fail before the first step, and the trainer, ready to run."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from masked_denoiser.errors import TrainingError
from masked_denoiser.images.source import Source
from masked_denoiser.inference.device import choose_device, computes_bfloat16, describe
from masked_denoiser.models.card import Card
from masked_denoiser.models.catalogue import DEFAULT, check_new_path, load_model
from masked_denoiser.models.file import Model
from masked_denoiser.network.build import NetworkConfig
from masked_denoiser.training.checkpoint import new_state
from masked_denoiser.training.data.dataset import TrainingImages, open_images, skipped_notes
from masked_denoiser.training.data.lazy_patches import LazyPatches
from masked_denoiser.training.data.noisy_images import noisy_image
from masked_denoiser.training.data.patch_source import PatchSource
from masked_denoiser.training.data.patches import PatchSampler
from masked_denoiser.training.data.resident_patches import ResidentPatches, fits_on_device
from masked_denoiser.training.data.validation_split import make_samplers
from masked_denoiser.training.distributed import ProcessGroup
from masked_denoiser.training.events import ESTIMATED, Trained, brief_noise
from masked_denoiser.training.fingerprint import training_identity
from masked_denoiser.training.recipe import TrainingRecipe
from masked_denoiser.training.run_folder import RunFolder
from masked_denoiser.training.trained_card import check_licence, trained_card
from masked_denoiser.training.trainer import Event, Trainer
from masked_denoiser.training.validation import Validator, make_validator, unseen_noises


@dataclass(frozen=True)
class PreparedTraining:
    """Training that is ready to run.

    Attributes:
        trainer: the trainer.
        run_folder: folder of checkpoint and log; None where nothing is written.
        messages: choices made on behalf of the user, and the cautions.
        cautions: likely mistakes, and what limits the result.
        base: the model that the training starts from.
        sources: the images that are trained with.
        files: open files, which `run` closes at its end.
        output: file of the trained model; None writes no model.
        licence: licence of the trained model; "" if it is not stated.
    """

    trainer: Trainer
    run_folder: RunFolder | None
    messages: tuple[str, ...]
    cautions: tuple[str, ...]
    base: Model
    sources: tuple[Source, ...]
    files: ExitStack
    output: Path | None = None
    licence: str = ""

    def run(self) -> Iterator[Event]:
        """Train, write the log, save the model at the end, and yield the events of `Trainer.run`."""
        try:
            for event in self.trainer.run():
                if self.run_folder is not None and self.trainer.ranks.first:
                    self.run_folder.log(event)
                if isinstance(event, Trained) and self.output is not None and self.trainer.ranks.first:
                    self.model(event).save(self.output)
                yield event
        finally:
            self.files.close()
            if self.run_folder is not None:
                self.run_folder.close()

    def model(self, trained: Trained, name: str = "") -> Model:
        """Return the trained model, with its card.

        Args:
            trained: the last event of the training.
            name: name of the model; by default that of the output.
        """
        state = self.trainer.state
        last = self.trainer.keeps_last(trained.why)
        weights = state.average.state_dict() if last else state.best
        weights = {key: tensor.detach().cpu().float() for key, tensor in weights.items()}
        name = name or (self.output.stem if self.output else "trained")
        return Model(trained_card(name, trained, self.trainer, self.base, self.sources, self.licence), weights)


def _precision_notes(recipe: TrainingRecipe, device: torch.device) -> list[str]:
    """Return a note if the precision of the recipe is slower than float32 on this device."""
    if recipe.precision == "float32" or device.type != "cpu" or computes_bfloat16(device):
        return []
    return ["this CPU has no instructions for bfloat16 and computes it slowly; add --set precision=float32"]


def _mask_notes(recipe: TrainingRecipe, card: Card) -> list[str]:
    """Return a note if a trained model is continued with another share of masked attention tokens."""
    before, after = card.architecture.attention_mask, recipe.inference_mask
    if before == after or not card.training:
        return []
    return [
        f"{card.name} masks {before:.0%} of the attention tokens, and with this recipe {after:.0%}: it is another "
        "network, and the scores before the training are not those of the model; `fine-tune` keeps the masks of a model"
    ]


def _noise_notes(sources: Sequence[Source], recipe: TrainingRecipe, cancel: threading.Event | None) -> list[str]:
    """Return a note if images that are given as clean are noisy."""
    noisy = noisy_image(sources, cancel) if recipe.way == "clean" else ""
    if not noisy:
        return []
    return [f"{noisy}; as a clean image it teaches the network to keep this noise: train with noisy images instead"]


def prepare_training(
    images: TrainingImages,
    recipe: TrainingRecipe,
    *,
    base: Model | str | Path = DEFAULT,
    output: Path | None = None,
    folder: Path | None = None,
    device: str | torch.device = "auto",
    resume: bool = False,
    overwrite: bool = False,
    tensorboard: bool = False,
    ranks: ProcessGroup | None = None,
    cancel: threading.Event | None = None,
    compile: bool = False,
    licence: str = "",
) -> PreparedTraining:
    """Prepare a training.

    Args:
        images: the images.
        recipe: how to train.
        base: the model to start from, its name or its path; see `start_network` for one with random weights.
        output: `.safetensors` file to write at the end; None writes no model.
        folder: folder for checkpoint and log; None writes neither.
        device: name of the device as for denoising, or a torch device.
        resume: continue from the checkpoint in `folder`.
        overwrite: replace `output` and the files of an earlier training in `folder`.
        tensorboard: also write TensorBoard logs.
        ranks: this process in the group of training processes.
        cancel: stops the preparation, and later the training.
        compile: compile the layers of the network where a compiler is installed, which is faster on a GPU.
        licence: licence of the trained model, for its card; "" if it is not stated.

    Raises:
        StoppedEarlyError: if `cancel` is set before the training is ready.
        MaskedDenoiserError: before anything is written, if the arguments or images are invalid.
    """
    ranks = ranks or ProcessGroup()
    check_licence(licence)
    run_folder = RunFolder(folder) if folder is not None else None
    _check_output(output, run_folder, resume, overwrite)
    chosen, note = choose_device(device) if isinstance(device, str) else (device, f"computing on {describe(device)}")
    model = base if isinstance(base, Model) else load_model(base)
    _check_sizes(recipe, model.card.architecture, ranks)
    with ExitStack() as files:
        sources = open_images(images.images, files, images.axes, cancel, images.reader)
        training, validation = make_samplers(images, sources, files, recipe, model.card.architecture, cancel)
        trainer = Trainer(
            recipe,
            new_state(model, recipe, chosen),
            training,
            make_patch_source(training, recipe, chosen),
            chosen,
            validator=make_validator(validation, recipe) if ranks.first else None,
            checkpoint=run_folder.checkpoint if run_folder else None,
            identity=training_identity(recipe, model, sources, training, validation),
            ranks=ranks,
            cancel=cancel or threading.Event(),
            compile=compile,
        )
        cautions = [*skipped_notes(images), *_source_notes(sources), *_noise_notes(sources, recipe, cancel)]
        cautions += [*_precision_notes(recipe, trainer.device), *_score_notes(trainer.validator)]
        cautions += _mask_notes(recipe, model.card)
        messages = [*cautions, *_notes(sources, images, recipe, model), *_estimate_notes(trainer.validator), note]
        if run_folder is not None:
            messages += _open_folder(run_folder, trainer, resume, tensorboard)
        texts = tuple(messages), tuple(cautions)
        return PreparedTraining(trainer, run_folder, *texts, model, tuple(sources), files.pop_all(), output, licence)


def make_patch_source(sampler: PatchSampler, recipe: TrainingRecipe, device: torch.device) -> PatchSource:
    """Return the source of patches: images resident on the device if they fit, else patches read ahead."""
    kind = ResidentPatches if fits_on_device(sampler, device) else LazyPatches
    return kind(sampler, recipe, device)


def training_folder(output: Path) -> Path:
    """Return the folder of a model's checkpoint and log: `mine.safetensors` -> `mine.training`."""
    return output.with_suffix(".training")


def _open_folder(run_folder: RunFolder, trainer: Trainer, resume: bool, tensorboard: bool) -> list[str]:
    """Load the checkpoint or clear the folder, open the log, and return notes for the user."""
    if resume:
        trainer.state.load(run_folder.checkpoint, trainer.identity)
        trainer.state.apply_changed_settings(trainer.recipe)
    if trainer.ranks.first:
        run_folder.open(trainer.recipe, clear=not resume, tensorboard=tensorboard)
    return [f"resuming after step {trainer.state.step}"] if resume else []


def _check_output(output: Path | None, run_folder: RunFolder | None, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise TrainingError("--resume continues a training and --overwrite restarts it; give only one of them")
    if output is not None:
        check_new_path(output)  # not after hours of training
    if output is not None and not output.parent.is_dir():
        problem = "is not a folder" if output.parent.exists() else "does not exist"
        raise TrainingError(f"{output.parent} {problem}; name an existing folder")
    has_checkpoint = run_folder is not None and run_folder.checkpoint.exists()
    if resume and not has_checkpoint:
        where = run_folder.folder if run_folder else "the training"
        raise TrainingError(f"{where} has no checkpoint to resume from; omit --resume")
    if resume or overwrite:
        return
    if has_checkpoint and run_folder is not None:
        raise TrainingError(f"{run_folder.folder} contains a training; continue it with --resume, or use --overwrite")
    if output is not None and output.exists():
        raise TrainingError(f"{output} exists; choose another name, or replace it with --overwrite")


def _check_sizes(recipe: TrainingRecipe, config: NetworkConfig, ranks: ProcessGroup) -> None:
    if recipe.patch % config.grid:
        multiple = max(recipe.patch // config.grid, 1) * config.grid
        raise TrainingError(
            f"patch is {recipe.patch}; choose a multiple of {config.grid} for this model (--set patch={multiple})"
        )
    if recipe.batch % ranks.count:
        raise TrainingError(f"batch is {recipe.batch}; choose a multiple of {ranks.count}, the number of processes")


def _source_notes(sources: list[Source]) -> list[str]:
    """Return up to five distinct notes on assumptions made when images were opened."""
    return list(dict.fromkeys(note for source in sources for note in source.notes))[:5]


def _notes(sources: list[Source], images: TrainingImages, recipe: TrainingRecipe, model: Model) -> list[str]:
    """Return notes on noise, channels, validation and scores."""
    notes = [_added_noise(recipe, model.card)] if recipe.way == "clean" else []
    channels = model.card.architecture.channels
    gray = sum(not source.rgb for source in sources)
    if channels == 3 and gray:
        notes.append(f"{model.card.name} is an RGB model: the planes of {gray} gray images are repeated three times")
    if channels == 1 and gray < len(sources):
        notes.append(f"{model.card.name} is a gray model: red, green and blue are trained as separate planes")
    if not images.validation:
        notes.append("a part of the images is held out for validation")
    trained = set(recipe.unseen) - set(unseen_noises(recipe))
    if trained:
        notes.append(f"{', '.join(sorted(trained))}: not validated as unseen, as the training has noise of this kind")
    return notes


def _added_noise(recipe: TrainingRecipe, card: Card) -> str:
    """Return a note on the noise that is trained with, and whether the model was last trained with it, too."""
    before = card.training.get("recipe")  # text in cards that were written by hand
    stated = before if isinstance(before, dict) else {}
    same = stated.get("way", "clean") == "clean" and stated.get("noise") == recipe.noise
    origin = f", as in the training of {card.name}" if same else ""
    return f"noise that is added to the images: {brief_noise(recipe.noise)}{origin}"


def _estimate_notes(validator: Validator | None) -> list[str]:
    """Return a note on what is compared in a training without clean images."""
    if validator is None or validator.trained != ESTIMATED:
        return []
    return [f"no clean images: PSNR compares with the {ESTIMATED}, as estimated from the measured noise"]


def _score_notes(validator: Validator | None) -> list[str]:
    """Return a note if the scores of a training without clean images do not tell how good it is."""
    if validator is None or not validator.why_hidden:
        return []
    return [
        f"the noise is not known well enough to estimate PSNR, as {validator.why_hidden}: PSNR compares hidden pixels "
        "with the noisy image, and does not tell whether the model became better; compare it with the original by eye"
    ]
