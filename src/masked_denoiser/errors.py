"""Every error that a user of the package, the command line or the docks can resolve."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

#: What to do about an output that cannot be written any more, by `errno`.
_REMEDIES = (
    dict.fromkeys((errno.ENOSPC, errno.EFBIG), "free space on its disk")
    | {getattr(errno, "EDQUOT", errno.ENOSPC): "free some of your quota"}  # Windows has no quota error
    | dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "restore the permission to write there")
)

#: Characters of a noise recipe that an error shows on either side of what is wrong.
_SHOWN = 200


class MaskedDenoiserError(Exception):
    """Base of all errors that a user can resolve.

    The message is one line: the value, what is wrong with it, and what to do. The command line and the docks show
    the message alone; anything else is a defect and shows its traceback.
    """


class ConfigError(MaskedDenoiserError, ValueError):
    """A network configuration that cannot be built."""


class DeviceError(MaskedDenoiserError, ValueError):
    """A device that is missing, or cannot do what was requested of it.

    Not a RuntimeError, as torch's own is: napari's workers lose those.
    """


class EvaluationError(MaskedDenoiserError, ValueError):
    """An evaluation that cannot be done as requested."""


class BaselineError(EvaluationError):
    """An unknown classical denoiser, or one whose package is missing."""


class LogError(EvaluationError):
    """A training log that cannot be drawn."""


class MetricError(EvaluationError):
    """An unknown measure of quality."""


class PictureError(EvaluationError):
    """A picture that cannot be written where it should."""


class PlotError(EvaluationError):
    """A plot that cannot be drawn."""


class FormError(MaskedDenoiserError, ValueError):
    """A field of a dock that must be filled in otherwise."""


class ImageError(MaskedDenoiserError, ValueError):
    """An image that cannot be read, or not in the way that was requested for."""


class DamagedError(ImageError):
    """A region of an image whose pixels cannot be decoded."""


class UnknownSampleError(MaskedDenoiserError, ValueError):
    """A sample image of a name that does not exist."""


class JobError(MaskedDenoiserError, ValueError):
    """A job that cannot be done as requested."""


class AlreadyCompleteError(JobError):
    """A job that was to be resumed, whose output is complete."""


class ListError(JobError):
    """A list of images that cannot be denoised as requested."""


class OutputError(JobError):
    """An output that can no longer be written; what was written before is kept."""

    def __init__(self, path: Path, error: OSError) -> None:
        """Describe what happened to `path`; `errno` is that of `error`."""
        self.errno = error.errno
        remedy = _REMEDIES.get(error.errno or 0, "check that its disk is mounted and writable")
        super().__init__(f"{path} cannot be written any more ({error.strerror or error}): {remedy}, then --resume")
        self._arguments = path, error

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to unpickle the error, which workers of a cluster send."""
        return OutputError, self._arguments


class StoppedError(JobError):
    """A run on a worker that its driver stopped."""


class ModelError(MaskedDenoiserError, ValueError):
    """A model that cannot be found, read, written or trusted."""


class NoiseError(MaskedDenoiserError, ValueError):
    """A description of noise that cannot be used."""


class RecipeError(NoiseError):
    """A noise recipe that cannot be parsed.

    Attributes:
        position: index of the offending character in the text, from 0.
    """

    def __init__(self, text: str, position: int, problem: str) -> None:
        """Show `problem` with the text around `position`."""
        marked = f"{text[max(0, position - _SHOWN) : position]}>>>{text[position : position + _SHOWN]}"
        super().__init__(f"noise recipe, character {position + 1}: {problem} (at >>> in {marked!r})")
        self.position = position
        self._arguments = text, position, problem

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to unpickle the error."""
        return RecipeError, self._arguments


class PlanError(MaskedDenoiserError, ValueError):
    """Tile settings that cannot be used."""


class TrainingError(MaskedDenoiserError, ValueError):
    """A training that cannot be done as requested."""


class StoppedEarlyError(TrainingError):
    """A training that was stopped before it began; nothing was written."""

    def __init__(self) -> None:
        super().__init__("stopped before training began; nothing was written")

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to unpickle the error."""
        return StoppedEarlyError, ()


def one_line(error: BaseException) -> str:
    """Return what went wrong in one line; the name of an error without a message."""
    return " ".join(str(error).split()) or type(error).__name__
