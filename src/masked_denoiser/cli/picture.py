"""Where a picture may be written."""

from __future__ import annotations

from pathlib import Path

from masked_denoiser.errors import UserError


class PictureError(UserError, ValueError):
    """A picture that cannot be written where it should."""


def picture_path(text: str) -> Path:
    """The path of a picture that is to be written.

    Raises:
        PictureError: if it does not end in .png, or something is there: an image, perhaps, of which there is no other.
    """
    path = Path(text)
    if path.suffix.lower() != ".png" or path.exists():
        raise PictureError(f"{path} {'exists' if path.exists() else 'does not end in .png'}; give another name")
    return path
