"""Calls of foreign code: whatever a plugin raises becomes an error that names the plugin.

A plugin is arbitrary code that the user installed, and its libraries define errors of their own, so that no list of
types covers them. Nothing is hidden here: each error is raised again, with its type and message.
"""

from __future__ import annotations

from types import TracebackType

from masked_denoiser.errors import ImageError
from masked_denoiser.images.source import DECODER_ERRORS

#: Errors of reading pixels that `Source.read` describes itself.
_KNOWN = (*DECODER_ERRORS, OSError, ImportError)


class PluginCall:
    """Context that raises the errors of a plugin as ImageError in one line.

    Args:
        reader: description of the plugin.
        where: path or address of the image.
    """

    def __init__(self, reader: str, where: str) -> None:
        self._reader, self._where = reader, where

    def __enter__(self) -> None:
        """Begin the call."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise an error of the plugin as one of this package."""
        if isinstance(error, Exception) and not isinstance(error, ImageError):
            raise ImageError(
                f"{self._where}: cannot be read by {self._reader} ({describe(error)}); choose another --reader, or ask "
                "its authors"
            ) from error


class PixelCall(PluginCall):
    """Context of reading pixels later, which raises what `Source.read` turns into an error with the position."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise an error of a type that decoders do not have as a ValueError."""
        if isinstance(error, Exception) and not isinstance(error, _KNOWN):
            raise ValueError(f"{self._reader}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """Return the type and the message of an error, in one line of limited length."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
