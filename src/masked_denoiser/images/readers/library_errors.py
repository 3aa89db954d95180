"""Errors of format libraries, raised as ImageError of one line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from masked_denoiser.errors import ImageError, one_line
from masked_denoiser.images.source import DECODER_ERRORS

#: What libraries raise for files that they cannot parse. The parser of XML raises a SyntaxError.
_LIBRARY_ERRORS: tuple[type[Exception], ...] = (
    *DECODER_ERRORS,
    OSError,
    AssertionError,
    AttributeError,
    SyntaxError,
    MemoryError,
    ImportError,
)


@contextmanager
def wrap_errors(
    path: Path, kind: str, *others: type[Exception], remedy: str = "copy or export it again"
) -> Iterator[None]:
    """Raise the errors of a library while a file is opened as ImageError, and ignore its warnings.

    Args:
        path: of the file.
        kind: of the file with its article, such as "an MRC".
        others: classes of the library's own errors.
        remedy: what the user can do.

    Raises:
        ImageError: with the path, the reason and the remedy.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except (*_LIBRARY_ERRORS, *others) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"[:300]
        raise ImageError(f"{path}: is {kind} that is damaged or not supported ({reason}); {remedy}") from error
