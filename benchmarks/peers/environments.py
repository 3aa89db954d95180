"""An environment of its own for each program."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.table import Peer

#: The repository.
ROOT = Path(__file__).parents[2]

#: Prints the requirements of a package as JSON, apart from those of its extras.
_REQUIREMENTS = (
    "import importlib.metadata as m, json, sys; print(json.dumps([r for r in m.requires(sys.argv[1]) or () "
    'if "extra ==" not in r]))'
)


class InstallError(Exception):
    """A program could not be installed; the message is the reason that pip gives."""


@dataclass(frozen=True)
class Environment:
    """An environment with a program.

    Attributes:
        python: its interpreter.
        packages: versions of all packages, by name.
        source: digest of the requirements and, for this project, of its source.
    """

    python: Path
    packages: dict[str, str]
    source: str = ""


def prepare(peer: Peer, cache: Path, constraints: Path | None, limit: float) -> Environment:
    """Return the environment of a program, installed now or before.

    Args:
        peer: the program.
        cache: folder of the environments.
        constraints: constraints for pip, such as a build of torch without CUDA.
        limit: seconds after which an installation is given up; 0 to install nothing.

    Raises:
        InstallError: if the installation fails now, or failed before with the same requirements.
    """
    folder = cache / "environments" / peer.environment
    record = folder / "installed.json"
    wanted = _fingerprint(peer, constraints)
    known = json.loads(record.read_text()) if record.exists() else {}
    if known.get("fingerprint") != wanted:
        if not limit:
            raise InstallError("not tried")
        shutil.rmtree(folder, ignore_errors=True)
        known = {"fingerprint": wanted, "error": "", "packages": {}}
        try:
            known["packages"] = _install(peer, folder, constraints, limit)
        except InstallError as error:
            known["error"] = str(error)
        record.write_text(json.dumps(known, indent=1))
    if known["error"]:
        raise InstallError(known["error"])
    return Environment(_python(folder), known["packages"], wanted)


def _install(peer: Peer, folder: Path, constraints: Path | None, limit: float) -> dict[str, str]:
    """Make the environment; return the versions of its packages."""
    venv.create(folder, with_pip=True, clear=True)
    python = _python(folder)
    # Wheels only: what must be compiled first is not what a user of the program would do.
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    pip += ["-c", str(constraints)] if constraints else []
    first, *others = (str(ROOT) if name == "." else name for name in peer.install)
    if peer.omit:
        _pip([*pip, "--no-deps", first], limit)
        listed = subprocess.run([python, "-c", _REQUIREMENTS, first], check=True, capture_output=True, text=True)
        needed = [line for line in json.loads(listed.stdout) if not line.startswith(peer.omit)]
        _pip([*pip, *needed, *others], limit)
    else:
        _pip([*pip, first, *others], limit)
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"],
        check=True,
        capture_output=True,
        text=True,
    )
    return {entry["name"]: entry["version"] for entry in json.loads(listed.stdout)}


def _pip(command: list[str], limit: float) -> None:
    """Run pip.

    Raises:
        InstallError: with the last error that pip prints, or if it takes longer than the limit.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"pip found no set of packages within {limit:.0f} s") from error
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise InstallError((errors or done.stderr.splitlines() or ["pip failed"])[0].removeprefix("ERROR: "))


def _fingerprint(peer: Peer, constraints: Path | None) -> str:
    """Return what changes if the environment must be made again: requirements and, for ours, the source."""
    parts = [sys.version, *peer.install, *peer.omit, constraints.read_text() if constraints else ""]
    digest = hashlib.sha256("\n".join(parts).encode())
    if "." in peer.install:
        installed = [path for path in (ROOT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        for path in [ROOT / "pyproject.toml", *sorted(installed)]:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"
