"""Background task that denoises the same view with two models; without Qt and napari."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from masked_denoiser.jobs.pipeline.events import Cancelled, Finished
from masked_denoiser.plugin.denoise import task as tasks
from masked_denoiser.plugin.denoise.form import Request


@dataclass(frozen=True)
class ModelsCompared:
    """Event: a view was denoised with two models.

    Attributes:
        names: of the layers of the first and of the second model: each model with the time that it took.
    """

    names: tuple[str, str]


@dataclass(frozen=True)
class ComparisonCancelled:
    """Event: a comparison was cancelled.

    Attributes:
        role: of the layer whose pixels are not complete.
    """

    role: tasks.Role


def compare_models(requests: tuple[Request, Request], cancel: threading.Event) -> Iterator[Any]:
    """Yield the events of two previews, the second one for a layer of its own; at the end an event of this module.

    A model that leaves the image unchanged has no layer; then only its reason is yielded.

    Raises:
        MaskedDenoiserError: if a request is invalid.
    """
    names: list[str] = []
    roles: tuple[tasks.Role, tasks.Role] = ("preview", "second")
    for request, role in zip(requests, roles, strict=True):
        for event in tasks.denoise(request, cancel):
            match event:
                case tasks.LayerUpdate():
                    yield replace(event, role=role)
                case Finished(progress):
                    names.append(f"{request.model}, {progress.seconds:.1f} s")
                case Cancelled():
                    yield ComparisonCancelled(role)
                    return
                case _:
                    yield event
    if len(names) == len(requests):
        yield ModelsCompared((names[0], names[1]))
