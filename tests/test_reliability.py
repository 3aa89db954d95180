"""Tests that run the programs whose results docs/reliability.md lists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def output_of(module, *arguments):
    """Run a module, which must succeed, and return its output."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_killed_jobs_resume_to_identical_bytes():
    assert "| 4 of 4 |" in output_of("tests.reliability.kill_loop", "--count", "4")


@pytest.mark.long
@pytest.mark.parametrize("options", [(), ("--workers", "2"), ("--driver",)])
def test_thirty_killed_jobs_resume_to_identical_bytes(options):
    assert "| 30 of 30 |" in output_of("tests.reliability.kill_loop", "--count", "30", *options)


@pytest.mark.long
def test_planning_time_and_memory_of_a_huge_slide():
    text = output_of("tests.reliability.huge_slide")
    early, late = map(int, re.search(r"second half \| (\d+) and (\d+) MiB", text).groups())
    assert late <= 1.1 * early
    assert int(re.search(r"visited \| [\d.]+ s, (\d+) MiB", text).group(1)) < 200
    assert float(re.search(r"longest \| ([\d.]+) MB", text).group(1)) < 5
    assert "returned by the stub | yes" in text


@pytest.mark.long
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two workers need two cores")
def test_speed_of_two_workers():
    """Compare within one run, on a job that is long enough for a stable ratio."""
    ratio = float(output_of("benchmarks.worker_speed").split("|")[-2])
    assert ratio >= 1.7  # 1.80 on an idle machine
