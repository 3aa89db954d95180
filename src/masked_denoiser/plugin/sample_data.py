"""Sample data of File > Open Sample, opened by the plugin's reader."""

from __future__ import annotations

from masked_denoiser.plugin.reader import LayerData, read


def noisy_slide() -> list[LayerData]:
    """Return a real tissue slide with added noise, RGB."""
    return _sample("slide")


def noisy_stack() -> list[LayerData]:
    """Return a synthetic fluorescence stack of two channels with camera noise."""
    return _sample("fluorescence")


def _sample(name: str) -> list[LayerData]:
    from masked_denoiser.samples import sample_path

    return read(str(sample_path(name)))
