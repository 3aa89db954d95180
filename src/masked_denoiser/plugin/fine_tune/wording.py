"""How a training ended, in words."""

from __future__ import annotations

from masked_denoiser.training.events import Trained


def tuning_ended(trained: Trained) -> str:
    """One or two sentences."""
    how = {
        "finished": f"Done: {trained.step} steps.",
        "stopped": f"Stopped after {trained.step} steps; Continue goes on.",
        "no better": f"Stopped after {trained.step} steps, as validation got no better.",
        "diverged": f"Stopped after {trained.step} steps: the training diverged; try a lower learning rate.",
    }[trained.why]
    return f"{how} {_kept(trained)}"


def _kept(trained: Trained) -> str:
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
