"""Tests of synthetic microscope images."""

from __future__ import annotations

import torch

from masked_denoiser.training.data import microscope_images
from masked_denoiser.training.data.microscope_images import draw_microscope_images


def test_images_are_reproducible_finite_and_varied():
    images, repeated = (draw_microscope_images(24, 3, 64, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(images, repeated)
    assert images.shape == (24, 3, 64, 64)
    assert torch.isfinite(images).all()
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1
    contrast = images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3))
    assert float(contrast.min()) > 0.01
    assert float(contrast.max()) > 0.5


def test_every_kind_of_structure_has_contrast():
    generator = torch.Generator().manual_seed(0)
    for kind in microscope_images._KINDS:
        structure = kind(20, 96, generator)
        assert structure.shape == (20, 1, 96, 96)
        assert torch.isfinite(structure).all()
        visible = structure.amax(dim=(1, 2, 3)) - structure.amin(dim=(1, 2, 3)) > 0.05
        assert int(visible.sum()) > 17, kind.__name__


def test_optics_limit_detail():
    """No structure is finer than the point spread function: neighbouring pixels are similar."""
    images = draw_microscope_images(60, 1, 64, torch.Generator().manual_seed(1))
    step = (images[..., 1:] - images[..., :-1]).square().mean(dim=(1, 2, 3))
    spread = images.var(dim=(1, 2, 3))
    assert float((step / spread.clamp(min=1e-9)).median()) < 0.5
