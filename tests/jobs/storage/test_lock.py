"""Locks of outputs on file systems that have no locks."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from masked_denoiser.errors import JobError
from masked_denoiser.jobs.storage.lock import OutputLock

HOLDER = """
import errno, fcntl, os, signal, sys, warnings
from pathlib import Path
def refuse(*_): raise OSError(errno.ENOSYS, "Function not implemented")
fcntl.flock = refuse
warnings.simplefilter("ignore")
from masked_denoiser.jobs.storage.lock import OutputLock
lock = OutputLock([Path(sys.argv[1])], "")
print("locked", flush=True)
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
@pytest.mark.filterwarnings("ignore:flock not supported:UserWarning")
def test_lock_of_a_killed_process_is_taken_over_without_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    output = tmp_path / "out.ome.zarr"
    command = [sys.executable, "-c", HOLDER, str(output)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(JobError, match=r"being written by process 7; wait .* remove out\.ome\.zarr\.lock if it"):
            OutputLock([output], "process 7")
    assert (tmp_path / "out.ome.zarr.lock").stat().st_size
    OutputLock([output], "").release()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out.ome.zarr.lock").write_text("dependencies of my project\n")
    with pytest.raises(JobError, match="is not a lock of this program"):
        OutputLock([output], "")
