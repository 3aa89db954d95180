from __future__ import annotations

import pytest


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
