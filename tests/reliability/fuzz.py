"""Table of the outcomes of opening corrupted files, the same in every run: `python -m tests.reliability.fuzz`."""

from __future__ import annotations

import argparse
import faulthandler
import sys
import tempfile
from pathlib import Path

from tests.fuzz.run import Tally, run
from tests.fuzz.targets import INPUTS, TARGETS


def main() -> int:
    """Run one target or all.

    Returns:
        1 if an input was neither opened nor refused cleanly.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", choices=TARGETS, help="target to run (default: all)")
    parser.add_argument("--count", type=int, help="inputs of a target (default: as `make test-long`)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the inputs (default: %(default)s)")
    arguments = parser.parse_args()
    faulthandler.enable()
    failures: list[str] = []
    print(
        "| target | inputs | refused | opened | failures | slowest (ms) |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    )
    for key in [arguments.target] if arguments.target else TARGETS:
        target, count = TARGETS[key](), arguments.count or INPUTS[key]
        with tempfile.TemporaryDirectory() as folder:
            tally = run(target, count, Path(folder).resolve(), arguments.seed)
        print(_row(target.name, count, tally), flush=True)
        failures += tally.failures
    print("\n".join(failures), file=sys.stderr)
    return bool(failures)


def _row(name: str, count: int, tally: Tally) -> str:
    cells = (name, count, tally.refused, tally.opened, len(tally.failures), f"{tally.slowest * 1000:.0f}")
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
