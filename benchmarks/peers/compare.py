"""Run all programs on all images and checks, one process at a time."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import checks
from benchmarks.peers.environments import Environment
from benchmarks.peers.images import Case
from benchmarks.peers.run import ADAPTERS, Limits, Outcome, run_worker
from benchmarks.peers.store import CHECK, NOT_RUN, Store
from benchmarks.peers.table import Peer
from masked_denoiser.errors import EvaluationError

Image = np.ndarray[Any, Any]

#: Practical checks by heading, for arrays of these axes; those of files take a folder first.
CHECKS: dict[str, Callable[[checks.Programs], str]] = {
    "16-bit stack; result type": checks.stack_16_bit,
    "RGB": checks.colour,
    "NaN region": checks.not_a_number,
    "blank frame unchanged": checks.blank,
    "same result again": checks.repeated,
}
FILE_CHECKS: dict[str, Callable[[Path, checks.Programs], str]] = {
    "TIFF with pixel size": checks.pixel_size,
    "memory for 1 megapixel more": checks.memory,
}


@dataclass(frozen=True)
class Runner:
    """Runs a program in its environment and remembers the results.

    Attributes:
        peer: the program.
        environment: its environment.
        store: finished results.
        limits: of each process.
        report: called with a line for each result that is new.
        finished_only: do not run anything; what is not in the store has the error or verdict NOT_RUN.
        retry: run again what failed, such as downloads.
    """

    peer: Peer
    environment: Environment
    store: Store
    limits: Limits
    report: Callable[[str], None]
    finished_only: bool = False
    retry: bool = False

    def score(self, case: Case) -> dict[str, Any]:
        """Return the entry of a program and an image: PSNR, SSIM, CPU seconds, memory; or the reason of a failure."""
        name = f"{case.kind.name}: {case.name}"
        image = {"kind": case.kind.name, "pixels": case.noisy.size, "axes": case.axes}
        fingerprint = self._fingerprint(case.noisy.tobytes(), case.truth.tobytes(), case.axes, case.kind)

        def measure() -> dict[str, Any]:
            outcome, result = self._run_array(case.noisy, case.axes, case.kind.modality)
            entry: dict[str, Any] = {"error": outcome.error, "start": outcome.start, "cpu": outcome.cpu}
            if result is not None:
                try:
                    entry["psnr"], entry["ssim"] = case.score(result)
                except EvaluationError as error:
                    entry["error"] = str(error)
            return entry | image | {"memory": outcome.memory}

        return self._finished(name, fingerprint, measure, image | {"error": NOT_RUN})

    def check(self, heading: str) -> dict[str, Any]:
        """Return the entry of a program and a practical check, with its `verdict`."""
        source = Path(checks.__file__).read_bytes()

        def measure() -> dict[str, Any]:
            programs = checks.Programs(partial(self._run_array, modality=""), None)
            if heading in CHECKS:
                return {"verdict": CHECKS[heading](programs)}
            with tempfile.TemporaryDirectory() as folder:
                if self.peer.files:
                    programs = checks.Programs(programs.array, partial(self._run_file, Path(folder)))
                return {"verdict": FILE_CHECKS[heading](Path(folder), programs)}

        return self._finished(f"{CHECK}{heading}", self._fingerprint(source), measure, {"verdict": NOT_RUN})

    def _finished(
        self, case: str, fingerprint: str, measure: Callable[[], dict[str, Any]], otherwise: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the stored result of a case, or measure and store it."""
        known = self.store.get(self.peer.name, case, fingerprint)
        if known is not None and not (self.retry and known.get("error")):
            return known
        if self.finished_only:
            return {"peer": self.peer.name, "case": case} | otherwise
        entry = {"peer": self.peer.name, "case": case, "fingerprint": fingerprint} | measure()
        self.store.add(entry)
        self.report(f"{self.peer.name}: {case}: {_summary(entry)}")
        return entry

    def _run_array(self, image: Image, axes: str, modality: str = "") -> tuple[Outcome, Image | None]:
        with tempfile.TemporaryDirectory() as name:
            source, target = Path(name) / "image.npy", Path(name) / "result.npy"
            np.save(source, image)
            options = ["--axes", axes, *(["--modality", modality] if modality else [])]
            outcome = run_worker(self.peer, self.environment, "array", source, target, self.limits, *options)
            return outcome, None if outcome.error else np.load(target)

    def _run_file(self, folder: Path, source: Path) -> Outcome:
        target = folder / f"result_of_{source.stem}"
        target.mkdir()
        return run_worker(self.peer, self.environment, "file", source, target, self.limits)

    def _fingerprint(self, *parts: object) -> str:
        """Return a digest of what determines a result: the data, the adapter, the versions and the limits."""
        module = self.peer.adapter.partition(":")[0]
        adapter = [path.read_bytes() for path in (ADAPTERS / f"{module}.py", ADAPTERS / "planes.py") if path.exists()]
        packages = json.dumps(self.environment.packages, sort_keys=True)
        digest = hashlib.sha256()
        for part in (*parts, *adapter, self.peer.adapter, packages, self.environment.source, self.limits):
            digest.update(part if isinstance(part, bytes) else repr(part).encode())
        return digest.hexdigest()[:16]


def compare(
    runners: Sequence[Runner], cases: Iterable[Case], only: Sequence[str] = ("quality", "checks")
) -> list[dict[str, Any]]:
    """Return the entries of all programs on all images that they take, then those of the practical checks."""
    entries: list[dict[str, Any]] = []
    if "quality" in only:
        for case in cases:
            takers = [runner for runner in runners if runner.peer.takes(case.axes, case.kind.modality)]
            entries += [runner.score(case) for runner in takers]
    if "checks" in only:
        checked = [runner for runner in runners if runner.peer.checked]
        entries += [runner.check(heading) for heading in (*CHECKS, *FILE_CHECKS) for runner in checked]
    return entries


def _summary(entry: dict[str, Any]) -> str:
    if entry.get("error"):
        return f"failed: {entry['error']}"
    if "verdict" in entry:
        return str(entry["verdict"])
    return f"{entry['psnr']:.2f} dB / {entry['ssim']:.3f}, {entry['cpu']:.1f} CPU s, {entry['memory'] / 1e6:.0f} MB"
