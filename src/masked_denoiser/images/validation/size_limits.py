"""What a file may ask for before anything is read: images have no limit, but no single piece may fill the memory.

A piece is whatever must be decoded whole: a chunk, a tile, a strip, a page, a PNG. Its size is declared in a header,
and a few bytes can declare, or decompress to, terabytes.
"""

from __future__ import annotations

import os
from math import isfinite, prod

from masked_denoiser.errors import ImageError

#: Sets the budget, in GiB.
VARIABLE = "MASKED_DENOISER_CHUNK_GIB"

#: A job lists all planes of an image, and readers all pages of a file.
MOST_PLANES = 2_000_000

#: Of the machine's memory; a job holds several pieces at once.
_SHARE, _LEAST = 8, 2 * 2**30


def budget_bytes() -> int:
    """How large one decoded piece may be: 2 GiB, or an eighth of the machine's memory where that is more.

    Raises:
        ImageError: if the environment variable that overrides it is no number above 0.
    """
    asked = os.environ.get(VARIABLE)
    if asked is None:
        import psutil  # not needed where the limit is given

        return max(_LEAST, int(psutil.virtual_memory().total) // _SHARE)
    try:
        gib = float(asked)
    except ValueError:
        gib = 0.0
    if not (isfinite(gib) and gib > 0):
        raise ImageError(f"{VARIABLE} is {asked!r}; set it to a number of GiB above 0, such as 4")
    return int(gib * 2**30)


def check_piece(shape: tuple[int, ...], itemsize: int, what: str, name: str) -> None:
    """Refuses a piece whose declared size is over the budget.

    Args:
        shape: its declared sides.
        itemsize: bytes of a sample.
        what: such as "a chunk".
        name: of the image.

    Raises:
        ImageError: naming sides, size and budget.
    """
    size, most = prod(shape) * itemsize, budget_bytes()
    if size > most:
        raise ImageError(
            f"{name}: {what} of {' x '.join(map(str, shape))} would take {size / 2**30:.3g} GiB at once, and "
            f"{most / 2**30:.3g} are allowed; store it in smaller pieces, or set {VARIABLE} if you trust the file"
        )


def check_length(length: int, most: int, what: str, name: str) -> None:
    """Refuses metadata that are longer than any that a program writes.

    Args:
        length: declared or found.
        most: what is allowed.
        what: it is, such as "bytes of OME-XML".
        name: of the image.

    Raises:
        ImageError: naming both numbers.
    """
    if length > most:
        raise ImageError(f"{name}: has {length} {what}, and {most} are allowed; copy or export it again")
