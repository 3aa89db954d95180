"""Report on a denoised image, from the image, its result and what the result says about its job."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from masked_denoiser.atomic_file import replaced_atomically
from masked_denoiser.denoising.measurement.modality import recorded_modality
from masked_denoiser.denoising.noise_measurement import NoiseMeasurement, measure_noise
from masked_denoiser.errors import PictureError
from masked_denoiser.evaluation.report import figures, page
from masked_denoiser.evaluation.report.job_text import describe_settings, neighbours, noise_sentence
from masked_denoiser.evaluation.residual import ChannelResidual, ResidualSummary, judged_removals, summarize
from masked_denoiser.evaluation.safety.removal import (
    Removal,
    channel_names,
    group_by_channel,
    largest_mean_change,
)
from masked_denoiser.images.source import Source
from masked_denoiser.images.validation.file_identity import find_overlap
from masked_denoiser.noise.verdict import describe_noise

#: Largest change of a regional mean, in standard errors, that is expected of noise.
_EXPECTED_CHANGE = 5.0

_CITATION = "H. Chen et al., Masked Image Training for Generalizable Deep Image Denoising, CVPR 2023, arXiv 2303.13132"


def check_report_path(path: Path, apart: Iterable[Path] = ()) -> None:
    """Check before a job that its report has a suitable name and place.

    Args:
        path: of the report.
        apart: images in which it may not lie, such as the folder of a zarr.

    Raises:
        PictureError: if the path does not end in .html, or cannot be written.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise PictureError(f"{path} does not end in .html; give the report such a name")
    folder = path.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise PictureError(f"{folder} is not a folder that can be written to; write the report elsewhere")
    if (image := find_overlap(path, [other for other in apart if other.is_dir()])) is not None:
        raise PictureError(f"{path} lies in the image {image}; write the report elsewhere")
    if any(image == parent for image in apart for parent in path.parents):
        raise PictureError(f"{path} lies in an output of the job; write the report elsewhere")


def write_report(path: Path, source: Source, result: Source, attributes: Mapping[str, Any]) -> None:
    """Write a report as one HTML file.

    Args:
        path: `.html`; an existing file is replaced.
        source: the image.
        result: the denoised image; its axes may be ordered otherwise.
        attributes: what the result says about its job: see `images.writers.provenance.read_attributes`.

    Raises:
        ImageError: if a pixel cannot be read.
        OSError: if the file cannot be written.
    """
    modality = recorded_modality(attributes)
    measured = measure_noise(source, modality=modality)
    names = channel_names(measured)
    parts = list(judged_removals(source, result, measured))
    removals = [removal for part in parts for removal in part.removals]
    summary, change = summarize(parts), largest_mean_change(removals)
    after = measure_noise(result, modality="other" if modality == "mri" else modality)
    warnings = _warnings(summary, change, attributes, source)
    noise = _noise_rows("before", measured, names) | {"treatment": _treatment(attributes)}
    sections = [
        ("Image and job", page.table(_facts(source, attributes, names))),
        ("Warnings", "".join(page.paragraph(text, "warning") for text in warnings)),
        ("Three places", page.places(figures.show_places(_first_plane(source, parts[0].removals)))),
        ("Noise", page.table(noise | _noise_rows("after", after, names))),
        ("What was removed", page.paragraph(f"{summary}.") + _each_channel(removals, _spectrum)),
        ("Bias", _each_channel(removals, _bias) + page.paragraph(_regional_means(change))),
        ("For the methods section", page.paragraph(_methods(summary, measured, attributes, names))),
    ]
    text = page.render(f"Denoising of {source.name}", [section for section in sections if section[1]])
    with replaced_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _facts(source: Source, attributes: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, object]:
    """Return what was denoised and how."""
    sizes = ", ".join(f"{a} {size:g} {source.units.get(a, '')}".strip() for a, size in source.pixel_size.items())
    facts: dict[str, object] = {
        "image": source.name,
        "axes and shape": f"{source.axes} {' x '.join(map(str, source.shape))}, {source.dtype}",
        "pixel size": sizes or "not stated",
        "checksum of sampled pixels": attributes.get("input", "not recorded"),
        "model": f"{attributes.get('model', 'not recorded')}, SHA-256 {attributes.get('model_digest', 'not recorded')}",
        "program": f"napari-masked-denoiser {attributes.get('version', '(not recorded)')}",
        "SHA-256 of the job": attributes.get("job", "not recorded"),
    }
    return facts | describe_settings(attributes.get("settings") or {}, names)


def _noise_rows(when: str, measured: NoiseMeasurement, names: Mapping[int, str]) -> dict[str, str]:
    return {", ".join(filter(None, (when, name))): text for name, text in _verdicts(measured, names).items()}


def _verdicts(measured: NoiseMeasurement, names: Mapping[int, str]) -> dict[str, str]:
    """Return the noise of each channel by its name; of all together, without a name, if there are no such channels."""
    estimate = measured.estimate
    if len(names) < 2 or set(names) != set(measured.channel_keys):
        return {"": estimate.verdict}
    rows = list(zip(measured.channel_keys, estimate.channels, estimate.ranges, strict=True))
    verdicts: dict[str, str] = {}
    for channel, name in names.items():
        noise, ends = zip(*((noise, ends) for key, noise, ends in rows if key == channel), strict=True)
        verdicts[name] = ", ".join([describe_noise(noise, ends), *estimate.remarks])
    return verdicts


def _each_channel(removals: Iterable[Removal], draw: Callable[[list[Removal]], str]) -> str:
    """Return what `draw` shows of each channel, under its name if there are several."""
    groups = group_by_channel(removals)
    return "".join(page.heading(name if len(groups) > 1 else "") + draw(group) for name, group in groups.items())


def _spectrum(removals: list[Removal]) -> str:
    return page.spectrum_plot(*figures.spectrum(removals))


def _bias(removals: list[Removal]) -> str:
    return page.bias_table(figures.bias_by_intensity(removals))


def _warnings(
    summary: ResidualSummary, change: float | None, attributes: Mapping[str, Any], source: Source
) -> list[str]:
    texts = [f"Damaged region of the input, not denoised: {region}." for region in attributes.get("damage") or ()]
    texts += [f"{note[0].upper()}{note[1:]}." for note in source.notes]
    if summary.sigma and (summary.holds_structure or summary.structure is None):
        texts.append(f"{str(summary)[0].upper()}{str(summary)[1:]}.")
    if change is not None and round(change, 1) > _EXPECTED_CHANGE:  # as it is shown
        texts.append(f"A regional mean changed by {change:.1f} standard errors, more than noise explains.")
    return texts


def _treatment(attributes: Mapping[str, Any]) -> str:
    """Return how the noise was treated, in each channel if they differ."""
    return "; ".join(map(str, attributes.get("treatments") or ["not recorded"]))


def _regional_means(change: float | None) -> str:
    if change is None:
        return "No region of 32 x 32 pixels has enough valid ones to compare its mean."
    return (
        f"The mean of no region of 32 x 32 pixels changed by more than {change:.1f} standard errors of that mean; "
        f"up to {_EXPECTED_CHANGE:g} are expected of noise."
    )


def _first_plane(source: Source, removals: list[Any]) -> list[Any]:
    """Return the channels of the first judged plane: three of a colour image, else one."""
    return removals[:3] if source.rgb else removals[:1]


def _methods(
    summary: ResidualSummary, measured: NoiseMeasurement, attributes: Mapping[str, Any], names: Mapping[int, str]
) -> str:
    """Return a paragraph with the figures filled in, and the citations."""
    digest, job = (str(attributes.get(name, ""))[:12] for name in ("model_digest", "job"))
    settings = attributes.get("settings") or {}
    verdicts = _verdicts(measured, names).items()
    verdict = "; ".join(": ".join(filter(None, (name, text))) for name, text in verdicts)
    noise, treatment = noise_sentence(settings, verdict), _treatment(attributes)
    program = f"napari-masked-denoiser {attributes.get('version', '')}"
    if not summary.sigma:
        return f"{noise} {program} removed nothing ({treatment}). The job is identified by SHA-256 {job}."
    averaged = neighbours(settings, names)
    context = f" Each plane was averaged with its neighbouring planes before ({averaged})." if averaged else ""
    return (
        f"The image was denoised with {program} and its model {attributes.get('model', '')} (SHA-256 {digest}), a "
        f"network of the family of [1]. {noise} Treatment: {treatment}.{context} "
        f"{' '.join(map(_removed_sentence, summary.channels))} The job is identified by SHA-256 {job}. "
        f"[1] {_CITATION}."
    )


def _removed_sentence(channel: ChannelResidual) -> str:
    """Return the figures of what was removed from a channel."""
    parts = [f"a standard deviation of {channel.sigma:.3g} intensity units"]
    if channel.neighbour_correlation is not None:
        parts.append(
            f"a correlation of {channel.neighbour_correlation:.2f} between neighbouring pixels (0 for white noise)"
        )
    structure = "there are too few pixels to judge whether it is noise"
    if channel.structure is not None:
        structure = f"an estimated {channel.structure:.0%} of its variance is predictable from the surroundings"
    source = f" from {channel.name}" if channel.name else ""
    return f"What was removed{source} has {', '.join(parts)}, and {structure}."
