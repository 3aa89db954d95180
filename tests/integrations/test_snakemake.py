"""The Snakefile is run by Snakemake, killed and run again, in an environment of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from ..test_packaging import ROOT, run

NAMES = ("a b.tif", "c.tif")
SNAKEFILE = ROOT / "integrations" / "snakemake" / "Snakefile"


@pytest.fixture(scope="module")
def snakemake(tmp_path_factory):
    """Return the command, without the images to denoise."""
    home = tmp_path_factory.mktemp("snakemake")
    venv.create(home)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", home / "bin" / "python")
    run(*pip, "install", "--quiet", "snakemake>=9", cwd=home)
    return [home / "bin" / "snakemake", "--snakefile", SNAKEFILE, "--cores", "1", "--nolock", "--rerun-incomplete"]


def environment():
    """Return the variables of this process, with the command masked-denoiser on the path."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="Snakemake is for Linux and macOS")
def test_killed_run_continues(snakemake, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    noise = np.random.default_rng(2).normal(0, 500, (512, 512))
    for name in NAMES:
        tifffile.imwrite(images / name, (np.linspace(5000, 30000, 512) + noise).astype(np.uint16))
    command = [*snakemake, "--config", "input=images", "options=--tile 64"]
    subprocess.run([*command, "output=whole"], cwd=tmp_path, env=environment(), check=True)

    killed = [*command, "output=killed"]
    process = subprocess.Popen(killed, cwd=tmp_path, env=environment(), start_new_session=True)
    while not any(path.read_bytes().count(b"\n") > 2 for path in tmp_path.glob("killed/*.journal")):
        assert process.poll() is None, "the run ended before it was killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(tmp_path.glob("killed/*.journal"))) == 1

    subprocess.run(killed, cwd=tmp_path, env=environment(), check=True)
    for name in NAMES:
        assert json.loads((tmp_path / "killed" / f"{name}.json").read_text())["complete"]
        first, second = (
            zarr.open_array(tmp_path / run_ / f"{name}.ome.zarr" / "0", mode="r")[...] for run_ in ("whole", "killed")
        )
        assert np.array_equal(first, second)
