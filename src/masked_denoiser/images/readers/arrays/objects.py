"""Reader of arrays in memory: NumPy, masked, dask, torch, xarray, lists, and what converts itself to NumPy.

Libraries are recognised by the module of a type, so that none is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from masked_denoiser.errors import ImageError
from masked_denoiser.images.readers.arrays.labelled import read_labelled
from masked_denoiser.images.readers.base import ReaderResult, read_array

#: Modes of Pillow whose samples are intensities.
_PILLOW_MODES = ("L", "I", "F", "RGB", "RGBA", "I;16", "I;16L", "I;16B", "I;16N")


def read_array_object(array: Any) -> ReaderResult:
    """Describe an array in memory, or a lazy one such as dask's, without changing it.

    Raises:
        ImageError: if it is not an array of known shape, or converting it would lose something.
    """
    return _reader_of(array)(array)


def is_a(array: Any, library: str, name: str) -> bool:
    """Return whether an object is an instance of a class of a library, or of a class derived from it."""
    return any(c.__name__ == name and c.__module__.partition(".")[0] == library for c in type(array).__mro__)


def _reader_of(array: Any) -> Callable[[Any], ReaderResult]:
    if isinstance(array, np.ma.MaskedArray):
        return _read_masked
    if isinstance(array, np.ndarray):
        return read_array
    if isinstance(array, list | tuple):
        return _read_list
    if is_a(array, "torch", "Tensor"):
        return _read_tensor
    if is_a(array, "xarray", "DataArray") or is_a(array, "xarray", "Variable"):
        return read_labelled
    if is_a(array, "PIL", "Image"):
        return _read_pillow
    return _read_other


def _read_other(array: Any) -> ReaderResult:
    """Describe an array of another library, lazily if it can be indexed."""
    if is_a(array, "xarray", "Dataset"):
        raise ImageError(
            f"a Dataset is not an image; give one of its variables: {', '.join(map(str, array.data_vars))}"
        )
    if hasattr(array, "todense"):
        raise ImageError(f"{type(array).__name__} is a sparse array; give a NumPy array: array.todense()")
    if hasattr(array, "__cuda_array_interface__"):
        return read_array(_converted(array, _copy_from_gpu))
    if _is_indexable(array):
        _check_shape(array)
        _check_chunks(array)
        return read_array(array)
    if isinstance(array, type) or not (hasattr(array, "__array__") or hasattr(array, "__array_interface__")):
        raise ImageError(f"{type(array).__name__} is not an image; give a path, or an array such as NumPy's")
    return read_array(_converted(array, np.asarray))


def _is_indexable(array: Any) -> bool:
    """Return whether an object has a shape, a dtype that NumPy knows, and can be indexed."""
    if not all(hasattr(array, what) for what in ("shape", "dtype", "__getitem__")):
        return False
    try:
        np.dtype(array.dtype)
    except TypeError:
        return False
    return isinstance(array.shape, tuple)


def _check_shape(array: Any) -> None:
    if any(side != side for side in array.shape):  # NaN: dask knows the size only after computing
        raise ImageError(
            f"array: its shape {array.shape} has unknown sides; call array.compute_chunk_sizes() before, or compute()"
        )


def _check_chunks(array: Any) -> None:
    """Raise ImageError for a dask array whose chunks are not plain NumPy arrays, which would lose a mask or fail."""
    chunk = getattr(array, "_meta", None)
    if isinstance(chunk, np.ma.MaskedArray):
        raise ImageError("array: its chunks have masks; give array.compute(), or dask.array.ma.filled(array, value)")
    if is_a(array, "dask", "Array") and chunk is not None and not isinstance(chunk, np.ndarray | np.generic):
        raise ImageError(f"array: its chunks are of type {type(chunk).__name__}; convert them with array.map_blocks")


def _converted(array: Any, convert: Callable[[Any], Any]) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(convert(array))
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ImageError(
            f"{type(array).__name__} cannot be converted to a NumPy array ({reason}); convert it"
        ) from error


def _copy_from_gpu(array: Any) -> Any:
    """Return a copy in main memory of an array of CuPy (`get`) or Numba (`copy_to_host`)."""
    copy = getattr(array, "get", None) or getattr(array, "copy_to_host", None)
    if copy is None:
        raise TypeError("it is on a GPU")
    return copy()


def _read_list(rows: list[Any] | tuple[Any, ...]) -> ReaderResult:
    """Describe nested lists of numbers."""
    if any(isinstance(row, np.ma.MaskedArray) for row in rows):
        raise ImageError(f"{type(rows).__name__}: its arrays have masks; give numpy.ma.stack(list)")
    array = _converted(rows, np.asarray)
    if array.dtype.kind not in "biufc" and array.size:
        raise ImageError(f"{type(rows).__name__} of {array.dtype.name} is not an image; give numbers, or one path")
    return read_array(array)


def _read_tensor(tensor: Any) -> ReaderResult:
    """Describe a tensor of torch on any device; NumPy has no bfloat16, which becomes float32."""
    if tensor.is_quantized or tensor.is_meta or str(tensor.layout) != "torch.strided":
        kind = "quantized" if tensor.is_quantized else "without data" if tensor.is_meta else str(tensor.layout)
        raise ImageError(f"tensor: is {kind}; give a dense tensor: tensor.dequantize(), tensor.to_dense()")
    dense = tensor.detach().cpu().resolve_conj().resolve_neg()
    dense = dense.float() if str(tensor.dtype) == "torch.bfloat16" else dense
    return read_array(_converted(dense, lambda tensor: tensor.numpy()), "tensor")


def _read_pillow(image: Any) -> ReaderResult:
    """Describe an image of Pillow, unless its samples are no intensities, such as the indices of a palette."""
    if image.mode not in _PILLOW_MODES:
        raise ImageError(f"image: its mode {image.mode} is not read; convert it: image.convert('RGB') or convert('L')")
    return read_array(_converted(image, np.asarray), "image")


def _read_masked(array: np.ma.MaskedArray[Any, Any]) -> ReaderResult:
    """Describe a masked array: masked pixels are missing, which is NaN, or for integers a value that no pixel has."""
    pixels = np.asarray(array.data)
    mask = np.ma.getmaskarray(array)
    if pixels.dtype.kind == "f":
        return read_array(np.where(mask, pixels.dtype.type(np.nan), pixels))
    if pixels.dtype.kind not in "iu" or not mask.any():
        return read_array(pixels)
    value = _unused_value(pixels[~mask], array.fill_value)
    result = read_array(np.where(mask, pixels.dtype.type(value), pixels))
    return ReaderResult(**{**vars(result), "fill_values": (float(value),)})


def _unused_value(pixels: np.ndarray[Any, Any], preferred: Any) -> int:
    """Return an integer that no pixel has, beyond all of them if possible, and if possible the preferred one.

    Raises:
        ImageError: if there is none.
    """
    limits = np.iinfo(pixels.dtype)
    low, high = (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 0.0)
    for value in map(int, (preferred, limits.min, limits.max)):
        # NumPy's default may not fit into the dtype. Fill values are compared as floats.
        if limits.min <= value <= limits.max and not low <= float(value) <= high:
            return value
    used = np.unique(pixels).astype(np.float64)
    if not (gaps := np.flatnonzero(np.diff(used) > 1)).size or pixels.dtype.itemsize > 4:
        raise ImageError(
            f"array: all values of {pixels.dtype} occur, so that none can mark masked pixels; convert it to float32"
        )
    return int(used[gaps[0]]) + 1
