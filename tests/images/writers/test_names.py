"""Names with characters that UTF-8 or XML cannot hold, and metadata that a format cannot store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from masked_denoiser.images.open import open_image
from masked_denoiser.images.source import Source
from masked_denoiser.images.writers.create import create_sink
from tests.images.writers.copies import copy_image
from tests.jobs.job_cases import fingerprint

GREY = Source(np.ones((40, 50), "uint8"), "YX")
FORBIDDEN = "".join(map(chr, (*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF)))


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr", ".nii.gz", ".mrc"])
def test_names_that_files_cannot_hold_are_cleaned_before_an_output_is_removed(tmp_path: Path, suffix: str) -> None:
    channels = (f"a{FORBIDDEN}&<b>\udce4", "\ud83d") if suffix.startswith(".ome") else ()
    pixels = np.arange(2 * 40 * 40, dtype=np.int16).reshape(2, 40, 40)
    source = open_image(pixels, axes="CYX" if channels else "ZYX")
    source = replace(source, name=f"M\udce4use{FORBIDDEN}", channel_names=channels, units={"Y": "px\0"})
    assert (source.name, source.units["Y"]) == ("M\ufffduse", "px")
    copy_image(source, tmp_path / f"out{suffix}")
    with open_image(tmp_path / f"out{suffix}") as result:
        assert np.array_equal(result.data[...], pixels)
        assert result.channel_names == (("a&<b>\ufffd", "\ufffd") if channels else ())


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
def test_metadata_that_cannot_be_written_keep_the_output(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    create_sink(path, GREY, chunk=32).finish()
    written = fingerprint(path)
    broken = replace(GREY, channel_colours=("no hex",))
    with pytest.raises(ValueError):  # noqa: PT011 - of two libraries
        create_sink(path, broken, chunk=32, overwrite=True)
    assert fingerprint(path) == written
