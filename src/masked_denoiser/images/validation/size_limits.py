"""Size limits that a file must meet before it is read: images may have any size, but not what is decoded whole.

Chunks, tiles, strips, pages and PNG or JPEG files are decoded whole. Their size is declared in a header, and a few
bytes can declare, or decompress to, terabytes.
"""

from __future__ import annotations

import os
from math import isfinite, prod

from masked_denoiser.errors import ImageError

#: Environment variable that overrides the size limit, in GiB.
LIMIT_VARIABLE = "MASKED_DENOISER_CHUNK_GIB"

#: Maximum number of planes or pages, as jobs list all planes of an image and readers all pages of a file.
MAX_PLANES = 2_000_000

#: Default limit: a fraction of the memory, as a job keeps several chunks in memory, but at least 2 GiB.
_MEMORY_DIVISOR, _MIN_LIMIT_BYTES = 8, 2 * 2**30


def decoded_size_limit() -> int:
    """Return the maximum bytes decoded at a time: an eighth of the machine's memory, but at least 2 GiB.

    Raises:
        ImageError: if the environment variable that overrides it is not a positive number.
    """
    setting = os.environ.get(LIMIT_VARIABLE)
    if setting is None:
        import psutil  # not needed if the limit is set

        return max(_MIN_LIMIT_BYTES, int(psutil.virtual_memory().total) // _MEMORY_DIVISOR)
    try:
        gib = float(setting)
    except ValueError:
        gib = 0.0
    if not (isfinite(gib) and gib > 0):
        raise ImageError(f"{LIMIT_VARIABLE} is {setting!r}; set it to a number of GiB above 0, such as 4")
    return int(gib * 2**30)


def check_decoded_size(shape: tuple[int, ...], itemsize: int, kind: str, name: str) -> None:
    """Raise an error if something to be decoded whole exceeds the size limit.

    Args:
        shape: as declared by the file.
        itemsize: bytes per sample.
        kind: description for the message, such as "a chunk".
        name: of the image.

    Raises:
        ImageError: with shape, size and limit.
    """
    size, limit = prod(shape) * itemsize, decoded_size_limit()
    if size > limit:
        raise ImageError(
            f"{name}: {kind} of {' x '.join(map(str, shape))} would take {size / 2**30:.3g} GiB of memory, and "
            f"{limit / 2**30:.3g} are allowed; store it in smaller chunks, or raise {LIMIT_VARIABLE} if you trust it"
        )


def check_length(length: int, limit: int, unit: str, name: str) -> None:
    """Raise an error for metadata longer than any that programs write.

    Args:
        length: declared or actual number.
        limit: maximum number.
        unit: description for the message, such as "bytes of OME-XML".
        name: of the image.

    Raises:
        ImageError: with both numbers.
    """
    if length > limit:
        raise ImageError(f"{name}: has {length} {unit}, and {limit} are allowed; copy or export it again")
