"""The scripts whose figures stand in docs/reliability.md, as tests; shorter forms are among the other tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


def printed(script, *arguments):
    """What a script prints; that it fails where a figure is not reached."""
    command = [sys.executable, str(SCRIPTS / script), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_jobs_that_are_killed_end_in_the_same_bytes():
    assert "| 4 of 4 |" in printed("kill_loop.py", "--count", "4")


@pytest.mark.long
@pytest.mark.parametrize("how", [(), ("--workers", "2"), ("--driver",)])
def test_thirty_kills(how):
    assert "| 30 of 30 |" in printed("kill_loop.py", "--count", "30", *how)


@pytest.mark.long
def test_a_huge_slide_is_planned_at_once_and_needs_no_more_memory_than_a_small_one():
    text = printed("huge_slide.py")
    early, late = map(int, re.search(r"second half \| (\d+) and (\d+) MiB", text).groups())
    assert late <= 1.1 * early
    assert int(re.search(r"visited \| [\d.]+ s, (\d+) MiB", text).group(1)) < 200
    assert float(re.search(r"longest \| ([\d.]+) MB", text).group(1)) < 5
    assert "stub left it | yes" in text


@pytest.mark.long
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two workers need two cores")
def test_two_workers_are_nearly_twice_as_fast_as_one():
    """A ratio within one run, of a job that is long enough for it."""
    ratio = float(printed("worker_speed.py").split("|")[-2])
    assert ratio >= 1.7  # 1.80 where nothing else runs
