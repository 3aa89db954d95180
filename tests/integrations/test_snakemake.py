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
    noise = np.random.default_rng(2).normal(0, 500, (256, 256))
    for name in ("a b.tif", "c.tif"):
        tifffile.imwrite(images / name, (np.linspace(5000, 30000, 256) + noise).astype(np.uint16))
    config = ["--config", "input=images", "options=--tile 32 --threads 1", "output="]
    whole = [*snakemake, *config[:-1], "output=whole"]
    subprocess.run(whole, cwd=tmp_path, env=environment(), check=True)

    killed = [*snakemake, *config[:-1], "output=killed"]
    process = subprocess.Popen(killed, cwd=tmp_path, env=environment(), start_new_session=True)
    journal = tmp_path / "killed" / "a b.tif.ome.zarr.journal"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        assert process.poll() is None, "the run ended before it was killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "c.tif.ome.zarr").exists()

    subprocess.run(killed, cwd=tmp_path, env=environment(), check=True)
    for name in ("a b.tif", "c.tif"):
        assert json.loads((tmp_path / "killed" / f"{name}.json").read_text())["complete"]
        first, second = (
            zarr.open_array(tmp_path / run_ / f"{name}.ome.zarr" / "0", mode="r")[...] for run_ in ("whole", "killed")
        )
        assert np.array_equal(first, second)
