"""The samples of File > Open Sample, through the plugin's own reader."""

from __future__ import annotations

from masked_denoiser.plugin.reader import LayerData, read


def noisy_slide() -> list[LayerData]:
    """Real tissue with added noise, RGB."""
    return _sample("slide")


def noisy_stack() -> list[LayerData]:
    """A synthetic fluorescence stack of two channels with the noise of a camera."""
    return _sample("fluorescence")


def _sample(name: str) -> list[LayerData]:
    from masked_denoiser.samples import sample_path

    return read(str(sample_path(name)))
