"""Tables of the comparison as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

from benchmarks.peers.store import CHECK, NOT_RUN
from benchmarks.peers.table import Peer

Entry = dict[str, Any]


def render(
    heading: str, peers: Sequence[Peer], entries: Sequence[Entry], versions: dict[str, str], missing: dict[str, str]
) -> str:
    """Return all tables.

    Args:
        heading: date, machine and command.
        peers: the programs, in the order of the rows.
        entries: results of `Runner.score` and `Runner.check`.
        versions: version by name of program, of those that were installed.
        missing: reason by name of program, of those that were not.
    """
    present = [peer for peer in peers if peer.name in versions]
    scores = [entry for entry in entries if "kind" in entry]
    verdicts = [entry for entry in entries if "verdict" in entry]
    parts = [heading, _programs(present, versions)]
    if missing:
        parts.append("\n".join(f"- Not installed: **{name}**: {reason}" for name, reason in missing.items()))
    if scores:
        parts += [_quality(present, scores), _cost(present, scores)]
    if verdicts:
        parts.append(_verdicts(present, verdicts))
    if failures := _failures([*scores, *verdicts]):
        parts.append(failures)
    return "\n\n".join(parts) + "\n"


def _programs(peers: Sequence[Peer], versions: dict[str, str]) -> str:
    rows = [[peer.name, versions[peer.name], peer.licence, peer.given] for peer in peers]
    return _table(["program", "version", "licence", "what it is given besides the image"], rows)


def _quality(peers: Sequence[Peer], scores: Sequence[Entry]) -> str:
    """Return mean PSNR and SSIM by program and kind; a program that failed on one image of a kind has no mean there."""
    kinds = list(dict.fromkeys(entry["kind"] for entry in scores))
    counts = {kind: len({entry["case"] for entry in scores if entry["kind"] == kind}) for kind in kinds}
    rows = [[peer.name, *(_mean(_of(peer, scores, kind)) for kind in kinds)] for peer in peers]
    heads = kinds if len(set(counts.values())) == 1 else [f"{kind} ({counts[kind]})" for kind in kinds]
    number = "In parentheses: number of images." if heads is not kinds else _number_of_images(counts[kinds[0]])
    return f"### Quality: PSNR in dB / SSIM\n\n{number}\n\n" + _table(["", *heads], rows)


def _number_of_images(count: int) -> str:
    return "One image of each kind." if count == 1 else f"{count} images of each kind."


def _mean(entries: Sequence[Entry]) -> str:
    if not entries:
        return "n/a"
    if any(entry["error"] == NOT_RUN for entry in entries):
        return NOT_RUN
    if any(entry["error"] for entry in entries):
        return "fails"
    return f"{fmean(entry['psnr'] for entry in entries):.2f} / {fmean(entry['ssim'] for entry in entries):.3f}"


def _cost(peers: Sequence[Peer], scores: Sequence[Entry]) -> str:
    rows = []
    for peer in peers:
        own = _of(peer, scores)
        done = [entry for entry in own if not entry["error"]]
        if not done:
            continue
        by_axes = [_seconds_per_megapixel([e for e in own if e["axes"] == axes], axes) for axes in ("YX", "YXS", "ZYX")]
        start, memory = median(entry["start"] for entry in done), max(entry["memory"] for entry in done)
        rows.append([peer.name, f"{start:.1f}", *by_axes, f"{memory / 1e6:.0f}"])
    heads = ["", "start, CPU s", "gray, CPU s / Mpx", "RGB, CPU s / Mpx", "volume, CPU s / Mvoxel", "peak memory, MB"]
    return "### Cost\n\n" + _table(heads, rows)


def _seconds_per_megapixel(entries: Sequence[Entry], axes: str) -> str:
    """Return the median of CPU seconds per megapixel; the three values of an RGB pixel are one pixel."""
    values = [entry["cpu"] / entry["pixels"] * 1e6 for entry in entries if not entry["error"]]
    if not values:
        return _mean(entries)
    return f"{median(values) * (3 if axes == 'YXS' else 1):.3g}"


def _verdicts(peers: Sequence[Peer], verdicts: Sequence[Entry]) -> str:
    cases = list(dict.fromkeys(entry["case"] for entry in verdicts))
    rows = []
    for peer in peers:
        own = {entry["case"]: "fails" if _reason(entry) else entry["verdict"] for entry in _of(peer, verdicts)}
        if own:
            rows.append([peer.name, *(own.get(case, "n/a") for case in cases)])
    return "### Practical checks\n\n" + _table(["", *(case.removeprefix(CHECK) for case in cases)], rows)


def _failures(entries: Sequence[Entry]) -> str:
    """Return a list of the reasons of failures, by program."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        if (reason := _reason(entry)) not in ("", NOT_RUN):
            place = entry["kind"] if "kind" in entry else f'"{entry["case"].removeprefix(CHECK)}"'
            reasons.setdefault((entry["peer"], reason), []).append(place)
    lines = [
        f"- **{peer}** on {'; '.join(dict.fromkeys(places))}: {_cell(reason)}"
        for (peer, reason), places in reasons.items()
    ]
    return "### Failures\n\n" + "\n".join(lines) if lines else ""


def _reason(entry: Entry) -> str:
    """Return the reason of a failure on an image or in a check; empty if it did not fail."""
    reason: str = entry["error"] if "error" in entry else entry["verdict"].partition("fails: ")[2]
    return reason


def _of(peer: Peer, entries: Sequence[Entry], kind: str | None = None) -> list[Entry]:
    return [entry for entry in entries if entry["peer"] == peer.name and kind in (None, entry.get("kind"))]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Return text that does not end a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
