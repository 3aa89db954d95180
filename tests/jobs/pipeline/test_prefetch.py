import threading
import time

import pytest

from masked_denoiser.jobs.pipeline.events import Finished, Progress
from masked_denoiser.jobs.pipeline.prefetch import READ_AHEAD, WRITE_BEHIND, StageTimings, prefetch


def run(items, read=lambda i: i, compute=lambda i, g: g, write=lambda i, o: o, stop=lambda: False, timings=None):
    return prefetch(items, read, compute, write, stop=stop, timings=timings or StageTimings())


def test_stages_run_in_order_on_three_threads():
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


def test_items_in_flight_are_bounded():
    """Reading stays within `READ_AHEAD`, and writing within `WRITE_BEHIND`."""
    taken, written = [], []
    gate = threading.Event()

    def items():
        for i in range(40):
            taken.append(i)
            yield i

    def compute(i, value):
        assert len(taken) <= i + READ_AHEAD + 1
        assert len(written) >= i - WRITE_BEHIND - 1
        if i == WRITE_BEHIND:
            gate.set()
        return value

    def write(i, out):
        gate.wait(5)
        written.append(i)

    list(run(items(), compute=compute, write=write))
    assert written == list(range(40))


def test_stages_overlap():
    """Three stages of equal duration take the time of one."""
    pause = 0.02
    slow = [lambda *value: time.sleep(pause)] * 3
    timings = StageTimings()
    began = time.monotonic()
    list(run(range(20), *slow, timings=timings))
    whole = time.monotonic() - began
    assert timings.computing > 0.45 * whole  # a third if the stages ran sequentially


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_earlier_results_are_written_before_an_error_is_raised(stage):
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
    assert written == list(range(7))  # later items may be of the same group
    assert not [t for t in threading.enumerate() if t.name.startswith("masked-denoiser-")]


def test_stop_writes_results_and_close_ends_threads():
    stopped = []
    done = []
    for value in run(range(100), stop=lambda: len(stopped) > 0):
        done.append(value)
        if value == 5:
            stopped.append(True)
    assert done == list(range(len(done)))
    assert len(done) <= 6 + WRITE_BEHIND + 1
    generator = run(range(100))
    next(generator)
    generator.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("masked-denoiser-")]


def test_the_bottleneck_is_named():
    progress = Progress(1, 1, 1, 0, 1.0)
    assert Finished(progress, StageTimings(0.1, 9.0, 0.1)).bottleneck == ""
    assert "reading was the bottleneck" in Finished(progress, StageTimings(5.0, 5.0, 0.0, 9.0)).bottleneck
    assert "writing was the bottleneck" in Finished(progress, StageTimings(0.0, 5.0, 5.0, 1.0, 6.0)).bottleneck
    # Waiting for the GPU in the writer is not disk time.
    assert Finished(progress, StageTimings(0.0, 1.0, 9.0, 0.0, 4.0, 5.0)).bottleneck == ""
    # Short runs and our own arithmetic have no bottleneck.
    assert Finished(progress, StageTimings(0.5, 0.1, 0.0, 0.5)).bottleneck == ""
    assert Finished(progress, StageTimings(5.0, 5.0, 0.0, 0.2)).bottleneck == ""
