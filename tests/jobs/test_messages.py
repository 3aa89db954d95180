"""Advice about images that are left alone."""

import numpy as np
import pytest
import tifffile

from masked_denoiser.evaluation.safety.patterns import fractal
from masked_denoiser.images.open import open_image
from masked_denoiser.jobs.prepare import prepare_file
from masked_denoiser.jobs.spec.options import Options
from masked_denoiser.noise.verdict import TREATED_AS_STRUCTURE


@pytest.mark.parametrize("modality", ["auto", "em"])
def test_fine_texture_left_alone_asks_for_the_modality(tmp_path, modality):
    """The texture of a rough surface is left alone as such, unless the user knows better."""
    image = 2000 + 400 * fractal(2.0, np.random.default_rng(0))
    tifffile.imwrite(tmp_path / "in.tif", image.astype(np.uint16))
    with (
        open_image(tmp_path / "in.tif") as source,
        prepare_file(source, tmp_path / "out.ome.tif", options=Options(modality=modality)) as prepared,
    ):
        text = "\n".join(prepared.messages)
        assert TREATED_AS_STRUCTURE in text
        assert ("state the modality" in text) == (modality == "auto")
