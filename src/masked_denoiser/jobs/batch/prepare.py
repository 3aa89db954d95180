"""Settles the jobs of a list of images, all with the same settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masked_denoiser.jobs.batch.outputs import Pair
from masked_denoiser.models.catalogue import AUTO

if TYPE_CHECKING:
    from masked_denoiser.images.source import Source
    from masked_denoiser.jobs.executor import Executor
    from masked_denoiser.jobs.prepare import Prepared
    from masked_denoiser.jobs.spec.options import Options
    from masked_denoiser.models.file import Model


@dataclass(frozen=True, eq=False)
class Preparer:
    """Settles the jobs of a list: the same for each image. A model is loaded once for all of them.

    Attributes:
        model: its name or its path; "auto" takes general-rgb or general-gray, as suits each image.
        options: how to denoise.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        open: opens an image; `open_image` by default.
        engine: who computes; this process by default.
        resume: go on with what was begun, and leave alone what is complete.
        overwrite: replace existing outputs.
    """

    model: str | Path = AUTO
    options: Options | None = None
    device: str = "auto"
    resume: bool = False
    overwrite: bool = False
    open: Callable[[str], Source] | None = None
    engine: Executor[Any] | None = None
    _loaded: dict[str | Path, Model] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Refuses what no image of the list could mend.

        Raises:
            MaskedDenoiserError: for a model or a device that is not there, or two wishes that do not go together.
        """
        from masked_denoiser.jobs.executor import LocalExecutor
        from masked_denoiser.jobs.storage.output import check_wishes

        check_wishes(self.resume, self.overwrite)
        (self.engine or LocalExecutor()).choose_device(self.device)
        if self.model != AUTO:
            self._load(self.model)

    @contextmanager
    def __call__(self, pair: Pair) -> Iterator[Prepared[Any]]:
        """A job that is ready to run, with its image open.

        Raises:
            AlreadyCompleteError: if it is to be resumed and is complete.
            MaskedDenoiserError: if the image cannot be denoised as asked.
        """
        from masked_denoiser.images.open import open_image
        from masked_denoiser.jobs.executor import LocalExecutor
        from masked_denoiser.jobs.prepare import name_of_model, prepare_file_on
        from masked_denoiser.jobs.spec.options import Options
        from masked_denoiser.jobs.spec.resolve import resolve_channels

        with (self.open or open_image)(pair.input) as source:
            options = resolve_channels(source, self.model, self.options or Options())
            prepared = prepare_file_on(
                self.engine or LocalExecutor(),
                source,
                pair.output,
                model=self._load(name_of_model(self.model, source, options)),
                options=options,
                device=self.device,
                resume=self.resume,
                overwrite=self.overwrite,
            )
            with prepared:
                yield prepared

    def _load(self, name: str | Path) -> Model:
        from masked_denoiser.models.catalogue import load_model

        if name not in self._loaded:
            self._loaded[name] = load_model(name)
        return self._loaded[name]
