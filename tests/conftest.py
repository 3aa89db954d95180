from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from masked_denoiser.inference import measurement_cache, tune_precision


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` on machines without a GPU; import torch only if such tests were collected."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return
    for item in marked:
        item.add_marker(pytest.mark.skip(reason="no CUDA or MPS device"))


# Scripts start what runs in their background with Ctrl-C ignored, which the processes of tests would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadlines: run times depend on the load of the machine.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def measured(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Redirect the cache of measurements of this machine to a new file for each test."""
    path = tmp_path_factory.mktemp("cache") / "masked-denoiser" / "measured.json"
    monkeypatch.setattr(measurement_cache, "_file", lambda: path)
    return path


@pytest.fixture(autouse=True)
def float32_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let precision "auto" be float32, so that results do not depend on the processor."""
    monkeypatch.setattr(tune_precision, "computes_bfloat16", lambda device: False)


@pytest.fixture(autouse=True)
def restore_thread_count() -> Iterator[None]:
    """Restore torch's number of threads after each test: `--threads` changes it, and rounding depends on it."""
    before = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None
    yield
    if before is not None:
        sys.modules["torch"].set_num_threads(before)
