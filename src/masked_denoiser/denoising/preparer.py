"""Settles the jobs of a list of images, all with the same settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from masked_denoiser.denoising.pairs import Pair
from masked_denoiser.models.catalogue import AUTO

if TYPE_CHECKING:
    from masked_denoiser.denoising.job import Options
    from masked_denoiser.denoising.prepare import Prepared
    from masked_denoiser.images.source import Source
    from masked_denoiser.models.file import Model


@dataclass(frozen=True, eq=False)
class Preparer:
    """Settles the jobs of a list: the same for each image. A model is loaded once for all of them.

    Attributes:
        model: its name or its path; "auto" takes general-rgb or general-gray, as suits each image.
        options: how to denoise.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        axes: of the images, where their files do not name them.
        level: of their pyramids.
        resume: go on with what was begun, and leave alone what is complete.
        overwrite: replace existing outputs.
    """

    model: str | Path = AUTO
    options: Options | None = None
    device: str = "auto"
    axes: str | None = None
    level: int = 0
    resume: bool = False
    overwrite: bool = False
    _loaded: dict[str | Path, Model] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Refuses what no image of the list could mend.

        Raises:
            UserError: for a model or a device that is not there, or two wishes that do not go together.
        """
        from masked_denoiser.denoising.device import choose_device
        from masked_denoiser.denoising.prepare import check_wishes

        check_wishes(self.resume, self.overwrite)
        choose_device(self.device)
        if self.model != AUTO:
            self._load(self.model)

    @contextmanager
    def __call__(self, pair: Pair) -> Iterator[Prepared]:
        """A job that is ready to run, with its image open.

        Raises:
            AlreadyCompleteError: if it is to be resumed and is complete.
            UserError: if the image cannot be denoised as asked.
        """
        from masked_denoiser.denoising.prepare import prepare_file
        from masked_denoiser.images.open import open_image

        with open_image(pair.input, axes=self.axes, level=self.level) as source:
            yield prepare_file(
                source,
                pair.output,
                model=self._model_of(source),
                options=self.options,
                device=self.device,
                resume=self.resume,
                overwrite=self.overwrite,
            )

    def _model_of(self, source: Source) -> Model:
        from masked_denoiser.denoising.job import Options
        from masked_denoiser.denoising.prepare import name_of_model

        return self._load(name_of_model(self.model, source, self.options or Options()))

    def _load(self, name: str | Path) -> Model:
        from masked_denoiser.models.catalogue import load_model

        if name not in self._loaded:
            self._loaded[name] = load_model(name)
        return self._loaded[name]
