"""Background task of the noise card; without Qt and napari."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from masked_denoiser.images.source import Source
from masked_denoiser.plugin.denoise.form import Form

if TYPE_CHECKING:
    from masked_denoiser.denoising.noise_measurement import NoiseMeasurement
    from masked_denoiser.evaluation.noise_plot import VarianceCurve


#: Share of the noise below which read noise is not worth a figure.
_NEGLIGIBLE = 1e-3


@dataclass(frozen=True, eq=False)
class NoiseFigures:
    """Event: the measured noise.

    Attributes:
        verdict: the noise in a sentence.
        rows: names of the figures, and their values by channel, as text.
        channels: names of the channels.
        curves: variance as a function of intensity.
    """

    verdict: str
    rows: dict[str, list[str]]
    channels: tuple[str, ...]
    curves: tuple[VarianceCurve, ...]


@dataclass(frozen=True)
class TreatmentPlan:
    """Event: what a job with the current settings does about the noise.

    Attributes:
        lines: its treatments, a line for each group of channels that are treated alike.
        changes: whether the job changes any pixel.
    """

    lines: tuple[str, ...]
    changes: bool


def measure_card(source: Source, form: Form, cancel: threading.Event) -> Iterator[NoiseFigures | TreatmentPlan]:
    """Yield the noise of an image, and then its treatment, which takes longer since treatments are tried.

    Raises:
        MaskedDenoiserError: if image, model and options do not fit together.
    """
    from masked_denoiser.denoising.noise_measurement import measure_noise
    from masked_denoiser.jobs.resolve_job import resolve_job
    from masked_denoiser.jobs.spec.treatments import describe_treatments

    yield noise_figures(measure_noise(source, modality=form.options.modality))
    if cancel.is_set():
        return
    job = resolve_job(source, model=form.model, options=form.options, device=form.device).job
    planes = [plane for plane in job.planes if not plane.copied]
    changes = any(not job.treatment_of(plane).is_identity for plane in planes)
    yield TreatmentPlan(tuple(describe_treatments(job)), changes)


def noise_figures(measured: NoiseMeasurement) -> NoiseFigures:
    """Return the figures of a measurement as text, in units of the image."""
    from masked_denoiser.evaluation.noise_plot import variance_curves
    from masked_denoiser.noise.channel_noise import below_rounding

    estimate = measured.estimate
    figures = [
        # Below the rounding, gain, correlation and read noise are those of the rounding, not of a detector.
        values | ({"read": 0.0, "gain": 0.0, "correlation": 1} if below_rounding(channel) else {})
        for values, channel in zip(estimate.to_dict()["channels"], estimate.channels, strict=True)
    ]
    rows = {
        "standard deviation": [_number(f["sigma"]) for f in figures],
        "in bright regions": [_number(f["bright"]) for f in figures],
        "gain": [_number(f["gain"]) if f["gain"] else "none" for f in figures],
        "read noise": [_number(f["read"]) if f["read"] > _NEGLIGIBLE * f["sigma"] else "none" for f in figures],
        "correlation": [_correlation(f) for f in figures],
        "dead or hot pixels": [f"{f['impulses']['share']:.2%}" if f["impulses"]["share"] else "none" for f in figures],
    }
    return NoiseFigures(estimate.verdict, rows, measured.channel_names, tuple(variance_curves(measured)))


def _number(value: float) -> str:
    return f"{value:.3g}"


def _correlation(figures: dict[str, Any]) -> str:
    """Return over how many pixels noise is correlated, with the confidence of that."""
    if figures["correlation"] == 1:
        return "none"
    return f"{figures['correlation'] - 1} px ({figures['confidence']:.0%})"
