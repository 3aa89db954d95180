"""A fixture that writes a TIFF with tifffile and opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import tifffile

from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Source


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Source]]:
    """Return a function that takes the arguments of `imwrite` after the file; its sources are closed at the end."""
    with ExitStack() as stack:

        def write_and_open(pixels: Any, **options: Any) -> Source:
            tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
            return stack.enter_context(open_image(tmp_path / "a.tif"))

        yield write_and_open
