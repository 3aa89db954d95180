"""Progress of a job in the terminal, and cancellation between two tiles by Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from tqdm import tqdm

from masked_denoiser.jobs.pipeline.events import Cancelled, Event, Finished, Finishing, Progress, TileDone
from masked_denoiser.jobs.pipeline.pipeline import Pipeline
from masked_denoiser.messages import Message, readable_time

if TYPE_CHECKING:
    from masked_denoiser.jobs.cluster.driver import ClusterPipeline


def run_with_bar(pipeline: Pipeline | ClusterPipeline, *, quiet: bool = False) -> Finished | Cancelled:
    """Run a pipeline with a progress bar; the first Ctrl-C cancels it, the second one ends the process.

    Returns:
        The final event of the job.
    """
    end: Finished | Cancelled | None = None
    with cancel_on_interrupt(pipeline.cancel), make_bar(pipeline, quiet) as bar:
        for event in pipeline.run():
            show_event(bar, event, quiet)
            if isinstance(event, Finished | Cancelled):
                end = event
    assert end is not None  # a pipeline ends with one of the two, or raises
    return end


def show_event(bar: tqdm[None], event: Event, quiet: bool = False) -> None:
    """Show an event of a job on its bar or as a note."""
    match event:
        case Progress():
            _move(bar, event)
        case TileDone():
            _move(bar, event.progress)
        case Message(text):
            print_note(text, quiet)
        case Finishing():
            bar.set_postfix_str(str(event))


def print_note(text: str, quiet: bool = False) -> None:
    """Print a note to stderr, above the bar and apart from the output of the command."""
    if not quiet:
        tqdm.write(f"note: {text}", file=sys.stderr)


def summary_line(end: Finished | Cancelled, output: str) -> str:
    """Return the result of a job in one line, followed by lines on a bottleneck and on damage, if any."""
    p = end.progress
    work = f"{p.pixels / 1e6:.3g} megapixels in {readable_time(p.seconds)}"
    if isinstance(end, Cancelled):
        return f"cancelled after {p.done} of {p.total} tiles ({work}); finished tiles are kept: continue with --resume"
    skipped = f", {end.skipped} of {p.total} tiles were background" if end.skips_background else ""
    bottleneck = f"\n{end.bottleneck}" if end.bottleneck else ""
    damage = f"\n{describe_damage(end.damage)}" if end.damage else ""
    return f"wrote {output} ({work}, {p.rate:.3g} megapixels/s{skipped}){bottleneck}{damage}"


def describe_damage(regions: tuple[str, ...]) -> str:
    """Return a line that names the first five unreadable regions; `--json` lists them all."""
    more = f" and {len(regions) - 5} more (--json lists them all)" if len(regions) > 5 else ""
    return f"damaged regions, not denoised and empty where they cannot be read: {'; '.join(regions[:5])}{more}"


@contextmanager
def cancel_on_interrupt(
    cancel: threading.Event, note: str = "cancelling after this tile; press Ctrl-C again to stop immediately"
) -> Iterator[None]:
    """Set `cancel` and print `note` on the first Ctrl-C within the `with` block; then restore the previous handler.

    SIGTERM does the same: clusters and `timeout` send it before they kill a process. A signal that the process ignores,
    as one in the background of a script does, stays ignored.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    previous = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}

    def handle(number: int, _frame: FrameType | None) -> None:
        cancel.set()
        signal.signal(number, previous[signal.Signals(number)])
        print_note(note)

    for number in previous:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def make_bar(pipeline: Pipeline | ClusterPipeline, quiet: bool, title: str = "denoising") -> tqdm[None]:
    """Return a progress bar in megapixels for a job."""
    plan, planes = pipeline.job.plan, len(pipeline.job.planes)
    return tqdm(
        total=planes * plan.size[0] * plan.size[1] / 1e6,
        unit="Mpx",
        disable=quiet,
        desc=title,
        smoothing=0.1,
        bar_format="{desc} {percentage:3.0f} %|{bar}| {n:.2f}/{total:.2f} megapixels, "
        "{rate_noinv_fmt}, {remaining} left{postfix}",
    )


def _move(bar: tqdm[None], progress: Progress) -> None:
    """Move the bar to the progress of the job; the work of an earlier run does not count for the rate."""
    if not progress.pixels:
        bar.initial = bar.n = bar.total - progress.pixels_left / 1e6
        bar.refresh()
        return
    bar.set_postfix_str(f"{progress.done} of {progress.total} tiles", refresh=False)
    bar.update(bar.total - progress.pixels_left / 1e6 - bar.n)
