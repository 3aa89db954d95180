"""Decoders for pydicom by imagecodecs, which is installed anyway: JPEG lossless, 12-bit JPEG, JPEG-LS and JPEG 2000.

pydicom by itself needs packages for these that are under the GPL, or less common. The functions that it requires of a
decoder are documented at https://pydicom.github.io/pydicom/stable/guides/decoding/decoder_plugins.html.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import imagecodecs
import numpy as np
from pydicom import uid as uids
from pydicom.pixels.decoders.base import get_decoder

_LABEL = "imagecodecs"


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    uids.JPEGExtended12Bit: imagecodecs.jpeg8_decode,
    uids.JPEGLossless: imagecodecs.ljpeg_decode,
    uids.JPEGLosslessSV1: imagecodecs.ljpeg_decode,
    uids.JPEGLSLossless: imagecodecs.jpegls_decode,
    uids.JPEGLSNearLossless: imagecodecs.jpegls_decode,
    uids.JPEG2000Lossless: imagecodecs.jpeg2k_decode,
    uids.JPEG2000: imagecodecs.jpeg2k_decode,
    uids.HTJ2KLossless: imagecodecs.jpeg2k_decode,
    uids.HTJ2KLosslessRPCL: imagecodecs.jpeg2k_decode,
    uids.HTJ2K: imagecodecs.jpeg2k_decode,
}

#: Required by pydicom: what each decoder depends on.
DECODER_DEPENDENCIES = dict.fromkeys(_DECODERS, ("imagecodecs",))


def is_available(uid: str) -> bool:
    """Return whether frames of a transfer syntax can be decoded; required by pydicom."""
    return uid in _DECODERS


def decode_frame(data: bytes, runner: Any) -> bytes:
    """Return the samples of a compressed frame as bytes, pixel by pixel; called by pydicom's runner.

    Raises:
        ValueError: if the frame does not have the declared size.
    """
    pixels = np.asarray(_DECODERS[runner.transfer_syntax](data))
    expected = (runner.rows, runner.columns, runner.samples_per_pixel)
    if pixels.reshape(*pixels.shape, *[1] * (3 - pixels.ndim)).shape != expected:
        raise ValueError(f"a compressed frame has the shape {pixels.shape} instead of {expected}")
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", pixels.dtype.itemsize * 8)
    return np.ascontiguousarray(pixels).tobytes()


@cache
def register() -> None:
    """Add these decoders to those of pydicom, after its own, and silence its warnings of sloppy files, once."""
    warnings.filterwarnings("ignore", module=r"pydicom\.")
    for syntax in _DECODERS:
        get_decoder(syntax).add_plugin(_LABEL, (__name__, "decode_frame"))
