"""Runner of a target over many inputs: each must be opened or refused in one line, in bounded time and memory."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from masked_denoiser.errors import MaskedDenoiserError
from tests.fuzz.mutate import Mutate
from tests.fuzz.watch import GROWTH, WATCH, Slow, peak_bytes, quiet, time_limit

#: Files of a valid document by name in its folder; the first is opened if it is the only one.
Tree = Mapping[str, bytes]

_LONGEST_MESSAGE = 3000


@dataclass(frozen=True)
class Target:
    """Reader of untrusted files.

    Attributes:
        name: label in the table of results.
        trees: valid documents.
        mutate: returns the mutation for a file name of a tree.
        use: opens the document in a folder and reads what a job would.
    """

    name: str
    trees: Callable[[], Sequence[Tree]]
    mutate: Callable[[str], Mutate]
    use: Callable[[Path], object]


@dataclass
class Tally:
    """Results of the inputs of a target."""

    refused: int = 0
    opened: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


def run(target: Target, count: int, folder: Path, seed: int = 0) -> Tally:
    """Open `count` broken documents.

    Args:
        target: reader under test.
        count: number of inputs; the i-th is the same in every run with the same seed.
        folder: an existing, empty folder.
        seed: seed of the inputs.
    """
    secret = folder / "secret"
    secret.mkdir()
    (secret / "key").write_text("nobody may read this")
    trees = list(target.trees())
    places = [_write(tree, folder / f"tree{i}") for i, tree in enumerate(trees)]
    tally = Tally()
    with quiet():
        for place in places:
            target.use(place)  # a valid document is opened, or nothing is tested
        for i in range(count):
            random = Random(f"{target.name} {seed} {i}")
            at = random.randrange(len(trees))
            name = random.choice(list(trees[at]))
            _run_input(
                target, places[at], name, target.mutate(name)(random, trees[at][name]), tally, f"input {i} ({name})"
            )
            _restore(trees[at], places[at], name)
    if strays := {path.name for path in folder.iterdir()} - {"secret", *(place.name for place in places)}:
        tally.failures.append(f"{target.name}: left {sorted(strays)} beside its folder")
    return tally


def _run_input(target: Target, place: Path, name: str, data: bytes, tally: Tally, label: str) -> None:
    _replace(place / name, data)
    before, start = peak_bytes(), time.perf_counter()
    failure = ""
    try:
        with WATCH.watching(place), time_limit():
            target.use(place)
        tally.opened += 1
    except (MaskedDenoiserError, OSError) as error:
        tally.refused += 1
        failure = "" if len(str(error)) <= _LONGEST_MESSAGE else f"a message of {len(str(error))} characters"
    except (Exception, Slow) as error:
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        at = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
        failure = f"{type(error).__name__}: {error!s:.300} at {at}"
    seconds = time.perf_counter() - start
    tally.slowest = max(tally.slowest, seconds)
    if peak_bytes() - before > GROWTH:
        failure += f" took {(peak_bytes() - before) / 2**20:.0f} MiB"
    for problem in filter(None, (failure, *WATCH.seen)):
        tally.failures.append(f"{target.name}, {label}: {problem}")


def _write(tree: Tree, place: Path) -> Path:
    for name, data in tree.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


def _replace(path: Path, data: bytes) -> None:
    """Write a new file under the old name, so that memory maps of the old file stay valid."""
    making = path.with_name(f"{path.name}.making")
    making.write_bytes(data)
    making.replace(path)


def _restore(tree: Tree, place: Path, name: str) -> None:
    """Restore the valid document and remove stray files."""
    _replace(place / name, tree[name])
    wanted = {place / key for key in tree}
    strays = [p for p in place.rglob("*") if p.is_file() and p not in wanted] if len(tree) < 3 else []
    for stray in strays:
        stray.unlink()
