"""Text for a report about what a job did, from the settings that its result records: see `Job.settings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from masked_denoiser.denoising.measurement.given_noise import AUTO, NONE

Settings = Mapping[str, Any]

_COLOURS = ("red", "green", "blue")

#: Settings that are shown as they are.
_SHOWN = ("modality", "channels", "tile", "halo", "passes", "seed", "precision", "device", "output_dtype", "selection")


def describe_settings(settings: Settings, names: Mapping[int, str]) -> dict[str, str]:
    """Return the settings of a job by what they decide; those that are not recorded are left out.

    Args:
        settings: as recorded.
        names: of the channels of the image, by `Plane.channel`.
    """
    measured = "not measured; no limits to the network" if _requested(settings) == NONE else settings.get("noise")
    described = {
        "requested noise": settings.get("requested_noise"),
        "noise": measured,
        "strength": f"{settings['strength']:g}" if "strength" in settings else "",
        "intensity ranges": _ranges(settings, names),
        "neighbouring planes": neighbours(settings, names) or ("none" if "context_planes" in settings else ""),
        "background": _background(settings),
        "hot pixels": _hot_pixels(settings, names),
    } | {name.replace("_", " "): settings.get(name) for name in _SHOWN}
    return {name: str(value) for name, value in described.items() if value not in (None, "")}


def noise_sentence(settings: Settings, verdict: str) -> str:
    """Return where a job knew the noise from, and the noise as it is measured for the report."""
    requested, strength = _requested(settings), float(settings.get("strength", 1.0))
    factor = "" if strength == 1.0 else f", and taken to be {strength:g} times as strong"
    if not requested:
        return f"Measured for this report, the noise of the image is: {verdict}."
    if requested == AUTO:
        return f"The noise of the image was measured before{factor}: {verdict}."
    source = f"stated as {settings['requested_noise']}{factor}"
    if requested == NONE:
        source = "not measured before, and no limits were set to what the network removes"
    return f"The noise of the image was {source}. Measured for this report, it is: {verdict}."


def neighbours(settings: Settings, names: Mapping[int, str]) -> str:
    """Return which neighbouring planes were averaged with each plane; "" if none were."""
    texts = {
        channel: f"up to {context['count']} on each side along {context['axis']}, where they show the same"
        for channel, context in settings.get("context_planes") or ()
    }
    return _by_channel(texts, settings, names)


def _requested(settings: Settings) -> str:
    return str(settings.get("requested_noise") or "").strip().lower()


def _ranges(settings: Settings, names: Mapping[int, str]) -> str:
    """Return the intensities that the network was shown as 0 and 1, over all runs of planes of a channel."""
    sizes = dict(zip(settings.get("axes", ""), settings.get("shape", ()), strict=True))
    count = sizes.get("C", 1) * sizes.get("S", 1)  # `Plane.range_key` is channel + epoch * count
    ends: dict[int, list[Mapping[str, Any]]] = {}
    for key, scale in settings.get("ranges") or ():
        ends.setdefault(key % count, []).append(scale)
    return _by_channel({channel: _range_text(scales) for channel, scales in ends.items()}, settings, names)


def _range_text(scales: list[Mapping[str, Any]]) -> str:
    text = f"{min(scale['low'] for scale in scales):g} to {max(scale['high'] for scale in scales):g}"
    stabilized = ", after stabilization of Rician noise" if any(scale.get("rician") for scale in scales) else ""
    runs = f", in {len(scales)} runs of planes with ranges of their own" if len(scales) > 1 else ""
    return f"{text}{stabilized}{runs}"


def _background(settings: Settings) -> str:
    if "background" not in settings:
        return ""
    return "tiles of nothing else were copied" if settings["background"] else "denoised like the rest"


def _hot_pixels(settings: Settings, names: Mapping[int, str]) -> str:
    counts = {channel: len(positions) for channel, positions in settings.get("hot_pixels") or () if positions}
    return _by_channel({channel: f"{count} replaced" for channel, count in counts.items()}, settings, names)


def _by_channel(texts: Mapping[int, str], settings: Settings, names: Mapping[int, str]) -> str:
    """Return one text for all channels if it is the same, or else one for each, with the name of the channel."""
    if settings.get("rgb") and settings.get("channels") == "each":
        names = dict(enumerate(_COLOURS))
    if len(set(texts.values())) == 1 and set(texts) >= set(names):
        return next(iter(texts.values()))
    return "; ".join(f"{names.get(channel, f'channel {channel}')}: {text}" for channel, text in texts.items())
