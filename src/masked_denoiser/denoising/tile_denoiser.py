"""A network with what is done around it: intensities made even, strides for correlated noise, and back.

Strides: noise that neighbours share is independent in every second (third, ...) row and column, so each of these
images is denoised by itself. Put together again, they differ by what noise is left in each; a second pass over the
whole takes that away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from masked_denoiser.denoising.correction_limits import keep_local_mean, take_no_more
from masked_denoiser.denoising.denoiser import Batch, Denoised, Denoiser, Pending
from masked_denoiser.denoising.noise_treatment import NoiseTreatment
from masked_denoiser.denoising.variance_stabilization import make_stabiliser
from masked_denoiser.noise.variance_model import NoiseVariance


class Network(Protocol):
    """What is needed of a `Denoiser`; tests pass in others."""

    def __call__(self, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> Denoised:
        """Denoises tiles [B, C, H, W] whose first pixels lie at these origins."""


@dataclass(frozen=True)
class TileDenoiser:
    """A network that is given tiles as it knows them.

    Attributes:
        network: denoises what was made ready.
        grid: of the network; heights and widths of tiles at the bottom and right of an image need not be multiples.
    """

    network: Network
    grid: int

    def __call__(self, tiles: Batch, origins: tuple[tuple[int, int], ...], treatment: NoiseTreatment) -> Denoised:
        """Denoises tiles.

        Args:
            tiles: [B, C, H, W] in [0, 1].
            origins: of each tile in the image, multiples of `grid * treatment.stride`.
            treatment: what to do around the network.
        """
        return self.submit(tiles, origins, treatment)()

    def submit(self, tiles: Batch, origins: tuple[tuple[int, int], ...], treatment: NoiseTreatment) -> Pending:
        """The same, as `Denoiser.submit`: what comes after the network is done when the result is asked for."""
        if not treatment.share:
            return lambda: Denoised(tiles, np.zeros_like(tiles))
        transform = _transform(treatment)
        seen = np.asarray(transform.forward(tiles), np.float32)
        if treatment.stride > 1:
            seen = self._strided(seen, origins, treatment.stride)
        coming = _submit(self.network, seen, origins)
        return lambda: _after(coming(), tiles, treatment, transform)

    def _strided(self, tiles: Batch, origins: tuple[tuple[int, int], ...], stride: int) -> Batch:
        """Each of the stride * stride images denoised, put together for the pass over the whole."""
        height, width = tiles.shape[-2:]
        whole = np.pad(
            tiles, ((0, 0), (0, 0), (0, -height % (self.grid * stride)), (0, -width % (self.grid * stride))), "reflect"
        )
        smaller = tuple((row // stride, column // stride) for row, column in origins)
        first = np.empty_like(whole)
        for row in range(stride):
            for column in range(stride):
                part = np.s_[..., row::stride, column::stride]
                first[part] = self.network(np.ascontiguousarray(whole[part]), smaller).mean
        return np.ascontiguousarray(first[..., :height, :width])


def _submit(network: Network, tiles: Batch, origins: tuple[tuple[int, int], ...]) -> Pending:
    if isinstance(network, Denoiser):
        return network.submit(tiles, origins)
    done = network(tiles, origins)
    return lambda: done


def _after(out: Denoised, tiles: Batch, treatment: NoiseTreatment, transform: _Transform) -> Denoised:
    """What the network gave, as the image has it."""
    mean = np.asarray(transform.backward(out.mean), np.float32)
    if treatment.gain:
        mean = keep_local_mean(mean, tiles, NoiseVariance(treatment.gain, treatment.variance))
    if treatment.levels:
        mean = take_no_more(mean, tiles, [NoiseVariance(*level) for level in treatment.levels])
    std = None if out.std is None else _spread(transform, out.mean, out.std) * np.float32(treatment.share)
    return Denoised(mean if treatment.share == 1 else tiles + np.float32(treatment.share) * (mean - tiles), std)


class _Transform(Protocol):
    def forward(self, intensity: NDArray[Any]) -> NDArray[Any]: ...

    def backward(self, stabilised: NDArray[Any]) -> NDArray[Any]: ...


@dataclass(frozen=True)
class _Contrast:
    """Less contrast about the middle of the range."""

    scale: float

    def forward(self, intensity: NDArray[Any]) -> NDArray[Any]:
        return intensity if self.scale == 1.0 else (intensity - 0.5) * self.scale + 0.5

    def backward(self, stabilised: NDArray[Any]) -> NDArray[Any]:
        return stabilised if self.scale == 1.0 else (stabilised - 0.5) / self.scale + 0.5


def _transform(treatment: NoiseTreatment) -> _Transform:
    if not treatment.gain:
        return _Contrast(treatment.scale)
    made = make_stabiliser(NoiseVariance(treatment.gain, treatment.variance), treatment.scale)
    assert made is not None
    return made


def _spread(transform: _Transform, mean: Batch, std: Batch) -> Batch:
    """The standard deviation after going back, to first order."""
    return np.asarray((transform.backward(mean + std) - transform.backward(mean - std)) / 2, np.float32)
