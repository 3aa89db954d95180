"""Figure of the masks: hidden pixels of training, hidden tokens of a window attention, and single passes.

python docs/generate/how_it_works/masks.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

import masked_denoiser as md
from masked_denoiser.evaluation.metrics import psnr
from masked_denoiser.network.config import SwinConfig
from masked_denoiser.network.masks import HashedTokenMask, mask_pixels

sys.path.insert(0, str(Path(__file__).parents[1] / "site"))
from figures import Image, panels, save, show

#: Part of the sample slide that is denoised, what is shown of it, and the standard deviation of the noise, with which
#: paper-rgb was trained.
_PART, _SHOWN, _SIGMA = (slice(144, 272), slice(272, 400)), (slice(16, 112), slice(16, 112)), 15.0

#: Factor of differences.
_FACTOR = 20


def main() -> None:
    """Denoise with paper-rgb and draw."""
    with md.open_image(md.sample_path("slide-clean")) as sample:
        clean = np.asarray(sample.data[_PART])
    random = np.random.default_rng(0)
    noisy = np.clip(np.rint(clean + random.normal(0, _SIGMA, clean.shape)), 0, 255).astype(np.uint8)
    one, other = (md.denoise(noisy, model="paper-rgb", axes="YXS", noise="none", seed=seed) for seed in (0, 1))
    mean = md.denoise(noisy, model="paper-rgb", axes="YXS", noise="none", passes=8)
    difference = np.asarray(one, np.float64) - other
    figure, axes = panels(2, 3)
    titles_and_images = {
        "noisy": noisy,
        "training: 85 % of the pixels hidden": hide_pixels(noisy),
        f"tokens hidden, one of {paper().blocks} attentions": hide_tokens(noisy),
        "without noise": clean,
        "denoised by one pass": one,
        f"difference of two passes, x {_FACTOR}": 128 + _FACTOR * difference,
    }
    for panel, (title, image) in zip(axes, titles_and_images.items(), strict=True):
        show(panel, image[_SHOWN], title)
    save(figure, "how-it-works/masks")
    scores = ", ".join(f"{_psnr(image, clean):.2f} dB" for image in (noisy, one, other, mean))
    print(f"noisy, one pass, another pass, mean of eight passes: {scores}")
    print(f"two passes differ by {difference.std():.2f} grey levels (standard deviation)")


def paper() -> SwinConfig:
    """Return the architecture of paper-rgb."""
    architecture = md.load_model("paper-rgb").card.architecture
    assert isinstance(architecture, SwinConfig)
    return architecture


def hide_pixels(image: Image) -> Image:
    """Return an image as the network gets it in training; hidden pixels are black."""
    unit = torch.from_numpy(image.transpose(2, 0, 1).copy())[None] / 255
    masked, _ = mask_pixels(unit, 0.85, 0.85, torch.Generator().manual_seed(0))
    return np.asarray(np.clip(masked[0].numpy().transpose(1, 2, 0), 0, 1) * 255)


def hide_tokens(image: Image) -> Image:
    """Return an image with the tokens in black that are hidden before the first window attention."""
    architecture = paper()
    mask = HashedTokenMask(architecture.attention_mask, seed=0, number=0, origins=((0, 0),))
    kept = mask.keep(0, 0, architecture.window, (1, *image.shape[:2]))[0].numpy()
    return np.asarray(image * kept)


def _psnr(image: Image, clean: Image) -> float:
    a, b = (np.moveaxis(pixels, -1, 0) / 255 for pixels in (image, clean))
    return psnr(a, b)


if __name__ == "__main__":
    main()
