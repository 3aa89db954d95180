"""Messages of the docks: errors, and how a job or a training ended."""

from __future__ import annotations

import re
from pathlib import Path

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.jobs.pipeline.events import Cancelled, Finished, Progress
from masked_denoiser.jobs.spec.options import OPTIONS, flag_of
from masked_denoiser.messages import readable_time
from masked_denoiser.training.events import ESTIMATED, HIDDEN_PIXELS, Trained

#: Seconds after which the end of a job is worth a notification.
NOTIFIED_SECONDS = 10.0

#: Parts of the messages of out-of-memory errors.
_MEMORY_PHRASES = ("out of memory", "not enough memory", "can't allocate", "alloc failed")

_COMMAND = "masked-denoiser "

_FLAG = re.compile(r"(?<![\w/-])--[a-z]+(?:-[a-z]+)*")

#: Fields of the docks, or what their buttons do, by the flag that messages name.
_FIELDS = {flag_of(option): option.label for option in OPTIONS.values() if option.label} | {
    f"--{name}": name for name in ("model", "axes", "reader", "device", "resume", "overwrite")
}


def with_fields(text: str) -> str:
    """Return a message, which is that of the command line, with the names of the dock's fields in place of flags.

    Messages that have a whole command are returned unchanged.
    """
    if _COMMAND in text:
        return text
    return _FLAG.sub(lambda match: _FIELDS.get(match[0], match[0]), text)


def describe_error(error: BaseException) -> str:
    """Return an error as one line: value, reason and remedy."""
    text = " ".join(str(error).split())
    if isinstance(error, MaskedDenoiserError):
        return text
    if isinstance(error, MemoryError) or any(phrase in text.lower() for phrase in _MEMORY_PHRASES):
        return f"there was not enough memory ({text or 'MemoryError'}); choose a smaller tile, or an output on disk"
    if isinstance(error, OSError):
        return f"a file could not be read or written ({text}); check the disk and its permissions"
    return f"unexpected {type(error).__name__}: {text}; please report this and the steps that led to it"


def describe_job_end(event: Finished | Cancelled, layer_name: str, output: Path | None, reason: str = "") -> str:
    """Return one or two sentences about how a job ended.

    Args:
        event: last event of the job.
        layer_name: name of the result's layer; "" if the user has removed it.
        output: output file or folder; None for a result in memory.
        reason: clause about what cancelled the job; "" if the user did.
    """
    progress = event.progress
    if isinstance(event, Finished):
        layer = f"layer '{layer_name}'" if layer_name else "the result was removed"
        place = layer if output is None else str(output)
        skipped = f", {event.skipped} of them background" if event.skips_background else ""
        bottleneck = f" {event.bottleneck[0].upper()}{event.bottleneck[1:]}." if event.bottleneck else ""
        return f"Done: {place}, {_count_tiles(progress)}{skipped} in {readable_time(progress.seconds)}.{bottleneck}"
    return f"Cancelled{reason}: {_describe_kept(progress, layer_name, output)}"


def _count_tiles(progress: Progress) -> str:
    return f"{progress.total} tile{'' if progress.total == 1 else 's'}"


def _describe_kept(progress: Progress, layer_name: str, output: Path | None) -> str:
    done = f"{progress.done} of {_count_tiles(progress)}"
    if output is not None:
        return f"{done} are kept in {output}. Press Denoise with the same settings to resume."
    if not progress.done or not layer_name:
        return "nothing is kept."
    return f"{done} stay in layer '{layer_name}'. A job in memory cannot be resumed; a job on disk can."


def describe_training_end(trained: Trained) -> str:
    """Return one or two sentences about how a training ended, and the quality of its weights."""
    reason = {
        "finished": f"Done: {trained.step} steps.",
        "stopped": f"Stopped after {trained.step} steps; press Continue to resume.",
        "no better": f"Stopped after {trained.step} steps, because the validation score no longer improved.",
        "diverged": f"Stopped after {trained.step} steps: the training diverged; try a lower learning rate.",
    }[trained.why]
    return f"{reason} {_best_weights(trained)}"


def _best_weights(trained: Trained) -> str:
    if trained.best_psnr is None:
        return "Save writes the last weights." if trained.best_step else "No weights were trained yet."
    noise = next(iter(trained.after), "")
    if noise == HIDDEN_PIXELS:
        return _best_at_hidden_pixels(trained)
    if not trained.best_step:
        return f"No step was better than the original model, at {trained.best_psnr:.2f} dB."
    before = trained.before.get(noise)
    gain = "" if before is None else f" ({trained.best_psnr - before:+.2f} dB relative to the original model)"
    method = f", compared with the {ESTIMATED}" if noise == ESTIMATED else ""
    return (
        f"The best step, {trained.best_step}, has {trained.best_psnr:.2f} dB on held-out patches{gain}{method}. "
        "Save writes it."
    )


def _best_at_hidden_pixels(trained: Trained) -> str:
    """Return a sentence without a gain, as hidden pixels do not compare a network with the original one."""
    if not trained.best_step:
        return "No step predicted hidden pixels better than the original model."
    return (
        f"The best step, {trained.best_step}, predicts hidden pixels best, which does not tell whether it denoises "
        "better than the original model: compare both by eye. Save writes it."
    )


def closing_question(output: Path | None) -> str:
    """Return the question before a dock with a running job closes; `output` is None for a result in memory."""
    kept = "The finished tiles are kept, and Denoise resumes the job."
    if output is None:
        kept = "The layer of the result stays, marked as incomplete."
    return f"A job is running. Closing this dock cancels it. {kept}"
