"""What the docks say: errors as text that a person can act on, and how a job ended."""

from __future__ import annotations

from pathlib import Path

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.jobs.pipeline.events import Cancelled, Finished, Progress
from masked_denoiser.messages import readable_time
from masked_denoiser.training.events import Trained

_MEMORY = ("out of memory", "not enough memory", "can't allocate", "alloc failed")


def explain(error: BaseException) -> str:
    """An error as one line."""
    text = " ".join(str(error).split())
    if isinstance(error, MaskedDenoiserError):
        return text
    if isinstance(error, MemoryError) or any(word in text.lower() for word in _MEMORY):
        return f"there was too little memory ({text or 'MemoryError'}); choose a smaller tile, or an output on disk"
    if isinstance(error, OSError):
        return f"a file could not be read or written ({text}); check the disk and its permissions"
    return f"unexpected {type(error).__name__}: {text}; please report this, with what you did before"


def ending(event: Finished | Cancelled, where: str, output: Path | None, why: str = "") -> str:
    """How a job ended, in a sentence or two.

    Args:
        event: the job's last event.
        where: the name of the result's layer; empty if there is none any more.
        output: its file or folder; None for memory.
        why: what cancelled it, if that was not the user's click.
    """
    progress = event.progress
    if isinstance(event, Finished):
        place = str(output) if output is not None else f"layer '{where}'" if where else "the result was removed"
        skipped = f", {event.skipped} of them background" if event.skipping else ""
        slow = f" {event.bottleneck[0].upper()}{event.bottleneck[1:]}." if event.bottleneck else ""
        return f"Done: {place}, {_tiles(progress)}{skipped} in {readable_time(progress.seconds)}.{slow}"
    return f"Cancelled{why}: {_kept(progress, where, output)}"


def _tiles(progress: Progress) -> str:
    return f"{progress.total} tile{'' if progress.total == 1 else 's'}"


def _kept(progress: Progress, where: str, output: Path | None) -> str:
    done = f"{progress.done} of {_tiles(progress)}"
    if output is not None:
        return f"{done} are kept in {output}. Press Denoise with the same settings to go on."
    if not progress.done or not where:
        return "nothing is kept."
    return f"{done} stay in layer '{where}'. A job in memory cannot go on later; one on disk can."


def describe_training_end(trained: Trained) -> str:
    """One or two sentences."""
    how = {
        "finished": f"Done: {trained.step} steps.",
        "stopped": f"Stopped after {trained.step} steps; Continue goes on.",
        "no better": f"Stopped after {trained.step} steps, as validation got no better.",
        "diverged": f"Stopped after {trained.step} steps: the training diverged; try a lower learning rate.",
    }[trained.why]
    return f"{how} {_best_weights(trained)}"


def _best_weights(trained: Trained) -> str:
    if trained.best_psnr is None:
        return "Save keeps the last weights." if trained.best_step else "Nothing was learned yet."
    noise = next(iter(trained.after), "")
    before = trained.before.get(noise)
    gain = "" if before is None else f" ({trained.best_psnr - before:+.2f} dB against the model it began with)"
    if not trained.best_step:
        return f"No step was better than the model it began with, at {trained.best_psnr:.2f} dB."
    return (
        f"The best step, {trained.best_step}, has {trained.best_psnr:.2f} dB on held-out patches{gain}. Save keeps it."
    )
