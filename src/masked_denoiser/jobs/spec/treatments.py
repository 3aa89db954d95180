"""Description of the noise treatments of a job."""

from __future__ import annotations

from collections import Counter

from masked_denoiser.jobs.spec.job import Job


def describe_treatments(job: Job) -> list[str]:
    """Return the noise treatments of a job, a line for each group of channels that are treated alike."""
    planes = [plane for plane in job.planes if not plane.copied]
    counts: dict[str, Counter[int]] = {}  # planes by treatment and channel
    for plane in planes:
        counts.setdefault(job.treatment_of(plane).summary, Counter())[plane.channel] += 1
    totals = Counter(plane.channel for plane in planes)
    if len(counts) == 1:
        return list(counts)
    return [f"{_channels_text(channels, totals)}: {treatment}" for treatment, channels in counts.items()]


def _channels_text(counts: Counter[int], totals: Counter[int]) -> str:
    """Return the channels, and how many of their planes if not all planes of a channel are treated alike."""
    plural = "s" if len(counts) > 1 else ""
    if all(counts[channel] == totals[channel] for channel in counts):
        return f"channel{plural} {', '.join(map(str, counts))}"
    parts = [f"{channel} ({count} of {totals[channel]} planes)" for channel, count in counts.items()]
    return f"channel{plural} {', '.join(parts)}"
