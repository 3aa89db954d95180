"""Lazily denoised images: dask arrays whose blocks are computed when they are read."""

from __future__ import annotations

import logging
import warnings
import weakref
from contextlib import ExitStack
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from masked_denoiser.errors import JobError
from masked_denoiser.images.open import open_image
from masked_denoiser.images.planes import Plane
from masked_denoiser.images.readers.chunk_cache import ChunkedArray
from masked_denoiser.images.source import Source, axes_notes
from masked_denoiser.images.writers.downsample import halve
from masked_denoiser.images.writers.layout import SMALLEST_LEVEL
from masked_denoiser.jobs.lazy.rectangles import RectangleDenoiser
from masked_denoiser.jobs.messages import unremoved_noise_messages
from masked_denoiser.jobs.pipeline.tile_stages import Pixels
from masked_denoiser.jobs.resolve_job import resolve_job
from masked_denoiser.jobs.spec.check_options import make_options
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.jobs.spec.parameter_names import parameters_in_errors, with_parameters
from masked_denoiser.jobs.spec.resolved_job import ResolvedJob
from masked_denoiser.models.catalogue import AUTO
from masked_denoiser.models.file import Model
from masked_denoiser.tiling.groups import batches

if TYPE_CHECKING:
    from dask.array import Array as DaskArray

_LOG = logging.getLogger(__name__)

#: Default size in bytes of the cache of denoised blocks.
CACHE_BYTES = 512 * 2**20


@parameters_in_errors()
def denoise_lazy(
    image: Any,
    *,
    model: Model | str | Path = AUTO,
    axes: str | None = None,
    reader: str = "",
    device: str = "auto",
    options: Options | None = None,
    cache_bytes: int = CACHE_BYTES,
    **settings: Any,
) -> DaskArray | list[DaskArray]:
    """Return an image whose blocks are denoised when they are read: `masked_denoiser.denoise_lazy`.

    Noise and intensity range are measured now, by the same code as for a job; the pixels are those of `denoise`. Blocks
    are tiles of the job. Any thread may compute them; the network runs in one thread at a time.

    Args:
        image: anything that `open_image` accepts.
        model: a model, its name or its path; "auto" takes general-rgb or general-gray, depending on the image.
        axes: one letter of TCZYXS for each dimension, if the image does not name them.
        reader: napari plugin or reader of bioio that opens a file; see `open_image`.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        options: how to denoise; a standard deviation is not available.
        cache_bytes: most bytes of denoised blocks that are kept in memory.
        settings: fields of `Options`, such as `noise="none"`.

    Returns:
        A dask array with the axes, shape and dtype of the image; the original numbers are under the mask of a masked
        array, which is that of the result, too. For an image with several levels, a list of levels,
        each of which is the mean of 2 x 2 pixels of the one before.

    Raises:
        MaskedDenoiserError: if the image cannot be denoised with these settings, or dask is not installed.

    Warns:
        UserWarning: about guessed axes, and about noise that is too weak to be removed.
    """
    _check_dask()
    options = make_options(options, settings)
    if options.std:
        raise JobError("denoise_lazy has no standard deviation; set std to False, or use denoise_file")
    with ExitStack() as stack:
        source = open_image(image, axes=axes, reader=reader)
        if not isinstance(image, Source):
            stack.callback(source.close)
        resolved = resolve_job(source, model=model, options=options, device=device, report=_LOG.info)
        files = stack.pop_all()
    for text in [*axes_notes(source), *unremoved_noise_messages(resolved.job)]:
        warnings.warn(with_parameters(text), UserWarning, stacklevel=3)  # between them is `parameters_in_errors`
    blocks = LazyBlocks(resolved)
    fine = _to_dask(blocks.array(cache_bytes), image)
    weakref.finalize(blocks, files.close)
    return _pyramid(fine, source.axes) if len(source.levels) > 1 else fine


class LazyBlocks:
    """Denoiser of single blocks of an image: of all planes of a colour image, or of one plane.

    A block is a group of tiles, as in a job without output, so that batches and thus pixels are the same.
    """

    def __init__(self, resolved: ResolvedJob) -> None:
        self._resolved, self._rectangles = resolved, RectangleDenoiser(resolved)
        job, source, colour = resolved.job, resolved.source, self._rectangles.whole_axis
        rows, columns = job.group[0] * job.tile, job.group[1] * job.tile
        sides = {"Y": rows, "X": columns} | ({colour: source.sizes[colour]} if colour else {})
        self.chunks = tuple(min(sides.get(letter, 1), side) for letter, side in source.sizes.items())

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied to another process, as dask's processes and clusters would.

        Raises:
            JobError: always, with the remedy.
        """
        raise JobError(
            "the blocks of denoise_lazy are computed in this process, which has the network; compute them with "
            'scheduler="threads" or "synchronous", or denoise the file on a cluster with denoise_file'
        )

    def array(self, cache_bytes: int) -> ChunkedArray:
        """Return a lazy array of all blocks with a cache of this size."""
        job, source = self._resolved.job, self._resolved.source
        return ChunkedArray(source.shape, job.result_dtype, self.chunks, self.compute, cache_bytes)

    def compute(self, index: tuple[int, ...]) -> Pixels:
        """Return the block at a position of the grid, clipped to the image, with the axes of the image."""
        job, source = self._resolved.job, self._resolved.source
        at = dict(zip(source.axes, index, strict=True))
        number = at["Y"] * job.groups.grid[1] + at["X"]
        planes = self._rectangles.planes_at(at)
        return self._rectangles.assemble([(plane, self._denoise(plane, number)) for plane in planes])

    def _denoise(self, plane: Plane, number: int) -> Pixels:
        """Return a group of tiles of a plane as [channels, height, width]."""
        group = self._resolved.job.groups[number]
        rows, columns = group.core
        out: Pixels | None = None
        for batch in batches(group.tiles, self._resolved.job.batch):
            for tile, pixels in zip(batch, self._rectangles.denoise_batch(plane, batch), strict=True):
                if out is None:
                    out = np.empty((len(pixels), len(rows), len(columns)), pixels.dtype)
                out[:, tile.core[0].inside(rows), tile.core[1].inside(columns)] = pixels
        assert out is not None
        return out


def _check_dask() -> None:
    try:
        import dask.array  # noqa: F401
    except ImportError as error:
        raise JobError(
            "denoise_lazy needs dask, which is not installed: pip install 'napari-masked-denoiser[cluster]'"
        ) from error


def _to_dask(array: ChunkedArray, image: Any) -> DaskArray:
    """Return a lazy array as a dask array, masked like the image."""
    from dask import array as da

    # Without a name: dask would read all pixels to derive one.
    denoised: DaskArray = da.from_array(array, chunks=array.chunks, name=False)  # type: ignore[no-untyped-call]
    if not isinstance(image, np.ma.MaskedArray):
        return denoised
    mask = da.from_array(np.ma.getmaskarray(image), chunks=array.chunks)  # type: ignore[no-untyped-call]
    numbers = da.from_array(np.asarray(image.data), chunks=array.chunks)  # type: ignore[no-untyped-call]
    kept = da.where(mask, numbers.astype(denoised.dtype), denoised)
    fill_value = image.fill_value if image.dtype == denoised.dtype else None
    return da.ma.masked_array(kept, mask=mask, fill_value=fill_value)  # type: ignore[no-any-return]


def _pyramid(fine: DaskArray, axes: str) -> list[DaskArray]:
    """Return an image and its lower levels, as many as an output on disk has."""
    y, x = axes.index("Y"), axes.index("X")
    levels = [fine]
    while max(levels[-1].shape[y], levels[-1].shape[x]) > SMALLEST_LEVEL:
        levels.append(_halved(levels[-1], y, x))
    return levels


def _halved(fine: DaskArray, y: int, x: int) -> DaskArray:
    """Return means of 2 x 2 pixels, in blocks about as large as those of the finer level."""
    sides = {axis: 2 * max(fine.chunks[axis]) for axis in (y, x)}
    blocks: Any = fine.rechunk(sides)  # type: ignore[no-untyped-call]
    chunks = [
        tuple(ceil(side / 2) for side in sides) if axis in (y, x) else sides for axis, sides in enumerate(blocks.chunks)
    ]
    empty = np.empty((0,) * fine.ndim, fine.dtype)
    coarse: DaskArray = blocks.map_blocks(halve, y, x, dtype=fine.dtype, chunks=chunks, meta=empty)
    return coarse
