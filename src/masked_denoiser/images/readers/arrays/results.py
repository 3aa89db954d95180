"""Results of the same kind as the array that was given: tensors, masked and labelled arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from masked_denoiser.images.readers.arrays.objects import is_a


def like_input(array: Any, pixels: np.ndarray[Any, Any], *, same_dtype: bool) -> Any:
    """Return a result as the kind of object that its image was.

    Args:
        array: the image: a tensor of torch (the result is one on the CPU), a masked array (with the same mask, and the
            original numbers under it) or an array of xarray (with the same dimensions, coordinates, attributes and
            name). The result for anything else is `pixels`.
        pixels: the result, of the shape of the image.
        same_dtype: whether the result has the dtype of the image.
    """
    if isinstance(array, np.ma.MaskedArray):
        return _masked(array, pixels)
    if is_a(array, "torch", "Tensor"):
        import torch

        tensor = torch.from_numpy(pixels)
        return tensor.to(array.dtype) if same_dtype else tensor
    if is_a(array, "xarray", "DataArray") or is_a(array, "xarray", "Variable"):
        return array.copy(data=pixels)
    return pixels


def _masked(array: np.ma.MaskedArray[Any, Any], pixels: np.ndarray[Any, Any]) -> np.ma.MaskedArray[Any, Any]:
    mask = np.ma.getmask(array)
    if mask is np.ma.nomask:
        return np.ma.MaskedArray(pixels)
    kept = np.where(mask, np.asarray(array.data).astype(pixels.dtype), pixels)
    result = np.ma.MaskedArray(kept, mask=mask.copy())
    if array.dtype == pixels.dtype:
        with np.errstate(over="ignore"):  # NumPy's default, 1e20, is infinite as float16
            result.fill_value = array.fill_value
    return result
