"""Preparation of the jobs of a list of images, all with the same settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
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
    """Context managers that prepare the jobs of a list with the same settings. Each model is loaded once.

    Attributes:
        model: its name or its path; "auto" takes general-rgb or general-gray, depending on the image.
        options: how to denoise.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        resume: continue interrupted jobs and keep complete outputs.
        overwrite: replace existing outputs.
        open: function that opens an image; `open_image` with `reader` by default.
        executor: where the jobs run; this process by default.
        reader: plugin that opens the images; see `open_image`.
    """

    model: str | Path = AUTO
    options: Options | None = None
    device: str = "auto"
    resume: bool = False
    overwrite: bool = False
    open: Callable[[str], Source] | None = None
    executor: Executor[Any] | None = None
    reader: str = ""
    _loaded: dict[str | Path, Model] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Check the settings that do not depend on an image.

        Raises:
            MaskedDenoiserError: if the model or the device is not available, or resume and overwrite are both set.
        """
        from masked_denoiser.jobs.executor import LocalExecutor
        from masked_denoiser.jobs.storage.output import check_not_both

        check_not_both(self.resume, self.overwrite)
        (self.executor or LocalExecutor()).choose_device(self.device)
        if self.model != AUTO:
            self._load(self.model)

    @contextmanager
    def __call__(self, pair: Pair) -> Iterator[Prepared[Any]]:
        """Yield a job that is ready to run, with its image open.

        Raises:
            AlreadyCompleteError: if a job to be resumed is complete.
            MaskedDenoiserError: if the image cannot be denoised with these settings.
        """
        from masked_denoiser.images.open import open_image
        from masked_denoiser.jobs.prepare import prepare_file
        from masked_denoiser.jobs.resolve_job import model_name, readable_source
        from masked_denoiser.jobs.spec.options import Options
        from masked_denoiser.jobs.spec.resolve import resolve_channels

        with (self.open or partial(open_image, reader=self.reader))(pair.input) as source:
            source = readable_source(source, self.options or Options())
            options = resolve_channels(source, self.model, self.options or Options())
            prepared = prepare_file(
                source,
                pair.output,
                executor=self.executor,
                model=self._load(model_name(self.model, source, options)),
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
