"""Handler of `masked-denoiser denoise` for several images."""

from __future__ import annotations

import json
import sys
import threading
import traceback
from argparse import Namespace
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tqdm import tqdm

from masked_denoiser.cli.commands.run_job import executor_of, stated_job
from masked_denoiser.cli.input_image import open_input
from masked_denoiser.cli.progress import cancel_on_interrupt, describe_damage, make_bar, print_note, show_event
from masked_denoiser.errors import JobError
from masked_denoiser.images.discovery import name_of, skipped_files
from masked_denoiser.jobs.batch.outputs import Pair, make_folder, plan_outputs
from masked_denoiser.jobs.batch.prepare import Preparer
from masked_denoiser.jobs.batch.run import FileBegun, FileEnded, FileReady, Outcome, Summary, run_batch
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.messages import Message, readable_time
from masked_denoiser.models.catalogue import AUTO

_DONE, _FAILED, _CANCELLED = 0, 1, 130


def denoise_batch(arguments: Namespace, options: Options) -> int:
    """Denoise images into a folder; return 0 if all are complete, 1 if one failed, 130 if cancelled.

    Raises:
        MaskedDenoiserError: before any work, if the list or its settings are not valid.
    """
    if arguments.save_job:
        raise JobError(f"--save-job {arguments.save_job} stores the job of one image; give one input and its output")
    folder = Path(arguments.output).expanduser()
    pairs = plan_outputs(arguments.input, folder, arguments.ending, std=options.std, reader=arguments.reader)
    for note in [] if arguments.reader else skipped_files(arguments.input):
        print_note(note, arguments.quiet)
    open_ = partial(open_input, arguments)
    mode = {"resume": arguments.resume, "overwrite": arguments.overwrite}
    with executor_of(arguments) as executor:
        preparer = Preparer(arguments.model or AUTO, options, arguments.device, open=open_, executor=executor, **mode)
        preparer.check()
        make_folder(folder)
        summary = _run_with_bars(pairs, preparer, arguments)
    if arguments.json:
        print(json.dumps(_as_json(summary)))
    elif not arguments.quiet:
        print(_describe_summary(summary, folder))
    if summary.cancelled:
        return _CANCELLED
    return _FAILED if summary.stopped or summary.of("failed") else _DONE


def _run_with_bars(pairs: list[Pair], preparer: Preparer, arguments: Namespace) -> Summary:
    """Run the list with a bar for each image; the first Ctrl-C cancels it, the second one ends the process."""
    cancel, title, name = threading.Event(), "", ""
    bar: tqdm[None] | None = None
    with ExitStack() as bars, cancel_on_interrupt(cancel):
        for event in run_batch(pairs, preparer, cancel):
            match event:
                case FileBegun(number, total, pair):
                    name = name_of(pair.input)
                    title = f"file {number + 1} of {total}: {name}"
                case FileReady(_, pipeline):
                    bar = bars.enter_context(make_bar(pipeline, arguments.quiet, title))
                case FileEnded():
                    bars.close()
                    bar = None
                    _report_file(event, title, arguments)
                case Summary():
                    return event
                case Message(text):
                    print_note(f"{name}: {text}", arguments.quiet)
                case _ if bar is not None:
                    show_event(bar, event, arguments.quiet)
    raise AssertionError("a list ends with a summary")


def _report_file(event: FileEnded, title: str, arguments: Namespace) -> None:
    """Print how an image ended; a failure is printed even with --quiet."""
    outcome = event.outcome
    if event.error is not None:
        if arguments.debug:
            traceback.print_exception(event.error)
        tqdm.write(f"masked-denoiser: {title}: {outcome.reason}", file=sys.stderr)
        return
    if outcome.damage and arguments.quiet:  # lost pixels are reported even with --quiet
        tqdm.write(f"{title}: {describe_damage(outcome.damage)}", file=sys.stderr)
    if not arguments.quiet:
        duration = f" in {readable_time(outcome.seconds)}" if outcome.state == "done" else ""
        tqdm.write(f"{title}: {outcome.state}{duration}", file=sys.stderr)


def _describe_summary(summary: Summary, folder: Path) -> str:
    """Return a summary, and a line for each image that is damaged or not complete."""
    lines = [f"{folder}: {summary}"]
    lines += [f"failed: {outcome.pair.input}: {outcome.reason}" for outcome in summary.of("failed")]
    lines += [f"{end.pair.input}: {describe_damage(end.damage)}" for end in summary.outcomes if end.damage]
    lines += [f"unfinished: {outcome.pair.input}" for outcome in summary.of("cancelled")]
    if summary.stopped:
        lines.append(f"stopped: {summary.stopped}")
    if summary.stopped or summary.cancelled or summary.of("failed"):
        lines.append("finished work is kept: continue with --resume")
    return "\n".join(lines)


def _as_json(summary: Summary) -> dict[str, object]:
    return {
        "complete": all(map(_is_complete, summary.outcomes)),
        "stopped": summary.stopped,
        "files": [
            {
                "input": outcome.pair.input,
                "output": str(outcome.pair.output),
                "state": outcome.state,
                "reason": outcome.reason,
                "seconds": round(outcome.seconds, 3),
                "damage": list(outcome.damage),
            }
            | (stated_job(outcome.pair.output) if _is_complete(outcome) else {"job": None, "noise": None})
            for outcome in summary.outcomes
        ],
    }


def _is_complete(outcome: Outcome) -> bool:
    return outcome.state in ("done", "already complete")
