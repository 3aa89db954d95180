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
        messages: how the device was chosen, for the user.
        precision_message: how the precision was chosen; empty if there was no choice.
    """

    job: Job
    source: Source
    model: Model
    device: torch.device
    messages: tuple[str, ...]
    precision_message: str = ""

    @property
    def choices(self) -> tuple[str, ...]:
        """All messages on what was chosen."""
        return (*self.messages, self.precision_message) if self.precision_message else self.messages
