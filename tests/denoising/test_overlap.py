import threading
import time

import pytest

from masked_denoiser.jobs.pipeline.events import Finished, Progress
from masked_denoiser.jobs.pipeline.prefetch import AHEAD, BEHIND, StageTimings, prefetch


def run(items, read=lambda i: i, compute=lambda i, g: g, write=lambda i, o: o, stop=lambda: False, waits=None):
    return prefetch(items, read, compute, write, stop=stop, waits=waits or StageTimings())


def test_all_is_done_in_order_on_three_threads():
    threads = {"read": set(), "compute": set(), "write": set()}

    def on(name, value):
        threads[name].add(threading.current_thread().name)
        return value

    out = run(
        range(50),
        lambda i: on("read", i + 1),
        lambda i, g: on("compute", (i, g)),
        lambda i, o: on("write", (i, *o)),
    )
    assert list(out) == [(i, i, i + 1) for i in range(50)]
    assert [len(names) for names in threads.values()] == [1, 1, 1]
    assert len(set.union(*threads.values())) == 3


def test_what_is_in_flight_is_bounded():
    """Reading never runs further ahead, and writing never falls further behind, than is allowed."""
    taken, written = [], []
    gate = threading.Event()

    def items():
        for i in range(40):
            taken.append(i)
            yield i

    def compute(i, given):
        assert len(taken) <= i + AHEAD + 1
        assert len(written) >= i - BEHIND - 1
        if i == BEHIND:
            gate.set()
        return given

    def write(i, out):
        gate.wait(5)
        written.append(i)

    list(run(items(), compute=compute, write=write))
    assert written == list(range(40))


def test_stages_overlap():
    """Three stages of equal length take the time of one, and not of three."""
    pause = 0.02
    slow = [lambda *given: time.sleep(pause)] * 3
    waits = StageTimings()
    began = time.monotonic()
    list(run(range(20), *slow, waits=waits))
    whole = time.monotonic() - began
    assert waits.computing > 0.45 * whole  # one after the other it would be a third


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_an_error_comes_out_after_what_was_computed_before_is_written(stage):
    written = []

    def failing(i, *_):
        if i == 7:
            raise OSError("planted")
        return i

    def write(i, out):
        if stage == "write":
            failing(i)
        written.append(i)

    stages = {"write": write} | ({stage: failing} if stage != "write" else {})
    with pytest.raises(OSError, match="planted"):
        list(run(range(20), **stages))
    assert written == list(range(7))  # nothing behind one that could not be written: it may be of the same group
    assert not [t for t in threading.enumerate() if t.name.startswith("masked-denoiser-")]


def test_stop_writes_what_was_computed_and_closing_early_ends_the_threads():
    stopped = []
    done = []
    for value in run(range(100), stop=lambda: len(stopped) > 0):
        done.append(value)
        if value == 5:
            stopped.append(True)
    assert done == list(range(len(done)))
    assert len(done) <= 6 + BEHIND + 1
    generator = run(range(100))
    next(generator)
    generator.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("masked-denoiser-")]


def test_the_bottleneck_is_named():
    progress = Progress(1, 1, 1, 0, 1.0)
    assert Finished(progress, StageTimings(0.1, 9.0, 0.1)).bottleneck == ""
    assert "reading was the bottleneck" in Finished(progress, StageTimings(5.0, 5.0, 0.0, 9.0)).bottleneck
    assert "writing was the bottleneck" in Finished(progress, StageTimings(0.0, 5.0, 5.0, 1.0, 6.0)).bottleneck
    # A GPU that is waited for by who writes is no slow disk.
    assert Finished(progress, StageTimings(0.0, 1.0, 9.0, 0.0, 4.0, 5.0)).bottleneck == ""
    # Neither what was over at once, nor what our own arithmetic took.
    assert Finished(progress, StageTimings(0.5, 0.1, 0.0, 0.5)).bottleneck == ""
    assert Finished(progress, StageTimings(5.0, 5.0, 0.0, 0.2)).bottleneck == ""
