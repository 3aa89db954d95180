"""Shows a running job in a terminal, and turns Ctrl-C into a cancel between two tiles."""

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


def show(pipeline: Pipeline | ClusterPipeline, *, quiet: bool = False) -> Finished | Cancelled:
    """Runs the pipeline behind a bar with rate and time left; the first Ctrl-C cancels, a second one kills.

    Returns:
        How the job ended.
    """
    end: Finished | Cancelled | None = None
    with cancel_on_interrupt(pipeline.cancel), make_bar(pipeline, quiet) as bar:
        for event in pipeline.run():
            follow(bar, event, quiet)
            if isinstance(event, Finished | Cancelled):
                end = event
    assert end is not None  # a pipeline ends with one of the two, or raises
    return end


def follow(bar: tqdm[None], event: Event, quiet: bool = False) -> None:
    """Shows an event of a job on its bar, or beside it."""
    match event:
        case Progress():
            _move(bar, event)
        case TileDone():
            _move(bar, event.progress)
        case Message(text):
            say(text, quiet)
        case Finishing():
            bar.set_postfix_str(str(event))


def say(text: str, quiet: bool = False) -> None:
    """A note for the user, beside the bar and apart from what the command prints."""
    if not quiet:
        tqdm.write(f"note: {text}", file=sys.stderr)


def summary_line(end: Finished | Cancelled, output: str) -> str:
    """One line that says what happened."""
    p = end.progress
    work = f"{p.pixels / 1e6:.3g} megapixels in {readable_time(p.seconds)}"
    if isinstance(end, Cancelled):
        return f"cancelled after {p.done} of {p.total} tiles ({work}); what is done is kept: go on with --resume"
    skipped = f", {end.skipped} of {p.total} tiles were background" if end.skipping else ""
    slow = f"\n{end.bottleneck}" if end.bottleneck else ""
    damage = f"\n{damage_of(end.damage)}" if end.damage else ""
    return f"wrote {output} ({work}, {p.rate:.3g} megapixels/s{skipped}){slow}{damage}"


def damage_of(places: tuple[str, ...]) -> str:
    """What could not be read; all of it is in `--json`."""
    more = f" and {len(places) - 5} more (--json lists them all)" if len(places) > 5 else ""
    return f"damaged in the input, and passed through: {'; '.join(places[:5])}{more}"


@contextmanager
def cancel_on_interrupt(
    cancel: threading.Event, what: str = "cancelling after this tile; Ctrl-C again to stop at once"
) -> Iterator[None]:
    """While inside, Ctrl-C sets `cancel` and says `what`; the handler before is in force again from the second on.

    So does SIGTERM, by which clusters and `timeout` announce the end.
    """
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def handle(number: int, _frame: FrameType | None) -> None:
        cancel.set()
        signal.signal(number, before[signal.Signals(number)])
        say(what)

    for number in signals:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in signals:
            signal.signal(number, before[number])


def make_bar(pipeline: Pipeline | ClusterPipeline, quiet: bool, title: str = "denoising") -> tqdm[None]:
    """A bar for the work of a job."""
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
    """Moves the bar to where the job is; what an earlier run did is a start, not speed."""
    if not progress.pixels:
        bar.initial = bar.n = bar.total - progress.left / 1e6
        bar.refresh()
        return
    bar.set_postfix_str(f"{progress.done} of {progress.total} tiles", refresh=False)
    bar.update(bar.total - progress.left / 1e6 - bar.n)
