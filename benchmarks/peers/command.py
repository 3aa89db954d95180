"""The command `python -m benchmarks peers`.

python -m benchmarks peers --data validation/                      # some images of each kind: an hour of CPU time
python -m benchmarks peers --data validation/ --images 0 --crop 0  # all images, whole
python -m benchmarks peers --data validation/ --only bm3d "masked-denoiser" --write docs/comparison.md

Each program is installed into an environment of its own, and runs in a process of its own. Finished results are kept
and used again, until the image, the version of a package, the adapter or a limit changes.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from platformdirs import user_cache_path

from benchmarks.measure import processor
from benchmarks.pages import replace_between
from benchmarks.peers.compare import Runner, compare
from benchmarks.peers.environments import ROOT, Environment, InstallError, prepare
from benchmarks.peers.images import cases
from benchmarks.peers.render import render
from benchmarks.peers.run import Limits
from benchmarks.peers.store import Store
from benchmarks.peers.table import PEERS, Peer

#: Mark of the tables in a page.
_MARK = "peers"


def main(arguments: Sequence[str], peers: Sequence[Peer] = PEERS) -> None:
    """Install, run, and print or write the tables."""
    given = _parser().parse_args(arguments)
    if unknown := set(given.only) - {peer.name for peer in peers}:
        raise SystemExit(
            f"unknown programs: {', '.join(sorted(unknown))}; choose from: {', '.join(p.name for p in peers)}"
        )
    chosen = [peer for peer in peers if not given.only or peer.name in given.only]
    environments, missing = _install(chosen, given)
    store, limits = Store(given.cache / "results.jsonl"), Limits(given.limit, given.threads)
    runners = [
        Runner(peer, environments[peer.name], store, limits, _report, given.finished, given.retry)
        for peer in chosen
        if peer.name in environments
    ]
    images = list(cases(given.data, given.images, given.crop, given.volume))
    if not images:
        raise SystemExit(f"no images in {given.data}; docs/comparison.md lists the folders that are looked for")
    entries = compare(runners, images, given.parts)
    versions = {runner.peer.name: _version(runner.peer, runner.environment) for runner in runners}
    text = render(_heading(_command(given), limits), chosen, entries, versions, missing)
    if given.write:
        replace_between(given.write, _MARK, text)
    print(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of images: see docs/comparison.md")
    parser.add_argument("--volume", type=Path, help="8-bit gray volume without noise, for MRI")
    parser.add_argument("--images", type=int, default=2, help="images of each kind (default: 2; 0 for all)")
    parser.add_argument("--crop", type=int, default=512, help="largest side in pixels (default: 512; 0 for any)")
    parser.add_argument("--only", nargs="+", default=[], metavar="PROGRAM", help="only these programs")
    parser.add_argument("--parts", nargs="+", default=["quality", "checks"], choices=["quality", "checks"])
    parser.add_argument("--limit", type=float, default=600, help="CPU seconds of a program for an image (default: 600)")
    parser.add_argument("--threads", type=int, default=1, help="threads of a program (default: 1)")
    parser.add_argument("--install-limit", type=float, default=1800, help="seconds for an installation (default: 1800)")
    parser.add_argument("--constraints", type=Path, default=ROOT / "constraints.txt", help="constraints for pip")
    cache = user_cache_path("masked-denoiser") / "peers"
    parser.add_argument("--cache", type=Path, default=cache, help=f"environments and results (default: {cache})")
    parser.add_argument("--retry", action="store_true", help="run again what failed on an image")
    parser.add_argument("--finished", action="store_true", help="run nothing; show the results that are finished")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="replace the tables of this page")
    return parser


def _install(peers: Sequence[Peer], given: argparse.Namespace) -> tuple[dict[str, Environment], dict[str, str]]:
    """Return the environments by name of program, and the reasons why others could not be installed."""
    environments: dict[str, Environment] = {}
    missing: dict[str, str] = {}
    for peer in peers:
        try:
            environments[peer.name] = prepare(
                peer, given.cache, given.constraints, 0.0 if given.finished else given.install_limit
            )
        except InstallError as error:
            missing[peer.name] = str(error)
            _report(f"{peer.name} is not installed: {error}")
    return environments, missing


def _version(peer: Peer, environment: Environment) -> str:
    """Return the version of the first required package, and for this repository the commit too."""
    if peer.install[0] == ".":
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        version = environment.packages["napari-masked-denoiser"]
        ours = f"{version} ({commit.stdout.strip()})" if commit.returncode == 0 else version
        return f"{ours}, bm3d {environment.packages['bm3d']}" if "bm3d" in peer.name else ours
    name = peer.install[0].split("<")[0].split("[")[0]
    return environment.packages[name]


def _heading(command: str, limits: Limits) -> str:
    threads = f"{limits.threads} thread" + ("s" if limits.threads > 1 else "")
    return (
        f"Measured on {date.today().isoformat()}, {processor()}, {threads}, Python {platform.python_version()}, "
        f"at most {limits.cpu:.0f} CPU seconds for an image, by\n\n```sh\n{command}\n```"
    )


def _command(given: argparse.Namespace) -> str:
    """Return the command that measures the same; folders are shortened, as those of this machine say nothing."""
    parts = ["python", "-m", "benchmarks", "peers", "--data", given.data.name]
    parts += ["--volume", given.volume.name] if given.volume else []
    parser = _parser()
    for name in ("images", "crop", "limit", "threads"):
        value = getattr(given, name)
        parts += [f"--{name}", f"{value:g}"] if value != parser.get_default(name) else []
    parts += ["--finished"] if given.finished else []
    parts += ["--only", *given.only] if given.only else []
    parts += ["--parts", *given.parts] if given.parts != parser.get_default("parts") else []
    return shlex.join(parts)


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
