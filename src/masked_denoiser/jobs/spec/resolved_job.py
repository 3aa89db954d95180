"""A job with all that is needed to run it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from masked_denoiser.images.source import Source
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.models.file import Model


@dataclass(frozen=True)
class ResolvedJob:
    """A job with all that is needed to run it.

    Attributes:
        job: the resolved job.
        source: the image as the job reads it.
        model: the loaded model.
        device: the device that computes.
        messages: how device and precision were chosen, for the user.
    """

    job: Job
    source: Source
    model: Model
    device: torch.device
    messages: tuple[str, ...]
