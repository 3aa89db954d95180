"""Synthetic images as microscopes see them."""

from __future__ import annotations

import torch

from masked_denoiser.training.data import microscope_images
from masked_denoiser.training.data.microscope_images import draw_microscope_images


def test_images_are_seeded_finite_and_different():
    once, again = (draw_microscope_images(24, 3, 64, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(once, again)
    assert once.shape == (24, 3, 64, 64)
    assert torch.isfinite(once).all()
    assert float(once.min()) >= 0
    assert float(once.max()) <= 1
    contrast = once.amax(dim=(1, 2, 3)) - once.amin(dim=(1, 2, 3))
    assert float(contrast.min()) > 0.01
    assert float(contrast.max()) > 0.5


def test_every_kind_of_structure_shows_something():
    generator = torch.Generator().manual_seed(0)
    for kind in microscope_images._KINDS:
        structure = kind(20, 96, generator)
        assert structure.shape == (20, 1, 96, 96)
        assert torch.isfinite(structure).all()
        shown = structure.amax(dim=(1, 2, 3)) - structure.amin(dim=(1, 2, 3)) > 0.05
        assert int(shown.sum()) > 17, kind.__name__


def test_optics_limit_the_detail():
    """No structure is finer than the point spread function: neighbours are much alike."""
    images = draw_microscope_images(60, 1, 64, torch.Generator().manual_seed(1))
    step = (images[..., 1:] - images[..., :-1]).square().mean(dim=(1, 2, 3))
    spread = images.var(dim=(1, 2, 3))
    assert float((step / spread.clamp(min=1e-9)).median()) < 0.5
