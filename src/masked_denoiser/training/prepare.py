"""From what a user asked for to a trainer that is ready to run: everything that can fail early fails here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from masked_denoiser.errors import TrainingError
from masked_denoiser.images.source import Source
from masked_denoiser.inference.device import choose_device, describe
from masked_denoiser.models.card import Card
from masked_denoiser.models.catalogue import DEFAULT, load_model
from masked_denoiser.models.file import Model
from masked_denoiser.network.build import NetworkConfig
from masked_denoiser.training.checkpoint import new_state
from masked_denoiser.training.data.checks import check_images
from masked_denoiser.training.data.dataset import Given, check_apart, held_out_sampler, make_images, open_images, split
from masked_denoiser.training.data.lazy_patches import LazyPatches
from masked_denoiser.training.data.patch_source import PatchSource
from masked_denoiser.training.data.patches import PatchSampler, Rectangle, TrainingImage
from masked_denoiser.training.data.resident_patches import ResidentPatches, fits_on_device
from masked_denoiser.training.distributed import ProcessGroup
from masked_denoiser.training.events import Trained
from masked_denoiser.training.fingerprint import training_identity
from masked_denoiser.training.recipe import TrainingRecipe
from masked_denoiser.training.run_folder import RunFolder
from masked_denoiser.training.trainer import Event, Trainer
from masked_denoiser.training.validation import make_validator, really_unseen
from masked_denoiser.version import program_version


@dataclass(frozen=True)
class TrainingImages:
    """What to learn from, as `open_images` takes it.

    Attributes:
        images: clean images; noisy ones in the ways "noisy" and "pairs".
        clean: the truths of pairs.
        validation: images to validate with; a part of `images` is held out if there are none.
        validation_clean: their truths, in the way "pairs".
        axes: of the images, where their files do not name them.
        regions: for each of `images` the rectangles of rows and columns that learning is confined to, none for all of
            it; nothing at all if no image is confined.
    """

    images: tuple[Given, ...]
    clean: tuple[Given, ...] = ()
    validation: tuple[Given, ...] = ()
    validation_clean: tuple[Given, ...] = ()
    axes: str | None = None
    regions: tuple[tuple[Rectangle, ...], ...] = ()


@dataclass(frozen=True)
class PreparedTraining:
    """A trainer, and what the user should know before it runs.

    Attributes:
        trainer: ready to run.
        record: the training's folder; None where nothing is written.
        messages: choices that were made for the user.
        base: the model that it begins with.
        sources: the images that are learned from.
        files: closes what was opened; `run` does so at its end.
        output: where the trained model goes; None for nowhere.
    """

    trainer: Trainer
    record: RunFolder | None
    messages: tuple[str, ...]
    base: Model
    sources: tuple[Source, ...]
    files: ExitStack
    output: Path | None = None

    def run(self) -> Iterator[Event]:
        """Trains, keeps the log, and writes the model at the end; the events of `Trainer.run`."""
        try:
            for event in self.trainer.run():
                if self.record is not None and self.trainer.ranks.first:
                    self.record.add(event)
                if isinstance(event, Trained) and self.output is not None and self.trainer.ranks.first:
                    self.model(event).save(self.output)
                yield event
        finally:
            self.files.close()
            if self.record is not None:
                self.record.close()

    def model(self, trained: Trained, name: str = "") -> Model:
        """The trained model, with its card.

        Args:
            trained: how the training ended.
            name: of the model; that of the output by default.
        """
        state = self.trainer.state
        last = self.trainer.keeps_last(trained.why)
        weights = state.average.state_dict() if last else state.best
        weights = {key: tensor.detach().cpu().float() for key, tensor in weights.items()}
        return Model(self._card(trained, name or (self.output.stem if self.output else "trained")), weights)

    def _card(self, trained: Trained, name: str) -> Card:
        recipe, base = self.trainer.recipe, self.base.card
        architecture = replace(base.architecture, attention_mask=recipe.inference_mask)
        training = {
            "recipe": json.loads(recipe.to_json()),
            "steps": trained.step,
            "kept_step": trained.best_step,
            "ended": trained.why,
            "hours": round(self.trainer.state.seconds / 3600, 3),
            "hardware": describe(self.trainer.device) + (f" x {n}" if (n := self.trainer.ranks.count) > 1 else ""),
            "validation_psnr_before": trained.before,
            "validation_psnr": trained.after,
            "program": f"napari-masked-denoiser {program_version()}",
            "begun_from": {"name": base.name, "digest": self.base.digest, "training": base.training},
        }
        what = {"clean": f"noise {recipe.noise}", "noisy": "noisy images without truth", "pairs": "pairs"}[recipe.way]
        return Card(
            name=name,
            architecture=architecture,
            description=f"{base.name}, trained for {trained.best_step} steps on {len(self.sources)} images: {what}.",
            training=training,
            data=[f"{source.name}, {source.axes} {source.shape}" for source in self.sources[:100]] + list(base.data),
            licence=base.licence,
            source=f"trained from {base.name}",
        )


def prepare_training(
    given: TrainingImages,
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
) -> PreparedTraining:
    """Prepare a training.

    Args:
        given: the images.
        recipe: how to train.
        base: the model to begin with, its name or its path; see `start_network` for one with random weights.
        output: `.safetensors` to write at the end; None for none.
        folder: for checkpoint and log; None keeps none.
        device: as for denoising, or a torch device.
        resume: go on from the checkpoint in `folder`.
        overwrite: replace `output`, and what an earlier training left in `folder`.
        tensorboard: also write TensorBoard logs.
        ranks: this process among those that train together.
        cancel: stops the preparation, and later the training.
        compile: compile the layers of the network first, where there is a compiler: faster on a GPU.

    Raises:
        StoppedEarlyError: if `cancel` was set before the training was ready.
        MaskedDenoiserError: before anything is written, if anything does not fit.
    """
    ranks = ranks or ProcessGroup()
    record = RunFolder(folder) if folder is not None else None
    _check_output(output, record, resume, overwrite)
    chosen, said = choose_device(device) if isinstance(device, str) else (device, f"computing on {describe(device)}")
    model = base if isinstance(base, Model) else load_model(base)
    _check_sides(recipe, model.card.architecture, ranks)
    with ExitStack() as files:
        sources = open_images(given.images, files, given.axes, cancel)
        learned, held = _samplers(given, sources, files, recipe, model.card.architecture, cancel)
        trainer = Trainer(
            recipe,
            new_state(model, recipe, chosen),
            learned,
            make_patch_source(learned, recipe, chosen),
            chosen,
            validator=make_validator(held, recipe) if ranks.first else None,
            checkpoint=record.checkpoint if record else None,
            identity=training_identity(recipe, model, sources, learned, held),
            ranks=ranks,
            cancel=cancel or threading.Event(),
            compile=compile,
        )
        messages = [*_notes(sources), *_about(sources, given, recipe, model), said]
        if record is not None:
            messages += _begin(record, trainer, resume, tensorboard)
        return PreparedTraining(trainer, record, tuple(messages), model, tuple(sources), files.pop_all(), output)


def make_patch_source(pool: PatchSampler, recipe: TrainingRecipe, device: torch.device) -> PatchSource:
    """Return the patches of a training: of images kept on the device if they fit, else read ahead."""
    kind = ResidentPatches if fits_on_device(pool, device) else LazyPatches
    return kind(pool, recipe, device)


def _begin(record: RunFolder, trainer: Trainer, resume: bool, tensorboard: bool) -> list[str]:
    """Goes back to the checkpoint, or clears the folder; and opens the log."""
    if resume:
        trainer.state.load(record.checkpoint, trainer.identity)
        trainer.state.go_on(trainer.recipe)
    if trainer.ranks.first:
        record.begin(trainer.recipe, anew=not resume, tensorboard=tensorboard)
    return [f"going on after step {trainer.state.step}"] if resume else []


def training_folder(output: Path) -> Path:
    """Where checkpoint and log of a model lie: `mine.safetensors` -> `mine.training`."""
    return output.with_suffix(".training")


def _check_output(output: Path | None, record: RunFolder | None, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise TrainingError("--resume goes on and --overwrite starts again; give only one of them")
    if output is not None and output.suffix != ".safetensors":
        raise TrainingError(f"output {output} does not end in .safetensors; give it that ending")
    if output is not None and not output.parent.is_dir():
        what = "is no folder" if output.parent.exists() else "does not exist"
        raise TrainingError(f"{output.parent} {what}; name a folder that exists")
    begun = record is not None and record.checkpoint.exists()
    if resume and not begun:
        where = record.folder if record else "the training"
        raise TrainingError(f"{where} holds no checkpoint to go on from; leave --resume out")
    if resume or overwrite:
        return
    if begun and record is not None:
        raise TrainingError(f"{record.folder} holds a training; go on with --resume, or start again with --overwrite")
    if output is not None and output.exists():
        raise TrainingError(f"{output} exists; choose another name, or --overwrite")


def _check_sides(recipe: TrainingRecipe, config: NetworkConfig, ranks: ProcessGroup) -> None:
    if recipe.patch % config.grid:
        raise TrainingError(f"patch is {recipe.patch}; this model wants a multiple of {config.grid}")
    if recipe.batch % ranks.count:
        raise TrainingError(f"a batch of {recipe.batch} cannot be divided among {ranks.count} processes")


def _samplers(
    given: TrainingImages,
    sources: list[Source],
    files: ExitStack,
    recipe: TrainingRecipe,
    config: NetworkConfig,
    cancel: threading.Event | None,
) -> tuple[PatchSampler, PatchSampler]:
    """What is learned from and what is held out."""
    if (recipe.way == "pairs") != bool(given.clean):
        raise TrainingError(
            'clean images (--clean) and the way "pairs" (--way pairs) belong together; give both or none of them'
        )
    clean = open_images(given.clean, files, given.axes, cancel) if given.clean else []
    images = make_images(sources, clean, config.channels)
    if given.regions:
        images = _confined(images, given.regions)
    if not given.validation:
        return split(images, recipe.patch, config.grid, cancel)
    others = open_images(given.validation, files, given.axes)
    check_apart(sources, others)
    truths = open_images(given.validation_clean, files, given.axes) if given.validation_clean else []
    if recipe.way == "pairs" and not truths:
        raise TrainingError("validation images of pairs need their clean images, too")
    held = make_images(others, truths, config.channels)
    check_images(images, recipe.patch, cancel)
    check_images(held, recipe.patch, cancel)
    return PatchSampler(tuple(images), recipe.patch), held_out_sampler(held, config.grid)


def _confined(images: list[TrainingImage], regions: tuple[tuple[Rectangle, ...], ...]) -> list[TrainingImage]:
    """An image for each region.

    Raises:
        TrainingError: for a region outside of its image, or a folder, whose images have none.
    """
    if len(images) != len(regions):
        raise TrainingError(f"{len(regions)} lists of regions for {len(images)} images; give one for each")
    confined = []
    for image, wanted in zip(images, regions, strict=True):
        confined += [replace(image, region=region) for region in wanted] or [image]
        for region in wanted:
            if any(not 0 <= s.start < s.stop <= side for s, side in zip(region, image.source.size_yx, strict=True)):
                rows, columns = region
                raise TrainingError(
                    f"the region of rows {rows.start} to {rows.stop}, columns {columns.start} to {columns.stop} is not "
                    f"inside {image.name}, which has {image.source.size_yx[0]} x {image.source.size_yx[1]} pixels"
                )
    return confined


def _notes(sources: list[Source]) -> list[str]:
    """What was guessed when images were opened, once for those that are alike."""
    return list(dict.fromkeys(note for source in sources for note in source.notes))[:5]


def _about(sources: list[Source], given: TrainingImages, recipe: TrainingRecipe, model: Model) -> list[str]:
    said = []
    channels = model.card.architecture.channels
    gray = sum(not source.rgb for source in sources)
    if channels == 3 and gray:
        said.append(f"{model.card.name} knows RGB: the planes of {gray} gray images are given to it three times")
    if channels == 1 and gray < len(sources):
        said.append(f"{model.card.name} knows gray: red, green and blue are learned one by one")
    if not given.validation:
        said.append("a part of the images is held out, to validate with")
    left_out = set(recipe.unseen) - set(really_unseen(recipe))
    if left_out:
        said.append(f"{', '.join(sorted(left_out))}: not validated as unseen, since that kind of noise is trained")
    if recipe.way == "noisy":
        said.append("no truth: PSNR below is that of hidden pixels against the noisy image, not of the result")
    return said
