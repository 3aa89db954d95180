"""Tile denoiser: a network together with stabilization, exposures, strides and limits of the correction.

Strides: correlated noise is independent between every second (third, ...) row and column, so each of these images is
denoised separately. Put together again, they differ by the noise that is left in each, which a second pass over the
whole removes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from scipy.ndimage import uniform_filter

from masked_denoiser.denoising.context.neighbour_mean import Context
from masked_denoiser.denoising.correction.limits import limit_correction, undo_soft_limit
from masked_denoiser.denoising.correction.stride_pattern import remove_pattern
from masked_denoiser.denoising.impulse_replacement import replace_impulses
from masked_denoiser.denoising.intensity.exposures import Exposure, expose
from masked_denoiser.denoising.intensity.transforms import Transform, make_transform
from masked_denoiser.denoising.intensity.variance_stabilization import make_stabilizer
from masked_denoiser.denoising.noise_by_place import place_factors
from masked_denoiser.denoising.noise_treatment import NoiseTreatment
from masked_denoiser.inference.memory_limits import MemoryLimits
from masked_denoiser.inference.runner import Batch, Denoised, Pending, reflect
from masked_denoiser.models.uncertainty import Uncertainty
from masked_denoiser.noise.variance_model import NoiseVariance

Origins = tuple[tuple[int, int], ...]

#: Distance in pixels over which the intensity is averaged for the noise map.
MAP_REACH = 16


class Runner(Protocol):
    """A network on a device: a `ModelRunner`, or a stand-in in tests.

    Attributes:
        device: on which it runs.
        limits: known limits of the device memory.
        wait_seconds: time spent waiting for the device.
        uncertainty: calibration of the spread of the passes; None if the model has none.
    """

    device: torch.device
    limits: MemoryLimits
    wait_seconds: float
    uncertainty: Uncertainty | None

    @property
    def soft_limit(self) -> float:
        """Largest correction of a pixel, in standard deviations of the noise; 0 for no such limit."""

    def add_message(self, text: str) -> None:
        """Add a message for the user."""

    def take_messages(self) -> list[str]:
        """Return and remove the messages since the last call."""

    def submit(self, tiles: Batch, origins: Origins, noise: Batch | None = None) -> Pending:
        """Start to denoise tiles [B, C, H, W] whose first pixels lie at these origins, as `ModelRunner.submit` does."""


@dataclass(frozen=True)
class TileDenoiser:
    """A network that receives tiles prepared by a noise treatment.

    Attributes:
        network: runs on the prepared tiles.
        grid: of the network; tiles at the bottom and right of an image may have other heights and widths.
        keep_faint: whether faint objects are put back; not in trials, from which they would hide removed structure.
    """

    network: Runner
    grid: int
    keep_faint: bool = True

    def __call__(self, tiles: Batch, origins: Origins, treatment: NoiseTreatment) -> Denoised:
        """Denoise tiles.

        Args:
            tiles: [B, C, H, W] in units of their range, whose bulk lies in [0, 1].
            origins: of each tile in the image, multiples of `grid * treatment.stride`.
            treatment: to apply around the network.
        """
        return self.submit(tiles, origins, treatment)()

    def submit(
        self, tiles: Batch, origins: Origins, treatment: NoiseTreatment, context: Context | None = None
    ) -> Pending:
        """Start to denoise tiles, as `ModelRunner.submit` does; the rest is done when the result is requested.

        With a context the network receives the mean of each tile and its neighbours. The limits of the correction are
        those of the tile alone.
        """
        repaired = replace_impulses(tiles, treatment, origins)
        if not treatment.blend:
            return lambda: Denoised(repaired, remaining_noise(repaired, treatment))
        shown, sigma_share = (repaired, np.float32(1)) if context is None else (context.mean, context.sigma_share)
        views = _list_views(shown, treatment)
        sigma = _local_sigma(shown, treatment) if treatment.noise_map else None
        factors: Batch | np.float32 = np.float32(1)
        if sigma is not None and treatment.by_place:
            measured = sigma * sigma_share / np.float32(treatment.noise_factor)
            factors = place_factors(shown, measured, treatment.width, origins)
        maps = [view.sigma(sigma, sigma_share * factors) for view in views]
        pending = [
            self._start(view.exposure.network_input, origins, treatment.strides, noise)
            for view, noise in zip(views, maps, strict=True)
        ]
        if treatment.strides:  # the last pass gets no noise map
            maps = [None] * len(views)

        def result() -> Denoised:
            outputs = [get() for get in pending]
            unlimited = self._undo_soft_limit(outputs, views, maps)
            mean = self._finish(outputs, unlimited, views, repaired, treatment)
            return Denoised(mean, self._std(outputs, views, repaired, treatment, sigma_share))

        return result

    def _finish(
        self,
        outputs: list[Denoised],
        unlimited: list[Batch] | None,
        views: list[_View],
        tiles: Batch,
        treatment: NoiseTreatment,
    ) -> Batch:
        """Return the denoised tiles in units of their range, with all limits applied."""
        mean = _merge_intensities(views, [output.mean for output in outputs])
        unlimited_mean = mean if unlimited is None else _merge_intensities(views, unlimited)
        if treatment.strides and treatment.noise:
            mean = remove_pattern(mean, treatment.strides, _local_sigma(tiles, treatment))
        if treatment.gray:
            mean = _to_gray(mean, tiles)
        if treatment.noise:
            noise, clipped = treatment.noise_variances, treatment.clipping_limits
            mean = limit_correction(
                mean,
                tiles,
                noise,
                treatment.width,
                clipped,
                unlimited_mean,
                self.network.device,
                keep_faint=self.keep_faint,
            )
            mean = np.clip(mean, np.minimum(clipped[0], tiles), np.maximum(clipped[1], tiles))
        blend = np.float32(treatment.blend)
        return mean if blend == 1 else tiles + blend * (mean - tiles)

    def _std(
        self,
        outputs: list[Denoised],
        views: list[_View],
        tiles: Batch,
        treatment: NoiseTreatment,
        sigma_share: Batch | np.float32,
    ) -> Batch | None:
        """Return the standard deviation of the error, or of the passes if the model is not calibrated."""
        if any(output.std is None for output in outputs):
            return None
        std = _weighted_sum(views, [view.std(output) for view, output in zip(views, outputs, strict=True)])
        if self.network.uncertainty is not None:
            noise = _measured_sigma(tiles, treatment) * sigma_share if treatment.noise else None
            std = self.network.uncertainty.calibrate(std, noise)
        blend = np.float32(treatment.blend)
        return std if blend == 1 else np.hypot(blend * std, (1 - blend) * remaining_noise(tiles, treatment))

    def _undo_soft_limit(
        self, outputs: list[Denoised], views: list[_View], maps: Sequence[Batch | None]
    ) -> list[Batch] | None:
        """Return the network's output for each view without its soft limit; None if it has none."""
        if not self.network.soft_limit or any(noise is None for noise in maps):
            return None
        return [
            undo_soft_limit(out.mean, view.exposure.network_input, self.network.soft_limit * noise)
            for out, view, noise in zip(outputs, views, maps, strict=True)
            if noise is not None
        ]

    def _start(self, tiles: Batch, origins: Origins, strides: tuple[int, ...], sigma: Batch | None) -> Pending:
        for stride in strides:
            tiles, sigma = self._denoise_strided(tiles, origins, stride, sigma), None  # the remaining noise is unknown
        return self.network.submit(tiles, origins, sigma)

    def _denoise_strided(self, tiles: Batch, origins: Origins, stride: int, sigma: Batch | None) -> Batch:
        """Denoise each of the stride * stride images, and put them together for the pass over the whole."""
        height, width = tiles.shape[-2:]
        padded = reflect(tiles, self.grid * stride)
        noise = None if sigma is None else reflect(sigma, self.grid * stride)
        parts = [np.s_[..., row::stride, column::stride] for row in range(stride) for column in range(stride)]
        part_origins = tuple((row // stride, column // stride) for row, column in origins) * len(parts)
        images = np.concatenate([padded[part] for part in parts])
        noise = None if noise is None else np.concatenate([noise[part] for part in parts])
        denoised = self.network.submit(images, part_origins, noise)().mean
        interleaved = np.empty_like(padded)
        for part, image in zip(parts, np.split(denoised, len(parts)), strict=True):
            interleaved[part] = image
        return np.ascontiguousarray(interleaved[..., :height, :width])


def remaining_noise(tiles: Batch, treatment: NoiseTreatment) -> Batch:
    """Return the standard deviation of the noise of tiles that are left unchanged; 0 if it is not known."""
    noise = _measured_sigma(tiles, treatment) if treatment.noise else np.float32(0)
    return np.broadcast_to(noise, tiles.shape).astype(np.float32)


def _measured_sigma(tiles: Batch, treatment: NoiseTreatment) -> Batch:
    """Return the standard deviation of the noise as it was measured, whatever the strength of the treatment."""
    return _local_sigma(tiles, treatment) / np.float32(treatment.noise_factor)


def _local_sigma(tiles: Batch, treatment: NoiseTreatment) -> Batch:
    """Return the standard deviation of the noise of all channels together at the local mean, [B, 1, H, W]."""
    side = 2 * MAP_REACH + 1
    local = np.moveaxis(uniform_filter(tiles, (1, 1, side, side), mode="reflect"), 1, 0)
    models = treatment.noise_variances * (len(local) if len(treatment.noise) == 1 else 1)
    variances = [model.sigma(channel) ** 2 for model, channel in zip(models, local, strict=True)]
    return np.asarray(np.sqrt(np.mean(variances, axis=0))[:, None], np.float32)


@dataclass(frozen=True, eq=False)
class _View:
    """An exposure of tiles with transformed intensities."""

    transform: Transform
    exposure: Exposure

    def to_intensity(self, output: Batch) -> Batch:
        """Return the intensities that a network output stands for."""
        return np.asarray(self.transform.backward(self.exposure.to_values(output)), np.float32)

    def sigma(self, noise: Batch | None, share: Batch | np.float32) -> Batch | None:
        """Return the noise in units of the network input, from that of the intensities; None if it is not known.

        Args:
            noise: standard deviation of the noise of a tile.
            share: factor by which averaging has reduced it.
        """
        if noise is None:
            return None
        return np.asarray(self.transform.transform_sigma(noise) * self.exposure.contrast, np.float32) * share

    def std(self, output: Denoised) -> Batch:
        """Return the standard deviation of the intensities over the passes, to first order."""
        assert output.std is not None
        ends = (self.transform.backward(self.exposure.to_values(output.mean + sign * output.std)) for sign in (1, -1))
        return np.asarray(np.subtract(*ends) / 2, np.float32)


def _list_views(tiles: Batch, treatment: NoiseTreatment) -> list[_View]:
    """Return what the network is shown of some tiles.

    Intensities too bright or too dark for the first exposure are shown stabilized if their noise is signal-dependent,
    as it may be in bright objects that were not sampled.
    """
    transform = make_transform(treatment.gain, treatment.variance, treatment.scale, treatment.centre)
    views = [_View(transform, exposure) for exposure in expose(np.asarray(transform.forward(tiles), np.float32))]
    stabilizer = _stabilizer_of_noise(treatment)
    if len(views) == 1 or treatment.gain or stabilizer is None:
        return views
    remaining = 1.0 - views[0].exposure.weight
    # The finest exposure would show the same range again, of which nothing is left to show but the margins.
    stabilized = expose(np.asarray(stabilizer.forward(tiles), np.float32), first=1)
    return [views[0], *(_View(stabilizer, replace(e, weight=e.weight * remaining)) for e in stabilized)]


def _stabilizer_of_noise(treatment: NoiseTreatment) -> Transform | None:
    if not treatment.noise:
        return None
    gain, variance = (float(np.median([fields[i] for fields in treatment.noise])) for i in (0, 1))
    return make_stabilizer(NoiseVariance(gain, variance), treatment.scale)


def _merge_intensities(views: list[_View], outputs: list[Batch]) -> Batch:
    return _weighted_sum(views, [view.to_intensity(output) for view, output in zip(views, outputs, strict=True)])


def _weighted_sum(views: list[_View], batches: list[Batch]) -> Batch:
    if len(views) == 1:
        return batches[0]
    return np.asarray(sum(view.exposure.weight * b for view, b in zip(views, batches, strict=True)), np.float32)


def _to_gray(denoised: Batch, tiles: Batch) -> Batch:
    """Return equal channels where the tiles have equal channels; coloured marks keep their colours."""
    equal = (tiles == tiles[:, :1]).all(axis=1, keepdims=True)
    return np.where(equal, denoised.mean(axis=1, keepdims=True), denoised)
