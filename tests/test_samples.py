from __future__ import annotations

import numpy as np
import pytest
import tifffile

from masked_denoiser.errors import MaskedDenoiserError
from masked_denoiser.samples import SAMPLES, sample_path


@pytest.mark.parametrize("name", [*SAMPLES, *SAMPLES.values()])
def test_sample_is_found(name):
    assert sample_path(name).is_file()


@pytest.mark.parametrize("name", ["", "nope", "../pyproject.toml", "README.md"])
def test_unknown_sample_error_lists_samples(name):
    with pytest.raises(ValueError, match=r"slide, slide-clean, fluorescence") as caught:
        sample_path(name)
    assert isinstance(caught.value, MaskedDenoiserError)


def test_noise_of_slide_sample():
    clean = tifffile.imread(sample_path("slide-clean")).astype(float)
    noisy = tifffile.imread(sample_path("slide")).astype(float)
    assert clean.shape == noisy.shape == (512, 512, 3)
    unclipped = (clean > 100) & (clean < 155)
    assert (noisy - clean)[unclipped].std() == pytest.approx(25.0, rel=0.02)


def test_metadata_of_fluorescence_sample():
    with tifffile.TiffFile(sample_path("fluorescence")) as tiff:
        series = tiff.series[0]
        assert (series.axes, series.shape, series.dtype) == ("CZYX", (2, 8, 160, 160), np.uint16)
        xml = tiff.ome_metadata
    for part in ('PhysicalSizeX="0.2"', 'PhysicalSizeZ="0.5"', 'Name="Nuclei"', 'Name="Filaments"'):
        assert part in xml
