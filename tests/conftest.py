from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from masked_denoiser.inference import measurement_cache as remembered


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` are skipped where there is none; torch is imported only if there are such tests."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return
    for item in marked:
        item.add_marker(pytest.mark.skip(reason="no CUDA or MPS device"))


# Times depend on what else a machine does: none is asserted.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def measured(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where measurements of this machine are kept: for each test a file of its own, and never the user's."""
    path = tmp_path_factory.mktemp("cache") / "masked-denoiser" / "measured.json"
    monkeypatch.setattr(remembered, "_file", lambda: path)
    return path


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """What `--threads` sets in this process ends with its test: rounding depends on it."""
    before = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None
    yield
    if before is not None:
        sys.modules["torch"].set_num_threads(before)
