"""Precision of a job whose options leave it to be chosen, and messages about it."""

from __future__ import annotations

from collections.abc import Callable

from masked_denoiser.inference.precision import Precision
from masked_denoiser.inference.tune_precision import MAX_LOSS, MIN_NOISE, bfloat16_loss
from masked_denoiser.jobs.spec.job import Job
from masked_denoiser.models.file import Model
from masked_denoiser.network.reach import exact_halo

#: Intensity, in units of the range, at which the strength of the noise is judged.
_JUDGED_INTENSITY = 0.25


def choose_precision(
    job: Job, model: Model, is_bfloat16_fast: bool, report: Callable[[str], None]
) -> tuple[Precision, str]:
    """Return the precision of a job for which "auto" was requested, and a message for the user.

    Args:
        job: resolved but for its precision.
        model: its model.
        is_bfloat16_fast: whether bfloat16 is fast on all devices of the job. If not, or if all channels are left alone,
            there is no choice and no message.
        report: receives a message before the loss of a model is measured, which is done once.
    """
    if not is_bfloat16_fast:
        return "float32", ""
    if not any(treatment.blend for _, treatment in job.treatments):
        return "float32", ""  # everything is left alone
    if job.halo >= exact_halo(model.card.architecture):
        return "float32", "computing in float32, as with this halo tiles equal the whole image"
    if not _has_clear_noise(job):
        return "float32", "computing in float32, as the noise is weak or not known"
    loss = bfloat16_loss(model, report)
    if not loss <= MAX_LOSS:  # NaN neither
        return "float32", f"computing in float32, as bfloat16 would lose {loss:.2g} dB with this model"
    return "bfloat16", f"computing in bfloat16, which is faster and loses less than {MAX_LOSS:g} dB on the sample slide"


def _has_clear_noise(job: Job) -> bool:
    """Return whether the noise is known, and strong enough for bfloat16, wherever something is denoised."""
    treatments = [treatment for _, treatment in job.treatments if treatment.blend]
    sigmas = [
        float(noise.sigma(_JUDGED_INTENSITY)) / treatment.noise_factor
        for treatment in treatments
        for noise in treatment.noise_variances
    ]
    is_known = all(treatment.noise for treatment in treatments)
    return bool(sigmas) and is_known and min(sigmas) >= MIN_NOISE


def continued_precision_message(recorded: Precision, is_bfloat16_fast: bool) -> str:
    """Return a message on the precision of a job that is continued, or that comes from a job file.

    Args:
        recorded: precision in the journal or job file.
        is_bfloat16_fast: whether bfloat16 is fast where the job continues.
    """
    if recorded == "bfloat16" and not is_bfloat16_fast:
        return (
            "computing in bfloat16, as this job began; this processor has no instructions for it, so that it is slow "
            "and pixels may be rounded differently from those of another processor"
        )
    return f"computing in {recorded}, as this job began"
