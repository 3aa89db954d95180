"""A network with what is done around it: stabilized intensities, exposures, strides, and limits of the correction.

Strides: noise that neighbours share is independent in every second (third, ...) row and column, so each of these
images is denoised by itself. Put together again, they differ by what noise is left in each; a second pass over the
whole removes that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from masked_denoiser.denoising.correction_limits import limit_correction, undo_soft_limit
from masked_denoiser.denoising.intensity.exposures import Exposure, expose
from masked_denoiser.denoising.noise_treatment import NoiseTreatment
from masked_denoiser.denoising.stride_pattern import remove_pattern
from masked_denoiser.denoising.variance_stabilization import make_stabiliser
from masked_denoiser.inference.memory_limits import Limits
from masked_denoiser.inference.runner import Batch, Denoised, Pending, reflect
from masked_denoiser.noise.impulses import find_impulses, repair
from masked_denoiser.noise.variance_model import NoiseVariance

Origins = tuple[tuple[int, int], ...]

#: Distance in pixels over which the intensity is averaged that the noise map is made from.
MAP_REACH = 16


class Runner(Protocol):
    """What a job needs of a network on its device: a `ModelRunner`, or a stand-in in tests.

    Attributes:
        limits: what is known of the memory.
        said: messages that nobody has taken yet.
        waited: seconds that were spent waiting for the device.
    """

    limits: Limits
    messages: list[str]
    waited: float

    @property
    def soft_limit(self) -> float:
        """Standard deviations of the noise that a pixel is corrected by at most; 0 for no such limit."""

    def submit(self, tiles: Batch, origins: Origins, noise: Batch | None = None) -> Pending:
        """Begin to denoise tiles [B, C, H, W] whose first pixels lie at these origins, as `ModelRunner.submit` does."""


@dataclass(frozen=True)
class TileDenoiser:
    """A network that is given tiles as it knows them.

    Attributes:
        network: denoises what was prepared.
        grid: of the network; heights and widths of tiles at the bottom and right of an image need not be multiples.
    """

    network: Runner
    grid: int

    def __call__(self, tiles: Batch, origins: Origins, treatment: NoiseTreatment) -> Denoised:
        """Denoise tiles.

        Args:
            tiles: [B, C, H, W] in units of their range, whose bulk lies in [0, 1].
            origins: of each tile in the image, multiples of `grid * treatment.stride`.
            treatment: what to do around the network.
        """
        return self.submit(tiles, origins, treatment)()

    def submit(self, tiles: Batch, origins: Origins, treatment: NoiseTreatment) -> Pending:
        """Begin to denoise tiles, as `ModelRunner.submit`; the rest is done when the result is asked for."""
        good = replace_impulses(tiles, treatment, origins)
        if not treatment.blend:
            return lambda: Denoised(good, np.zeros_like(tiles))
        views = _views(good, treatment)
        sigma = _local_sigma(good, treatment) if treatment.noise_map else None
        maps = [view.sigma(sigma) for view in views]
        coming = [
            self._begin(view.exposure.seen, origins, treatment.strides, noise)
            for view, noise in zip(views, maps, strict=True)
        ]
        if treatment.strides:  # the last pass is not given the noise
            maps = [None] * len(views)

        def result() -> Denoised:
            outs = [pending() for pending in coming]
            return _after(outs, self._without_soft_limit(outs, views, maps), views, good, treatment)

        return result

    def _without_soft_limit(
        self, outs: list[Denoised], views: list[_View], maps: Sequence[Batch | None]
    ) -> list[Batch] | None:
        """What the network would have given without its limit, of each view; None where it had none."""
        if not self.network.soft_limit or any(noise is None for noise in maps):
            return None
        return [
            undo_soft_limit(out.mean, view.exposure.seen, self.network.soft_limit * noise)
            for out, view, noise in zip(outs, views, maps, strict=True)
            if noise is not None
        ]

    def _begin(self, seen: Batch, origins: Origins, strides: tuple[int, ...], sigma: Batch | None) -> Pending:
        for stride in strides:
            seen, sigma = self._strided(seen, origins, stride, sigma), None  # what noise is left is not known
        return self.network.submit(seen, origins, sigma)

    def _strided(self, tiles: Batch, origins: Origins, stride: int, sigma: Batch | None) -> Batch:
        """Each of the stride * stride images denoised, put together for the pass over the whole."""
        height, width = tiles.shape[-2:]
        whole = reflect(tiles, self.grid * stride)
        noise = None if sigma is None else reflect(sigma, self.grid * stride)
        parts = [np.s_[..., row::stride, column::stride] for row in range(stride) for column in range(stride)]
        smaller = tuple((row // stride, column // stride) for row, column in origins) * len(parts)
        given = np.concatenate([whole[part] for part in parts])
        noise = None if noise is None else np.concatenate([noise[part] for part in parts])
        outs = self.network.submit(given, smaller, noise)().mean
        first = np.empty_like(whole)
        for part, out in zip(parts, np.split(outs, len(parts)), strict=True):
            first[part] = out
        return np.ascontiguousarray(first[..., :height, :width])


def replace_impulses(tiles: Batch, treatment: NoiseTreatment, origins: Origins = ()) -> Batch:
    """Return tiles [B, C, H, W] without the dead and hot pixels that a treatment names.

    Args:
        tiles: in units of their range.
        treatment: of the tiles.
        origins: of each tile in the image; without them hot pixels stay.
    """
    if treatment.hot_pixels and origins:
        tiles = repair(tiles, _hot_pixels(tiles.shape, treatment.hot_pixels, origins))
    if not treatment.impulse_height:
        return tiles
    low = -np.inf if treatment.impulse_low is None else treatment.impulse_low + 1e-5
    high = np.inf if treatment.impulse_high is None else treatment.impulse_high - 1e-5
    extreme = (tiles <= low) | (tiles >= high)
    return repair(tiles, extreme & find_impulses(tiles, treatment.impulse_height))


def _hot_pixels(shape: tuple[int, ...], places: Origins, origins: Origins) -> NDArray[np.bool_]:
    """Which samples [B, C, H, W] of tiles are hot pixels."""
    gone = np.zeros(shape, np.bool_)
    for tile, origin in zip(gone, origins, strict=True):
        rows, columns = np.subtract(places, origin).T
        inside = (rows >= 0) & (rows < shape[2]) & (columns >= 0) & (columns < shape[3])
        tile[:, rows[inside], columns[inside]] = True
    return gone


def _local_sigma(tiles: Batch, treatment: NoiseTreatment) -> Batch:
    """Standard deviation of the noise at the local mean [B, 1, H, W]; that of all channels together."""
    around = 2 * MAP_REACH + 1
    local = np.moveaxis(uniform_filter(tiles, (1, 1, around, around), mode="reflect"), 1, 0)
    limits = treatment.limits if len(treatment.limits) > 1 else treatment.limits * len(local)
    squares = [one.sigma(channel) ** 2 for one, channel in zip(limits, local, strict=True)]
    return np.asarray(np.sqrt(np.mean(squares, axis=0))[:, None], np.float32)


@dataclass(frozen=True, eq=False)
class _View:
    """An exposure of tiles, of intensities that were transformed before."""

    transform: _Transform
    exposure: Exposure

    def intensities(self, seen: Batch) -> Batch:
        """What the network gave, as intensities."""
        return np.asarray(self.transform.backward(self.exposure.to_values(seen)), np.float32)

    def sigma(self, noise: Batch | None) -> Batch | None:
        """Standard deviation of the noise as the network sees it, from that of the intensities; None if not known."""
        if noise is None:
            return None
        return np.asarray(self.transform.sigma_after(noise) * self.exposure.contrast, np.float32)

    def std(self, out: Denoised) -> Batch:
        """Its standard deviation over the passes, to first order."""
        assert out.std is not None
        ends = (self.transform.backward(self.exposure.to_values(out.mean + sign * out.std)) for sign in (1, -1))
        return np.asarray(np.subtract(*ends) / 2, np.float32)


def _views(tiles: Batch, treatment: NoiseTreatment) -> list[_View]:
    """What the network is shown of some tiles.

    What is too bright or too dark for the first exposure is shown stabilized where its noise grows with the light:
    that holds for bright objects, too, that no sample has shown.
    """
    transform = _transform(treatment)
    views = [_View(transform, one) for one in expose(np.asarray(transform.forward(tiles), np.float32))]
    stabilised = _stabiliser_of_noise(treatment)
    if len(views) == 1 or treatment.gain or stabilised is None:
        return views
    left = 1.0 - views[0].exposure.weight
    beyond = expose(np.asarray(stabilised.forward(tiles), np.float32))
    return [views[0], *(_View(stabilised, replace(one, weight=one.weight * left)) for one in beyond)]


def _stabiliser_of_noise(treatment: NoiseTreatment) -> _Transform | None:
    if not treatment.noise:
        return None
    gain, variance = (float(np.median([one[i] for one in treatment.noise])) for i in (0, 1))
    return make_stabiliser(NoiseVariance(gain, variance), treatment.scale)


def _after(
    outs: list[Denoised], unlimited: list[Batch] | None, views: list[_View], tiles: Batch, treatment: NoiseTreatment
) -> Denoised:
    """What the network gave, as the image has it."""
    mean = _merged(views, [out.mean for out in outs])
    meant = mean if unlimited is None else _merged(views, unlimited)
    if treatment.strides and treatment.noise:
        mean = remove_pattern(mean, treatment.strides, _local_sigma(tiles, treatment))
    if treatment.gray:
        mean = _gray(mean, tiles)
    if treatment.noise:
        mean = limit_correction(mean, tiles, treatment.limits, treatment.width, treatment.clipped, meant)
    share = np.float32(treatment.blend)
    std = None
    if all(out.std is not None for out in outs):
        std = _weighted(views, [view.std(out) for view, out in zip(views, outs, strict=True)]) * share
    return Denoised(mean if share == 1 else tiles + share * (mean - tiles), std)


def _merged(views: list[_View], given: list[Batch]) -> Batch:
    return _weighted(views, [view.intensities(one) for view, one in zip(views, given, strict=True)])


def _weighted(views: list[_View], given: list[Batch]) -> Batch:
    if len(views) == 1:
        return given[0]
    return np.asarray(sum(view.exposure.weight * one for view, one in zip(views, given, strict=True)), np.float32)


def _gray(denoised: Batch, tiles: Batch) -> Batch:
    """Equal channels where the image has equal channels; a coloured mark elsewhere in the image keeps its colours."""
    equal = (tiles == tiles[:, :1]).all(axis=1, keepdims=True)
    return np.where(equal, denoised.mean(axis=1, keepdims=True), denoised)


class _Transform(Protocol):
    def forward(self, intensity: NDArray[Any]) -> NDArray[Any]: ...

    def backward(self, stabilised: NDArray[Any]) -> NDArray[Any]: ...

    def sigma_after(self, noise: NDArray[Any]) -> NDArray[Any]: ...


@dataclass(frozen=True)
class _Contrast:
    """Less or more contrast about an intensity, which becomes the middle of what the network sees."""

    scale: float
    centre: float = 0.5

    def forward(self, intensity: NDArray[Any]) -> NDArray[Any]:
        return intensity if self.scale == 1.0 else (intensity - self.centre) * self.scale + 0.5

    def backward(self, stabilised: NDArray[Any]) -> NDArray[Any]:
        return stabilised if self.scale == 1.0 else (stabilised - 0.5) / self.scale + self.centre

    def sigma_after(self, noise: NDArray[Any]) -> NDArray[Any]:
        return noise * self.scale


def _transform(treatment: NoiseTreatment) -> _Transform:
    if not treatment.gain:
        return _Contrast(treatment.scale, treatment.centre)
    made = make_stabiliser(NoiseVariance(treatment.gain, treatment.variance), treatment.scale)
    assert made is not None
    return made
